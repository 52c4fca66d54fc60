"""Integrated gradients: the gradient along the way from a baseline to the observation (Sundararajan et al. 2017)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.maps import SALIENCY, ScalarFunction, gradient

STEPS = 32
"""Within what the paper finds enough: 20 to 300."""


@SALIENCY.register("integrated_gradients")
def integrated_gradients(
    fn: ScalarFunction, obs: Tensor, *, baseline: Tensor | float = 0.0, steps: int = STEPS
) -> Tensor:
    """Integrated gradients of ``fn`` (Sundararajan et al. 2017, equation 1), by Gauss-Legendre quadrature.

    The map's sum is what the value differs from the baseline's, but for the quadrature's error (their proposition 1).

    Args:
        fn, obs: as for ``gradient``.
        baseline: what tells nothing, by default black: a number, or something that broadcasts to ``obs``.
        steps: points on the way.

    Returns:
        (B, C, H, W).

    Raises:
        FovealError: as ``gradient``, or there is no step.
    """
    if steps < 1:
        raise FovealError(f"integrated_gradients wants at least one step, not {steps}")
    pixels = obs.detach().float()
    way = pixels - baseline
    places, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1]
    total = torch.zeros_like(pixels)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        total += float(weight) * gradient(fn, baseline + float(place) * way)
    return way * total
