"""Cutout: a black rectangle in every sample (RAD, Laskin et al., NeurIPS 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.augmentations.base import AUGMENTATIONS, Stateless, frames

SIDES = (10, 30)
"""Least side of the rectangle, and the end of the range, in pixels of a picture of 84."""


def random_cutout(images: Tensor, generator: torch.Generator, channels: int = 3) -> Tensor:
    """A black rectangle in every sample, the same on all its frames.

    Its height h and width w are drawn independently and uniformly from 10 to 29 pixels (of 84, and in proportion for
    other sizes). As in RAD's code they also say where it is: its rows are h to 2h - 1, its columns w to 2w - 1.

    Args:
        images: (B, frames * C, H, W) in [0, 255].
        generator: on the images' device. Heights are drawn first.
        channels: C of a frame, 3 or 1.

    Returns:
        ``float32`` of the same shape.

    Raises:
        FovealError: the images' channels are no multiple of ``channels``.
    """
    frames(images, channels)
    height, width = images.shape[2:]
    inside = _band(height, len(images), generator)[:, :, None] & _band(width, len(images), generator)[:, None, :]
    return images.float().masked_fill(inside[:, None], 0.0)  # (B, C, H, W), (B, 1, H, W)


def _band(side: int, count: int, generator: torch.Generator) -> Tensor:
    """Which rows, or columns, each rectangle covers, (count, side)."""
    least, end = (max(1, round(bound * side / 84)) for bound in SIDES)
    drawn = torch.randint(least, max(end, least + 1), (count, 1), generator=generator, device=generator.device)
    place = torch.arange(side, device=generator.device)
    return (place >= drawn) & (place < 2 * drawn)


@AUGMENTATIONS.register("cutout")
class Cutout(Stateless):
    """``random_cutout`` under the name ``"cutout"``."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return random_cutout(images, generator, self._channels)
