"""Crops: RAD's random window, and the central one for acting."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.errors import FovealError


def random_crop(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A window of ``size`` pixels at a random place of its own in every sample (RAD, Laskin et al., 2020).

    Args:
        images: (B, C, H, W) of any dtype; all channels of a sample are cropped alike.
        size: side of the square window, at most H and W.
        generator: on the images' device. Rows are drawn first, then columns, each uniform over all positions.

    Returns:
        (B, C, size, size), same dtype.

    Raises:
        FovealError: the window does not fit.
    """
    _check(images, size)
    batch, _, height, width = images.shape
    device = images.device
    top = torch.randint(height - size + 1, (batch,), generator=generator, device=device)
    left = torch.randint(width - size + 1, (batch,), generator=generator, device=device)
    return crops_at(images, size, top, left)


def crops_at(images: Tensor, size: int, top: Tensor, left: Tensor) -> Tensor:
    """The window of ``size`` pixels of each of (B, C, H, W) that begins at its own row and column, (B,) whole numbers.

    Returns:
        (B, C, size, size), same dtype. Windows that reach over the border are not checked for.
    """
    windows = images.unfold(2, size, 1).unfold(3, size, 1)  # a view: (B, C, tops, lefts, size, size)
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def center_crop(images: Tensor, size: int) -> Tensor:
    """The window of ``size`` pixels in the middle of (B, C, H, W), as a view; an odd pixel is cut off at the end.

    Raises:
        FovealError: the window does not fit.
    """
    _check(images, size)
    top, left = (images.shape[2] - size) // 2, (images.shape[3] - size) // 2
    return images[:, :, top : top + size, left : left + size]


def _check(images: Tensor, size: int) -> None:
    if images.dim() != 4:
        raise FovealError(f"expected a batch of images (B, C, H, W), got shape {tuple(images.shape)}")
    height, width = images.shape[2:]
    if not 1 <= size <= min(height, width):
        raise FovealError(
            f"cannot crop {size}x{size} pixels out of images of {height}x{width}; render them larger or crop less"
        )
