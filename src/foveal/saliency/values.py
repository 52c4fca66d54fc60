"""What black-box maps and tests of maps share: values without a graph, how far they moved, and pixels taken away."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.maps import ScalarFunction

BLUR = 16
"""A side of the picture over the blur's standard deviation: 5 pixels at 84, as Greydanus et al. 2018 take at 80."""
ENDS = 3.0
"""Standard deviations at which the Gaussian ends."""


@torch.no_grad()
def values_of(fn: ScalarFunction, obs: Tensor) -> Tensor:
    """What a function gives for each sample, without a graph.

    Args:
        fn: (B, C, H, W) -> (B,) or (B, A), or one number where B is 1.
        obs: (B, C, H, W), any dtype.

    Returns:
        (B, A) ``float32``, A being 1 for scalars.

    Raises:
        FovealError: it gives something else.
    """
    output: object = fn(obs if obs.is_floating_point() else obs.float())
    if not isinstance(output, Tensor):
        raise FovealError(f"saliency: the function must return a tensor, not {type(output).__name__}")
    shape = tuple(output.shape)
    if (1 <= len(shape) <= 2 and shape[0] == len(obs)) or output.numel() == 1 == len(obs):
        return output.detach().float().reshape(len(obs), -1)
    raise FovealError(
        f"saliency: the function must return one value, or one vector, per sample: shape ({len(obs)},) or "
        f"({len(obs)}, A), not {shape}"
    )


def fallen(values: Tensor, reference: Tensor) -> Tensor:
    """How much was lost: of scalars by how much they fell, of vectors how far they went.

    Args:
        values, reference: (B, A).

    Returns:
        (B,).
    """
    if reference.shape[1] == 1:
        return (reference - values)[:, 0]
    return (reference - values).norm(dim=1)


def channel_means(obs: Tensor) -> Tensor:
    """Each channel's mean, (B, C, 1, 1): a picture that is the same everywhere, and as bright as this one."""
    return obs.float().mean((2, 3), keepdim=True)


def blurred(obs: Tensor, sigma: float | None = None) -> Tensor:
    """Pictures in which nothing small is left.

    Args:
        obs: (B, C, H, W).
        sigma: of the Gaussian, in pixels; by default a sixteenth of the longer side.

    Returns:
        (B, C, H, W) floating point. What lies beyond the border is the outermost pixels.
    """
    sigma = max(obs.shape[2:]) / BLUR if sigma is None else sigma
    reach = max(1, math.ceil(ENDS * sigma))
    places = torch.arange(-reach, reach + 1, device=obs.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (places / sigma) ** 2)
    weights = weights / weights.sum()
    pixels = obs.float().flatten(0, 1)[:, None]  # (B * C, 1, H, W)
    pixels = F.conv2d(F.pad(pixels, (0, 0, reach, reach), mode="replicate"), weights.view(1, 1, -1, 1))
    pixels = F.conv2d(F.pad(pixels, (reach, reach, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1))
    return pixels.view(obs.shape)


def seeded(generator: torch.Generator | None) -> torch.Generator:
    """The caller's generator, or one that starts alike each time; draws are on the CPU, so that devices agree."""
    return torch.Generator().manual_seed(0) if generator is None else generator
