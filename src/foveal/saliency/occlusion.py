"""Occlusion: what the value loses where a patch of the picture is covered; needs no gradient (Zeiler & Fergus 2014)."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.maps import SALIENCY, ScalarFunction, black_box
from foveal.saliency.values import channel_means, fallen, values_of

PATCHES = 7
"""A side of the picture over a patch's, where no size is given; patches overlap by half."""


@SALIENCY.register("occlusion")
@black_box
def occlusion(
    fn: ScalarFunction,
    obs: Tensor,
    *,
    patch: int | None = None,
    stride: int | None = None,
    baseline: Tensor | float | None = None,
) -> Tensor:
    """How far ``fn`` falls where a patch is covered, averaged over the patches that cover a pixel.

    All channels are covered at once. Of a function to vectors it is how far they move (Euclidean), never negative.

    Args:
        fn: maps (B, C, H, W) to (B,), (B, 1) or (B, A). It is asked for all samples at once, one patch after the other.
        obs: (B, C, H, W), any dtype; the function receives it as floating point.
        patch: side in pixels; by default a seventh of the longer side.
        stride: pixels from one patch to the next; by default half a patch.
        baseline: what patches are covered with: a number, or something that broadcasts to ``obs``. By default each
            channel's mean.

    Returns:
        (B, 1, H, W), positive where the covered pixels raise the value.

    Raises:
        FovealError: ``fn`` does not give a value or a vector per sample, or patch or stride is less than a pixel.
    """
    height, width = obs.shape[2:]
    patch = max(1, round(max(height, width) / PATCHES)) if patch is None else patch
    stride = max(1, patch // 2) if stride is None else stride
    if patch < 1 or not 1 <= stride <= patch:
        raise FovealError(f"occlusion wants patches of at least 1 pixel, at most a patch apart, not {patch}, {stride}")
    pixels = obs.detach().float()
    cover = channel_means(pixels) if baseline is None else torch.as_tensor(baseline, device=pixels.device).float()
    cover = cover.expand_as(pixels)
    reference = values_of(fn, pixels)
    total = pixels.new_zeros(len(pixels), 1, height, width)
    times = pixels.new_zeros(1, 1, height, width)
    for top in _places(height, patch, stride):
        for left in _places(width, patch, stride):
            window = (..., slice(top, top + patch), slice(left, left + patch))
            covered = pixels.clone()
            covered[window] = cover[window]
            total[window] += fallen(values_of(fn, covered), reference).view(-1, 1, 1, 1)
            times[window] += 1
    return total / times


def _places(side: int, patch: int, stride: int) -> range:
    """Where patches begin, so that the last one reaches the border or is cut by it."""
    return range(0, max(side - patch, 0) + stride, stride)
