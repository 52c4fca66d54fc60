"""Initial weights of the pixel-SAC family (Yarats et al. 2019; used unchanged by DMC-GB and SGQN)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from foveal.errors import FovealError
from foveal.registry import nearest


def orthogonal_(module: nn.Module) -> None:
    """Orthogonal linear layers, delta-orthogonal convolutions (Xiao et al. 2018), zero biases; use with ``apply``."""
    if isinstance(module, nn.Linear):
        nn.init.orthogonal_(module.weight)
    elif isinstance(module, nn.Conv2d):
        _delta_orthogonal_(module.weight)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def convolution_initialization(name: str) -> Callable[[nn.Module], None]:
    """What to ``apply`` to an encoder: ``"delta-orthogonal"`` as published, or ``"orthogonal"`` over whole kernels.

    Raises:
        FovealError: another name.
    """
    if name not in INITIALIZATIONS:
        raise FovealError(f"unknown initialization {name!r}: {nearest(name, list(INITIALIZATIONS))}")
    return INITIALIZATIONS[name]


def relu_orthogonal_(module: nn.Module) -> None:
    """Orthogonal over whole kernels and matrices, scaled for ReLU, zero biases; use with ``apply``.

    Every tap of a kernel takes part, so a strided convolution starts by looking at all of its input. This is how
    Atari's PPO networks start in OpenAI Baselines and in Stable-Baselines3.
    """
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return
    nn.init.orthogonal_(module.weight, gain=nn.init.calculate_gain("relu"))
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _delta_orthogonal_(weight: torch.Tensor) -> None:
    """All zero but the centre tap, which is orthogonal scaled for ReLU."""
    nn.init.zeros_(weight)
    centre = weight.shape[-1] // 2
    with torch.no_grad():
        tap = torch.empty(weight.shape[:2])
        nn.init.orthogonal_(tap, gain=nn.init.calculate_gain("relu"))
        weight[:, :, centre, centre] = tap


INITIALIZATIONS: dict[str, Callable[[nn.Module], None]] = {
    "delta-orthogonal": orthogonal_,
    "orthogonal": relu_orthogonal_,
}
