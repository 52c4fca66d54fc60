"""Films of a game beside what the agent looks at."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from foveal.atari.maps import resize_maps
from foveal.errors import FovealError
from foveal.pictures.video import Picture, write_video

FRAMES_PER_SECOND = 15
"""Of an agent that sees every fourth of the console's 60 frames a second, shown at the speed of the game."""

TITLE_HEIGHT = 20
"""Pixels of the line of titles."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FAINT, _STRONG = np.array([200, 30, 0], np.float32), np.array([255, 240, 90], np.float32)


def write_attention_video(
    path: str | Path,
    frames: Iterable[Picture],
    *maps: Tensor,
    fps: int = FRAMES_PER_SECOND,
    zoom: int = 2,
    titles: Sequence[str] = (),
) -> Path:
    """An mp4 of the game on the left, and beside it in grey with what the agent looks at in colour.

    Args:
        path: the film.
        frames: one (H, W, 3) ``uint8`` picture for each map; they need not be in memory at once.
        maps: (N, h, w) in [0, 1], scaled over the recording; resized to the frames. Several stand side by side.
        fps: frames a second.
        zoom: every pixel becomes a square of so many pixels.
        titles: what stands in a line above the game and above each map; by default there is no such line.

    Returns:
        The path.

    Raises:
        FovealError: frames and maps differ in number, or titles and views do, a frame has another shape than the first,
            or the film can't be written.
    """
    if titles and len(titles) != 1 + len(maps):
        raise FovealError(f"a film of {1 + len(maps)} views wants as many titles, not {len(titles)}")
    return write_video(path, _entitled(_side_by_side(frames, maps, zoom), titles), fps=fps)


def overlay(frame: Picture, strength: NDArray[np.float32]) -> Picture:
    """A frame in grey beneath a map in colour.

    Args:
        frame: (H, W, 3).
        strength: (H, W) in [0, 1]; 0 leaves the grey, 1 is bright yellow.
    """
    level = np.clip(strength, 0, 1)[..., None]  # (H, W, 1)
    grey = (frame.astype(np.float32) @ _LUMA)[..., None] * 0.75  # (H, W, 1)
    color = _FAINT + (_STRONG - _FAINT) * level  # (H, W, 3)
    opacity = np.sqrt(level)
    return np.rint(grey * (1 - opacity) + color * opacity).astype(np.uint8)


def _entitled(pictures: Iterable[Picture], titles: Sequence[str]) -> Iterator[Picture]:
    """Pictures of views of equal width, with a line of titles on top."""
    line: Picture | None = None
    for picture in pictures:
        if line is None:
            line = _line(titles, picture.shape[1])
        yield np.concatenate([line, picture])


def _line(titles: Sequence[str], width: int) -> Picture:
    """(TITLE_HEIGHT, width, 3), or nothing of that width without titles."""
    canvas = Image.new("RGB", (width, TITLE_HEIGHT if titles else 0))
    draw = ImageDraw.Draw(canvas)
    for index, title in enumerate(titles):
        draw.text((index * width // len(titles) + 6, 4), title, fill="white")
    return np.asarray(canvas)


def _side_by_side(frames: Iterable[Picture], maps: Sequence[Tensor], zoom: int) -> Iterator[Picture]:
    for frame, *looks in itertools.zip_longest(frames, *maps):
        if frame is None or any(attention is None for attention in looks):
            raise FovealError(
                f"a film wants one map for every frame: there are {len(maps[0])} maps, and not as many frames"
            )
        size = frame.shape[:2]
        strengths = [resize_maps(attention[None], size)[0].float().cpu().numpy() for attention in looks]  # (H, W)
        row = np.concatenate([frame, *(overlay(frame, strength) for strength in strengths)], axis=1)
        yield row.repeat(zoom, axis=0).repeat(zoom, axis=1)
