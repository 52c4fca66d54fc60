"""Random resized crops (torchvision's ``RandomResizedCrop`` and flip) of a whole batch at once, as matrix products.

A crop that is resized with a triangle filter is linear in its rows and in its columns. So a crop is two small matrices,
and a batch of crops two batched products, without a loop over samples and without a value that the host must read.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
TRIES = 10


class Boxes(NamedTuple):
    """Windows of pictures, in shares of their width and height: (n,) each.

    Attributes:
        left, top, width, height: of the window.
        flipped: whether it is mirrored, ``bool``.
    """

    left: Tensor
    top: Tensor
    width: Tensor
    height: Tensor
    flipped: Tensor


def random_boxes(aspects: Tensor, generator: torch.Generator) -> Boxes:
    """One window for each picture, from torchvision's distribution, but with positions not rounded to whole pixels.

    The window's area is a share of the picture's that is uniform in ``SCALE``, its aspect log-uniform in ``RATIO``. Of
    ten tries the first that fits is taken, or else the largest window in the middle whose aspect is in the range. Half
    of the windows are mirrored.

    Args:
        aspects: (n,) width over height of the pictures.
        generator: on the same device.
    """
    area, shape = torch.rand(2, TRIES, len(aspects), generator=generator, device=aspects.device)
    area = SCALE[0] + (SCALE[1] - SCALE[0]) * area
    shape = torch.exp(math.log(RATIO[0]) + math.log(RATIO[1] / RATIO[0]) * shape) / aspects
    widths, heights = (area * shape).sqrt(), (area / shape).sqrt()  # (tries, n)
    fits = (widths <= 1) & (heights <= 1)
    first = fits.byte().argmax(0, keepdim=True)  # the first that fits, or 0 where none does
    never = ~fits.any(0)
    width = torch.where(never, (RATIO[1] / aspects).clamp(max=1), widths.gather(0, first)[0])
    height = torch.where(never, (aspects / RATIO[0]).clamp(max=1), heights.gather(0, first)[0])
    across, down, mirror = torch.rand(3, len(aspects), generator=generator, device=aspects.device)
    left = (1 - width) * across.masked_fill(never, 0.5)
    top = (1 - height) * down.masked_fill(never, 0.5)
    return Boxes(left, top, width, height, mirror < 0.5)


def resized(pictures: Tensor, boxes: Boxes, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The windows at ``size`` pixels, resized like Pillow's boxes: by a triangle filter that widens as it reduces.

    Args:
        pictures: (n, side, C, side) of any dtype: row, colour, column.
        boxes: a window for each.
        size: side of the result.
        dtype: of the arithmetic and the result.

    Returns:
        (n, C, size, size), in the pictures' range.
    """
    side, channels = pictures.shape[1:3]
    down = filters(boxes.top, boxes.height, side, size).to(dtype)  # (n, size, side)
    # A mirrored window runs from its right end to its left.
    start = torch.where(boxes.flipped, boxes.left + boxes.width, boxes.left)
    extent = torch.where(boxes.flipped, -boxes.width, boxes.width)
    across = filters(start, extent, side, size).to(dtype)
    rows = torch.bmm(down, pictures.to(dtype).flatten(2))  # (n, size, C * side)
    columns = torch.bmm(rows.view(-1, channels * size, side), across.mT)  # (n, size * C, size)
    return columns.view(-1, size, channels, size).transpose(1, 2)


def filters(start: Tensor, extent: Tensor, side: int, size: int) -> Tensor:
    """The weight of each of ``side`` pixels of the picture in each of ``size`` pixels of a window, along one axis.

    Args:
        start: (n,) where the window begins, as a share of the picture.
        extent: (n,) its length, as a share of the picture; negative if it runs backwards.

    Returns:
        (n, size, side) ``float32``, whose rows sum to 1.
    """
    device = start.device
    radius = (side / size * extent.abs()).clamp(min=1)[:, None]  # of the triangle, in pixels of the picture
    place = start[:, None] + extent[:, None] * ((torch.arange(size, device=device) + 0.5) / size)
    pixel = torch.arange(side, device=device) + 0.5
    distance = (side * place / radius)[:, :, None] - (pixel / radius)[:, None, :]
    weights = torch.rsub(distance.abs_(), 1.0).relu_()
    return weights.div_(weights.sum(2, keepdim=True))
