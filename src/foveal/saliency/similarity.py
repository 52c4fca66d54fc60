"""How alike two maps look: SSIM, as saliency maps are compared in Adebayo et al. 2018.

Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from foveal.errors import FovealError

WINDOW, DEVIATION = 11, 1.5
"""Pixels of the Gaussian window's side, and its standard deviation, as published."""
K1, K2 = 0.01, 0.03
"""Constants that keep quotients of small numbers steady, as published; the range of values is 1."""


def ssim(one: Tensor, other: Tensor) -> NDArray[np.float64]:
    """Structural similarity of maps, each as a share of its own largest value.

    The mean over all places of the window that lie within the map, which is smaller where the map is.

    Args:
        one, other: (B, H, W), not negative.

    Returns:
        (B,), 1 where they are the same; NaN where either is 0 everywhere.

    Raises:
        FovealError: their shapes differ.
    """
    if one.shape != other.shape:
        raise FovealError(f"maps of one shape can be compared, not of {tuple(one.shape)} and {tuple(other.shape)}")
    x, y = (_as_shares(maps.detach().cpu().double())[:, None] for maps in (one, other))  # (B, 1, H, W)
    window = _window(min(WINDOW, *one.shape[1:]))
    mean_x, mean_y = _mean(x, window), _mean(y, window)
    variance_x = _mean(x * x, window) - mean_x**2
    variance_y = _mean(y * y, window) - mean_y**2
    covariance = _mean(x * y, window) - mean_x * mean_y
    c1, c2 = K1**2, K2**2
    alike = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)  # equation 13
    alike = alike / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    return np.asarray(alike.mean((1, 2, 3)).numpy())


def _as_shares(maps: Tensor) -> Tensor:
    largest = maps.amax((1, 2), keepdim=True)
    return maps / torch.where(largest > 0, largest, torch.nan)


def _window(side: int) -> Tensor:
    """(1, 1, side, side) that sums to 1."""
    places = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    weights = torch.exp(-(places**2) / (2 * DEVIATION**2))
    grid = weights[:, None] * weights[None]
    return (grid / grid.sum())[None, None]


def _mean(values: Tensor, window: Tensor) -> Tensor:
    return F.conv2d(values, window)
