"""Initial weights of the pixel-SAC family (Yarats et al. 2019; used unchanged by DMC-GB and SGQN)."""

from __future__ import annotations

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


def _delta_orthogonal_(weight: torch.Tensor) -> None:
    """All zero but the centre tap, which is orthogonal scaled for ReLU."""
    nn.init.zeros_(weight)
    centre = weight.shape[-1] // 2
    with torch.no_grad():
        tap = torch.empty(weight.shape[:2])
        nn.init.orthogonal_(tap, gain=nn.init.calculate_gain("relu"))
        weight[:, :, centre, centre] = tap
