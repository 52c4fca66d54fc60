"""Four small images become one with sides twice as long: the last step of an upsampling by two."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor


def interleave(parities: Tensor) -> Tensor:
    """(B, 4 * C, H + 1, W + 1), row and column parity before the channel -> (B, C, 2H, 2W), whole pixels at a time.

    Output pixel (2i + p, 2j + q) is that of parities (p, q) at (i + p, j + q): windows of 2x2 begin one pixel later for
    odd parities. So one row and one column of each parity are unused.
    """
    return _Interleave.apply(parities)  # type: ignore[no-untyped-call]


class _Interleave(torch.autograd.Function):
    """Gathers each pixel, C numbers in a row of memory, which is several times faster than assigning slices."""

    @staticmethod
    def forward(ctx: Any, parities: Tensor) -> Tensor:
        batch, channels, height, width = parities.shape
        ctx.shape = batch, channels, height, width
        pixels = parities.permute(0, 2, 3, 1).reshape(-1, channels // 4)  # (B * (H + 1) * (W + 1) * 4, C)
        out = pixels.index_select(0, _origins(batch, height, width, parities.device))
        return out.view(batch, 2 * (height - 1), 2 * (width - 1), channels // 4).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        batch, channels, height, width = ctx.shape
        pixels = gradient.permute(0, 2, 3, 1).reshape(-1, channels // 4)  # (B * 2H * 2W, C)
        parities = pixels.index_select(0, _destinations(batch, height, width, gradient.device))
        by_parity = parities.view(batch, height, width, 2, 2, channels // 4)
        for parity in range(2):  # unused are the last row and column of even parities, the first of odd ones
            by_parity[:, parity - 1, :, parity] = 0
            by_parity[:, :, parity - 1, :, parity] = 0
        return parities.view(batch, height, width, channels).permute(0, 3, 1, 2)


@functools.cache
def _origins(batch: int, height: int, width: int, device: torch.device) -> Tensor:
    """For each output pixel of a batch, its index in (B, H + 1, W + 1, 2, 2)."""
    i, j = torch.arange(2 * (height - 1))[:, None], torch.arange(2 * (width - 1))
    p, q = i % 2, j % 2
    of_one = ((i // 2 + p) * width + j // 2 + q) * 4 + 2 * p + q  # (2H, 2W)
    return _of_batch(of_one, batch, 4 * height * width, device)


@functools.cache
def _destinations(batch: int, height: int, width: int, device: torch.device) -> Tensor:
    """For each of (B, H + 1, W + 1, 2, 2), the index of the output pixel that it becomes, or any where it is unused."""
    i, j = torch.arange(height)[:, None, None, None], torch.arange(width)[:, None, None]
    p, q = torch.arange(2)[:, None], torch.arange(2)
    rows, columns = 2 * (height - 1), 2 * (width - 1)
    row, column = 2 * (i - p) + p, 2 * (j - q) + q
    of_one = row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)  # (H + 1, W + 1, 2, 2)
    return _of_batch(of_one, batch, rows * columns, device)


def _of_batch(of_one: Tensor, batch: int, size: int, device: torch.device) -> Tensor:
    """Indices into ``batch`` images of ``size`` pixels from those into one."""
    return (torch.arange(batch)[:, None] * size + of_one.flatten()).flatten().to(device, torch.int32)
