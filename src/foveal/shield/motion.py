"""Which pixels are the task's own, judged by motion before a camera that stands still."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LOOKED_AT = 500
"""Frames, evenly apart, of which the background is made at most."""
LEAST = 12.0
"""Levels of 255 that a pixel must differ from the background by, however little noise there is."""
DEVIATIONS = 6.0
"""Standard deviations of a pixel's noise that it must differ by."""
NORMAL = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""
NEIGHBOURS = 3
"""Of a pixel's 3 x 3, itself included, that must have moved for it to be no speck."""


def motion_masks(pixels: Tensor) -> Tensor:
    """Pixels that differ from what is usually seen there.

    The background is each pixel's median over time, its noise the median absolute deviation from that. What never moves
    is not found; what stands at one place most of the time becomes the background there; where the camera moves,
    everything is found.

    Args:
        pixels: (N, 3, H, W) ``uint8``, before one background.

    Returns:
        (N, H, W) bool.
    """
    background, noise = usual(pixels)  # (3 * H * W,) each
    least = (DEVIATIONS * noise).clamp_min(LEAST)
    moved = _distance(pixels.flatten(1), background) > least  # (N, 3 * H * W)
    return cleaned(moved.unflatten(1, pixels.shape[1:]).any(1))


def usual(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """What is seen at each place and colour, and its noise's standard deviation in levels: (3 * H * W,) each."""
    apart = -(-len(pixels) // LOOKED_AT)
    some = pixels[::apart].flatten(1)  # (n, 3 * H * W)
    background = some.median(0).values
    return background, NORMAL * _distance(some, background).median(0).values.float()


def restless(pixels: Tensor) -> float:
    """The share of places that differ from their own background by ``LEAST`` in half of all frames."""
    _, noise = usual(pixels)
    return float((noise.reshape(pixels.shape[1:]).amax(0) > NORMAL * LEAST).float().mean())


def cleaned(masks: Tensor) -> Tensor:
    """(N, H, W) bool with gaps of a pixel closed, and without specks."""
    planes = masks[:, None].float()  # (N, 1, H, W)
    closed = -F.max_pool2d(-dilated(planes, 1), 3, 1, 1)
    crowd = 9 * F.avg_pool2d(closed, 3, 1, 1)
    return (closed.bool() & (crowd > NEIGHBOURS - 0.5))[:, 0]


def dilated(planes: Tensor, pixels: int) -> Tensor:
    """(N, 1, H, W) with every place as bright as the brightest within so many pixels."""
    return F.max_pool2d(planes, 2 * pixels + 1, 1, pixels)


def _distance(frames: Tensor, background: Tensor) -> Tensor:
    """|(N, P) - (P,)| of ``uint8``, without leaving it."""
    return torch.maximum(frames, background) - torch.minimum(frames, background)
