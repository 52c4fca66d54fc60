"""Translate: a picture at a random place of a larger black one (RAD, Laskin et al., NeurIPS 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.augmentations.crop import random_crop
from foveal.errors import FovealError


def random_translate(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Every sample at a random place of its own in a black square of ``size`` pixels.

    Args:
        images: (B, C, H, W) of any dtype, H = W; all channels of a sample move alike.
        size: side of the square, at least H.
        generator: on the images' device. Rows are drawn first, then columns, each uniform over all positions.

    Returns:
        (B, C, size, size), same dtype.

    Raises:
        FovealError: the picture does not fit.
    """
    room = _room(images, size)
    # A window of the picture in a frame that is wide enough on every side is the picture at a random place.
    return random_crop(F.pad(images, (room, room, room, room)), size, generator)


def center_translate(images: Tensor, size: int) -> Tensor:
    """The picture in the middle of a black square of ``size`` pixels; an odd pixel is black at the end.

    Raises:
        FovealError: the picture does not fit.
    """
    room = _room(images, size)
    before, after = room // 2, room - room // 2
    return F.pad(images, (before, after, before, after))


def _room(images: Tensor, size: int) -> int:
    """Black pixels beside a picture of (B, C, H, H)."""
    if images.dim() != 4 or images.shape[2] != images.shape[3]:
        raise FovealError(f"expected a batch of square images (B, C, H, H), got shape {tuple(images.shape)}")
    room = size - images.shape[3]
    if room < 0:
        raise FovealError(f"an image of {images.shape[3]} pixels can't be moved within {size}; render it smaller")
    return room
