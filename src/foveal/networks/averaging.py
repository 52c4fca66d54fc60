"""Exponential moving averages of weights: target networks and momentum encoders."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def frozen_copy(network: nn.Module) -> nn.Module:
    """A copy that no optimizer trains; ``blend`` moves it."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def blend(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Move every parameter of ``target`` by the share ``tau`` towards that of ``source``, in one fused operation."""
    targets: list[Tensor] = list(target.parameters())
    sources: list[Tensor] = list(source.parameters())
    if targets:  # the operation refuses to do nothing
        torch._foreach_lerp_(targets, sources, tau)
