"""The gradient of a convolution's weights as a row of matrix products, for float32 CPUs without AVX-512.

oneDNN's kernel for it is a third as fast as its other convolutions on some processors with AVX2 alone, which is most
of them. A matrix product reaches what the processor can do, if its operands lie in memory as it wants them:

    dW[o, i, y, x] = sum over b, r, c of dOut[b, o, r, c] * In[b, i, r + y, c + x]

For one row y of the kernel, the pixels that it sees from (r, c) are kernel-width * C neighbours in memory
(``channels_last``). Written one window after the other they are a matrix of (OH * OW) windows, and so, begun one row of
windows later, is what the kernel's next row sees. A few images at a time stay in the cache.
"""

from __future__ import annotations

import functools
import os

import torch
import torch.nn.functional as F
from torch import Tensor

KEPT = 2**20
"""Numbers in the windows of the images that are handled together: 4 MiB, which stay in a cache of the third level."""
LEAST_PRODUCTS = 2**21
"""Windows times their length, of all images, below which oneDNN's one call is as quick."""
_WITHOUT_AVX512 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2")
"""Values of ONEDNN_MAX_CPU_ISA that keep oneDNN from AVX-512."""


def suits_products(image: Tensor, weight: Tensor, stride: list[int]) -> bool:
    """Whether ``weight_gradient`` is the quicker way."""
    on_cpu = image.device.type == "cpu" and image.dtype == torch.float32
    return on_cpu and stride == [1, 1] and image.numel() * weight.shape[3] >= LEAST_PRODUCTS and not _has_avx512()


def weight_gradient(gradient: Tensor, image: Tensor, weight: Tensor, padding: list[int]) -> Tensor:
    """Of a convolution of stride 1.

    Args:
        gradient: (B, C', OH, OW), of the convolution's result.
        image: (B, C, H, W), its input.
        weight: (C', C, h, w), for its shape alone.
        padding: zeros beyond each border, (rows, columns).

    Returns:
        (C', C, h, w) in the dtype of ``image``.
    """
    channels, height, width = weight.shape[1:]
    rows, columns = gradient.shape[2:]
    out = gradient.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)  # (B, C', OH * OW)
    pixels = image.permute(0, 2, 3, 1).contiguous().flatten(2)  # (B, H, W * C)
    border = (padding[1] * channels, padding[1] * channels, padding[0], padding[0])
    window, padded_rows = width * channels, rows + height - 1
    at_once = max(1, min(len(pixels), KEPT // (padded_rows * columns * window)))
    kept = image.new_empty(at_once, padded_rows, columns, window)
    products = image.new_zeros(height, at_once, len(weight), window)
    for some, some_out in zip(pixels.split(at_once), out.split(at_once), strict=True):
        count = len(some)
        kept[:count] = F.pad(some, border).unfold(2, window, channels)  # (b, H, OW, w * C)
        for row in range(height):
            seen = kept[:count, row : row + rows].flatten(1, 2)  # (b, OH * OW, w * C), no copy
            products[row, :count].baddbmm_(some_out, seen)
    found = products.sum(1).unflatten(2, (width, channels)).permute(1, 3, 0, 2)  # (C', C, h, w)
    return found.contiguous(memory_format=torch.channels_last)


@functools.cache
def _has_avx512() -> bool:
    """Whether oneDNN may use it: the processor has it, and the user hasn't limited the library."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return limit not in _WITHOUT_AVX512 and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
