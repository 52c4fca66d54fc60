"""Stacked frames as samples of their own, and back."""

from __future__ import annotations

from torch import Tensor

COLOURS = 3
"""Channels of one frame of an observation."""


def apart(stack: Tensor, frames: int) -> Tensor:
    """Frames from channels to samples: (B, frames * C, h, w) -> (B * frames, C, h, w), in ``channels_last`` layout."""
    pixels = stack.permute(0, 2, 3, 1).unflatten(3, (frames, -1))  # (B, h, w, frames, C)
    return pixels.permute(0, 3, 1, 2, 4).flatten(0, 1).permute(0, 3, 1, 2)


def together(samples: Tensor, frames: int) -> Tensor:
    """The inverse of ``apart``: (B * frames, C, h, w) -> (B, frames * C, h, w), each frame's channels together."""
    pixels = samples.permute(0, 2, 3, 1).unflatten(0, (-1, frames))  # (B, frames, h, w, C)
    return pixels.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)
