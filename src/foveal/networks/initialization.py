"""Initial weights of the pixel-SAC family (Yarats et al. 2019; used unchanged by DMC-GB and SGQN)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


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


def relu_orthogonal_(module: nn.Module) -> None:
    """Orthogonal over whole kernels and matrices, scaled for ReLU, zero biases; use with ``apply``.

    No tap of a kernel is zero, so a strided convolution sees all of its input from the start. Atari's PPO networks
    start like this in OpenAI Baselines and in Stable-Baselines3.
    """
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return
    nn.init.orthogonal_(module.weight, gain=nn.init.calculate_gain("relu"))
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _delta_orthogonal_(weight: torch.Tensor) -> None:
    """Zero but for the centre tap, which is orthogonal and scaled for ReLU."""
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
"""What to ``apply`` to an encoder: as published, or over whole kernels."""
