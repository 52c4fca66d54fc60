"""SmoothGrad: the gradient averaged over noisy copies of the observation (Smilkov et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.maps import SALIENCY, ScalarFunction, gradient
from foveal.saliency.values import seeded

SAMPLES, NOISE = 25, 0.15
"""Within what the paper finds good: 10 to 50 copies, noise of 10 to 20 %."""


@SALIENCY.register("smoothgrad")
def smoothgrad(
    fn: ScalarFunction,
    obs: Tensor,
    *,
    samples: int = SAMPLES,
    noise: float = NOISE,
    generator: torch.Generator | None = None,
) -> Tensor:
    """SmoothGrad of ``fn`` (Smilkov et al. 2017, section 2.2).

    Args:
        fn, obs: as for ``gradient``.
        samples: noisy copies.
        noise: standard deviation of the Gaussian, as a share of the observation's own range, largest less smallest.
        generator: of the noise, on the CPU; by default one that is seeded alike each time.

    Returns:
        (B, C, H, W), the mean of the gradients.

    Raises:
        FovealError: as ``gradient``, or there is no copy, or the noise is negative.
    """
    if samples < 1 or noise < 0:
        raise FovealError(f"smoothgrad wants at least one sample and noise of at least 0, not {samples} and {noise}")
    draws = seeded(generator)
    pixels = obs.detach().float()
    flat = pixels.flatten(1)
    spread = (noise * (flat.amax(1) - flat.amin(1))).view(-1, 1, 1, 1)
    total = torch.zeros_like(pixels)
    for _ in range(samples):
        drawn = torch.randn(pixels.shape, generator=draws).to(pixels.device)
        total += gradient(fn, pixels + spread * drawn)
    return total / samples
