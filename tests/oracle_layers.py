"""What the problems of ``oracle`` call the weights of our learners, and weights from one layout to the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from foveal.types import Batch
from oracle import problem


def sac_layers(learner: Any) -> dict[str, Any]:
    """The problem's names -> the layers of ``sac``."""
    layers: dict[str, Any] = {}
    for prefix in ("", "target_"):
        convolutions, projection, critics = (getattr(learner, prefix + name) for name in problem.TARGETS)
        layers |= {f"{prefix}convolutions.{i}": convolutions.layers[2 * i] for i in range(problem.LAYERS)}
        layers |= {f"{prefix}projection.{name}": getattr(projection, name) for name in ("linear", "norm")}
        layers |= {f"{prefix}critics.{h}.{i}": critics.heads[h][2 * i] for h in range(2) for i in range(3)}
    layers |= {f"actor_projection.{name}": getattr(learner.actor_projection, name) for name in ("linear", "norm")}
    return layers | {f"policy.{i}": learner.policy[2 * i] for i in range(3)}


def of_layers(layers: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights and biases of layers, by their names."""
    return {f"{name}.{kind}": getattr(layer, kind) for name, layer in layers.items() for kind in ("weight", "bias")}


def to_ours(name: str, tensor: Tensor) -> Tensor:
    """The published flattening is channel by channel, ours pixel by pixel."""
    if not name.endswith("projection.linear.weight"):
        return tensor
    return tensor.view(-1, problem.FILTERS, problem.SMALL, problem.SMALL).permute(0, 2, 3, 1).flatten(1)


def to_theirs(name: str, tensor: Tensor) -> Tensor:
    """Undo of ``to_ours``."""
    if not name.endswith("projection.linear.weight"):
        return tensor
    return tensor.view(-1, problem.SMALL, problem.SMALL, problem.FILTERS).permute(0, 3, 1, 2).flatten(1)


def nothing_further(size: int) -> Batch:
    """For methods that need no further batch."""
    raise AssertionError(f"a further batch of {size}")
