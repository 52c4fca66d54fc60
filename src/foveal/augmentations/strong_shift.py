"""Strong shift: the scene moved by up to a fifth of the picture's side (SADA)."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.augmentations.base import AUGMENTATIONS, AugmentationOptions, Stateless, frames
from foveal.augmentations.shift import random_shift

REACH = 16 / 84
"""The largest shift over the picture's side."""


@AUGMENTATIONS.register("strong-shift")
class StrongShift(Stateless):
    """``random_shift`` by up to 16 pixels of 84, under the name ``"strong-shift"``.

    Attributes:
        pad: the largest shift in either direction, in pixels.
    """

    def __init__(self, options: AugmentationOptions) -> None:
        super().__init__(options)
        self.pad = round(REACH * options.image_size)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        frames(images, self._channels)  # or an error
        moved = random_shift(images, self.pad, generator)
        return moved if moved.is_floating_point() else moved.float()
