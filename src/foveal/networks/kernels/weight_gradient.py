"""The gradients of a convolution's weights and bias as matrix products, for some float32 CPUs without AVX-512.

Where a core's second-level cache is small, oneDNN's kernel for these gradients is half as fast as its other
convolutions. A matrix product reaches the processor's peak if its operands lie in memory as it needs them:

    dW[o, i, y, x] = sum over b, r, c of dOut[b, o, r, c] * In[b, i, r + y, c + x]

The pixels that row y of the kernel sees from (r, c) are kernel-width * C neighbours in memory (``channels_last``).
Written one window after another they are a matrix of (OH * OW) windows; the matrix of the kernel's next row is the
same, begun one row of windows later. A few images at a time stay in the cache, from which the gradient of the bias, the
sum over b, r and c, costs little more.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.networks.kernels.instructions import may_use_avx512, second_level_cache

KEPT = 5 * 2**18
"""Numbers in the windows of the images that are handled together: 5 MiB, which stay in a cache of the third level."""
LEAST_PRODUCTS = 2**21
"""Windows times their length, of all images, below which oneDNN's one call is as quick."""
SMALL_CACHE = 2**20
"""Bytes of a core's second-level cache above which oneDNN's kernel is the quicker one: with 2 MiB it reaches 153
GFLOP/s and products 129, with 512 KiB 95 and 125."""


def suits_products(image: Tensor, weight: Tensor, stride: list[int]) -> bool:
    """Whether ``parameter_gradients`` is faster than oneDNN."""
    on_cpu = image.device.type == "cpu" and image.dtype == torch.float32
    large = image.numel() * weight.shape[3] >= LEAST_PRODUCTS
    return on_cpu and stride == [1, 1] and large and not may_use_avx512() and second_level_cache() <= SMALL_CACHE


def parameter_gradients(gradient: Tensor, image: Tensor, weight: Tensor, padding: list[int]) -> tuple[Tensor, Tensor]:
    """The gradients of the weights and the bias of a convolution of stride 1.

    Args:
        gradient: (B, C', OH, OW), of the convolution's result.
        image: (B, C, H, W), its input.
        weight: (C', C, h, w), for its shape alone.
        padding: zeros beyond each border, (rows, columns).

    Returns:
        (C', C, h, w) and (C',) in the dtype of ``image``.
    """
    channels, height, width = weight.shape[1:]
    rows = gradient.shape[2]
    out = gradient.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)  # (B, C', OH * OW)
    pixels = image.permute(0, 2, 3, 1).contiguous().flatten(2)  # (B, H, W * C)
    if any(padding):
        pixels = F.pad(pixels, (padding[1] * channels, padding[1] * channels, padding[0], padding[0]))
    windows = pixels.unfold(2, width * channels, channels)  # (B, OH + h - 1, OW, w * C), no copy yet
    at_once = _at_once(len(windows), windows[0].numel())
    kept = image.new_empty(at_once, *windows.shape[1:])
    seen = [kept[:, row : row + rows].flatten(1, 2) for row in range(height)]  # h times (b, OH * OW, w * C), no copies
    products = image.new_zeros(height, at_once, len(weight), width * channels)
    bias = image.new_zeros(len(weight))
    sums = list(zip(products, seen, strict=True))
    for some, some_out in zip(windows.split(at_once), out.split(at_once), strict=True):
        kept.copy_(some)
        for product, by_row in sums:
            product.baddbmm_(some_out, by_row)
        bias += some_out.sum((0, 2))
    weights = products.sum(1).unflatten(2, (width, channels)).permute(1, 3, 0, 2)  # (C', C, h, w)
    return weights.contiguous(memory_format=torch.channels_last), bias


def _at_once(batch: int, numbers: int) -> int:
    """How many images, with so many numbers in their windows, are handled together: a divisor of ``batch``."""
    most = max(1, KEPT // numbers)
    return max(count for count in range(1, min(batch, most) + 1) if batch % count == 0)
