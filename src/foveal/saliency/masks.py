"""From a saliency map to the pixels that matter."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from foveal.errors import FovealError

CHANNELS = 3
"""Colour channels of one frame of a stack, where frames are not grey."""
AT_ONCE = 2**18
"""Numbers handled together on a CPU, so that intermediate results stay in the cache."""


def quantile_mask(saliency: Tensor, quantile: float, channels: int = CHANNELS) -> Tensor:
    """The most salient pixels of each stacked frame (SGQN, section 4.1).

    A pixel's saliency is the largest absolute value among its colour channels; the mask has the pixels where that is at
    least the frame's ``quantile`` (linear interpolation between order statistics), and all ties at the threshold.

    Args:
        saliency: (B, frames * C, H, W).
        quantile: in [0, 1); 0.95 keeps the top 5 % of each frame.
        channels: C of a frame: 3, or 1 where frames are grey.

    Returns:
        (B, frames * C, H, W) ``bool``, the same for the channels of a frame, in ``channels_last`` layout.

    Raises:
        FovealError: the map's channels are no multiple of a frame's, or the quantile is out of range.
    """
    if saliency.ndim != 4 or saliency.shape[1] == 0 or saliency.shape[1] % channels:
        raise FovealError(
            f"quantile_mask wants a map of shape (B, {channels} * frames, H, W), not {tuple(saliency.shape)}"
        )
    if not 0 <= quantile < 1:
        raise FovealError(f"quantile must be in [0, 1), not {quantile}")
    strength = _strength(saliency.detach(), channels)  # (B, F, H * W)
    kept = strength >= _upper_quantile(strength, quantile)[..., None]  # (B, F, H * W)
    return _spread(kept, channels).unflatten(1, saliency.shape[2:]).permute(0, 3, 1, 2)


def _strength(saliency: Tensor, channels: int) -> Tensor:
    """Largest absolute value among the channels of a frame: (B, F * C, H, W) -> (B, F, H * W) ``float32``."""
    batch, stacked, height, width = saliency.shape
    strengths = saliency.new_empty(batch, stacked // channels, height * width, dtype=torch.float32)
    on_cpu = saliency.device.type == "cpu"
    at_once = max(1, AT_ONCE // (stacked * height * width) if on_cpu else batch)
    for frames, strength in zip(saliency.split(at_once), strengths.split(at_once), strict=True):
        pixels = frames.float().abs().permute(0, 2, 3, 1).unflatten(3, (-1, channels))  # (b, H, W, F, C)
        # A maximum over an axis of three is several times slower than two maxima of colours.
        largest = functools.reduce(torch.maximum, pixels.unbind(-1)).permute(0, 3, 1, 2)  # (b, F, H, W)
        strength.copy_(largest.flatten(2))
    return strengths


def _spread(kept: Tensor, channels: int) -> Tensor:
    """Repeat a frame's mask for its channels, pixel by pixel in memory: (B, F, H * W) -> (B, H * W, F * C)."""
    by_pixel = kept.transpose(1, 2).contiguous()  # (B, H * W, F)
    return torch.stack([by_pixel] * channels, dim=-1).flatten(2)


def _upper_quantile(values: Tensor, quantile: float) -> Tensor:
    """The quantile over the last axis with linear interpolation, which needs two order statistics and no sort."""
    count = values.shape[-1]
    position = quantile * (count - 1)
    lower = int(position)
    upper = min(lower + 1, count - 1)
    at_lower, at_upper = _order_statistics(values, lower, upper)
    return torch.lerp(at_lower, at_upper, position - lower)


def _order_statistics(values: Tensor, lower: int, upper: int) -> tuple[Tensor, Tensor]:
    """The ``lower``-th and ``upper``-th smallest along the last axis; the two are neighbours."""
    if values.device.type == "cpu":  # NumPy selects several times faster than torch sorts
        parts = [part.numpy() for part in values.chunk(torch.get_num_threads())]
        with ThreadPoolExecutor() as pool:  # NumPy releases Python's lock
            parted = torch.from_numpy(np.concatenate(list(pool.map(lambda part: np.partition(part, lower), parts))))
        return parted[..., lower], parted[..., upper:].amin(-1)
    top = torch.topk(values, values.shape[-1] - lower, dim=-1).values  # largest first
    return top[..., -1], top[..., -1 - (upper - lower)]
