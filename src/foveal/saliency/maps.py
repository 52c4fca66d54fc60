"""Saliency maps by name: (function to a scalar, observation) -> how much each pixel matters.

Every map keeps to one contract. The function is given as many samples as there are observations, in their order,
however often it is asked, so it may close over something of each, such as the action taken. A map is (B, C, H, W), or
(B, 1, H, W) where it can't tell channels apart, has no graph, leaves no ``.grad``, and is the same each time: what is
drawn comes from a generator, seeded alike unless the caller gives one.
"""

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

_BLACK_BOX: set[SaliencyMap] = set()
_OF_CHOICES: set[SaliencyMap] = set()


def black_box(saliency: SaliencyMap) -> SaliencyMap:
    """Marks a map that asks for values alone, no gradient; its function may give vectors too, (B, A)."""
    _BLACK_BOX.add(saliency)
    return saliency


def of_choices(saliency: SaliencyMap) -> SaliencyMap:
    """Marks a map whose function gives a number for each discrete action, (B, A)."""
    _OF_CHOICES.add(saliency)
    return saliency


def needs_gradient(name: str) -> bool:
    """Whether a map is of functions that can be differentiated alone.

    Raises:
        FovealError: there is no such map.
    """
    return SALIENCY.get(name) not in _BLACK_BOX


def needs_choices(name: str) -> bool:
    """Whether a map's function must give a number for each discrete action. Errors as for ``needs_gradient``."""
    return SALIENCY.get(name) in _OF_CHOICES


def black_boxes() -> list[str]:
    """Names of the maps that need no gradient."""
    return [name for name in SALIENCY.names() if not needs_gradient(name)]


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
        check_output(output, len(obs))
        return pixel_gradient(output, pixels, guided=guided, retain_graph=False)


def check_output(output: object, batch: int) -> None:
    """Refuse what no gradient can be taken of.

    Raises:
        FovealError: it is no tensor, not one value per sample, or has no graph.
    """
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
