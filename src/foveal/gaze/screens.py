"""From the emulator's 210 x 160 frames to what an agent sees: 84 x 84, grey, four pictures at a time.

As ale-py's vector environment makes them: brightness, the brighter of two consecutive frames (sprites flicker),
resizing by area, and every fourth frame.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from foveal.envs.wrappers import area_weights
from foveal.gaze.atari_head import Frame

SIDE = 84
SKIP = 4
STACK = 4
POOLED = 2
OFFSETS = tuple(SKIP * picture + earlier for picture in range(STACK) for earlier in range(POOLED))
"""How many frames before the newest one lie those that an observation is made of: 0, 1, 4, 5, 8, 9, 12, 13."""

Grey = NDArray[np.uint8]

_LUMA = np.array([0.299, 0.587, 0.114])


def brightness(frame: Frame) -> Grey:
    """(H, W) luminance of (H, W, 3) RGB."""
    return np.rint(frame @ _LUMA).astype(np.uint8)


def shrink(grey: Grey) -> Grey:
    """(SIDE, SIDE) from (H, W): each pixel is the mean of the area that it covers."""
    rows, columns = (area_weights(size, SIDE) for size in grey.shape)
    return np.rint(rows @ grey.astype(np.float64) @ columns.T).astype(np.uint8)


def pooled_frames(newest: Collection[int]) -> dict[int, int]:
    """The frames n - 1 and n of every n, each with its n."""
    return {n - earlier: n for n in newest for earlier in range(POOLED)}


def shrunk_pairs(frames: Iterable[tuple[int, Frame]], newest: Collection[int]) -> tuple[dict[int, Grey], set[int]]:
    """The agent's pictures, from a stream of frames in any order.

    A frame is forgotten once its partner has come, so a sorted stream of any length takes little memory.

    Args:
        frames: number and picture.
        newest: numbers n, SKIP apart; the picture of n is made of the frames n - 1 and n.

    Returns:
        n -> (SIDE, SIDE), without those of which a frame is missing; and the numbers of the frames that came.
    """
    pair_of = pooled_frames(newest)
    waiting: dict[int, Grey] = {}
    pictures: dict[int, Grey] = {}
    arrived: set[int] = set()
    for number, frame in frames:
        arrived.add(number)
        grey, n = brightness(frame), pair_of[number]
        other = waiting.pop(n, None)
        if other is None:
            waiting[n] = grey
        else:
            pictures[n] = shrink(np.maximum(grey, other))
    return pictures, arrived


def observation(pictures: Mapping[int, Grey], frame: int) -> Grey:
    """(STACK, SIDE, SIDE) that an agent sees after ``frame``, the newest picture last.

    Raises:
        KeyError: a picture is not there.
    """
    return np.stack([pictures[frame - SKIP * back] for back in reversed(range(STACK))])
