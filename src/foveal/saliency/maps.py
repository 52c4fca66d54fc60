"""Saliency maps by name: (function to a scalar, observation) -> a map of the observation's shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.registry import Registry
from foveal.saliency.graph import pixel_gradient

ScalarFunction: TypeAlias = Callable[[Tensor], Tensor]
SaliencyMap: TypeAlias = Callable[[ScalarFunction, Tensor], Tensor]

SALIENCY: Registry[SaliencyMap] = Registry("saliency map", "foveal.saliency")


@SALIENCY.register("gradient")
def gradient(fn: ScalarFunction, obs: Tensor) -> Tensor:
    """Plain gradient of ``fn`` with respect to the observation (Simonyan et al. 2014).

    Args:
        fn: maps a batch of observations to one scalar, or to one per sample, shape (B,) or (B, 1). It may be a closure
            over any torch network. Samples must not depend on one another.
        obs: (B, C, H, W), any dtype; the function receives it as floating point.

    Returns:
        (B, C, H, W), without a graph. Parameters and their ``.grad`` are left as they are.

    Raises:
        FovealError: ``fn`` does not return one value per sample, or its value does not depend on ``obs``.
    """
    return _saliency(fn, obs, guided=False)


@SALIENCY.register("guided_backprop")
def guided_backprop(fn: ScalarFunction, obs: Tensor) -> Tensor:
    """Guided backpropagation of ``fn`` (Springenberg et al. 2015).

    Arguments, result and errors are as for ``gradient``. Only ReLUs are altered: there the gradient passes where the
    forward input and the incoming gradient are both positive. ``tanh``, layer normalisation and everything else are
    ordinary.
    """
    return _saliency(fn, obs, guided=True)


def _saliency(fn: ScalarFunction, obs: Tensor, *, guided: bool) -> Tensor:
    with torch.enable_grad():
        pixels = obs.detach().clone() if obs.is_floating_point() else obs.float()
        pixels.requires_grad_()
        output = fn(pixels)
        _check_output(output, len(obs))
        return pixel_gradient(output, pixels, guided=guided, retain_graph=False)


def _check_output(output: object, batch: int) -> None:
    if not isinstance(output, Tensor):
        raise FovealError(f"saliency: the function must return a tensor, not {type(output).__name__}")
    if tuple(output.shape) not in {(), (1,), (batch,), (batch, 1)}:
        raise FovealError(
            f"saliency: the function must return one scalar or one value per sample, shape () or ({batch},), "
            f"not {tuple(output.shape)}; pick one output, e.g. lambda obs: network(obs)[:, 0]"
        )
    if not output.requires_grad:
        raise FovealError(
            "saliency: the function's value does not depend on the observation through differentiable operations; "
            "remove .detach(), torch.no_grad() or an integer conversion from it"
        )
