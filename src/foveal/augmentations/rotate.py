"""Rotation: the scene turned about the middle of the picture by any angle (SADA)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.augmentations.base import AUGMENTATIONS, Stateless, frames


def rotated(images: Tensor, angles: Tensor) -> Tensor:
    """Each image turned counter-clockwise by its own angle, by bilinear interpolation.

    What comes into view is the nearest pixel of the border, as if the image went on like that for ever.

    Args:
        images: (B, C, H, W), any dtype; all channels of a sample are turned alike.
        angles: (B,) in radians.

    Returns:
        (B, C, H, W) ``float32``, in the images' range.
    """
    height, width = images.shape[2:]
    cosine, sine, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # Where each pixel comes from, in coordinates from -1 to 1 along either side, rows downwards.
    across = torch.stack([cosine, -sine * height / width, zero], 1)  # (B, 3)
    down = torch.stack([sine * width / height, cosine, zero], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), [len(images), 1, height, width], align_corners=False)
    pixels = images.float()
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False).clamp(0.0, 255.0)


@AUGMENTATIONS.register("rotate")
class Rotate(Stateless):
    """``rotated`` by angles that are uniform over the circle, under the name ``"rotate"``."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        frames(images, self._channels)  # or an error
        turns = torch.rand(len(images), generator=generator, device=images.device) - 0.5
        return rotated(images, 2.0 * math.pi * turns)
