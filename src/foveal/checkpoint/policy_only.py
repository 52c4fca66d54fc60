"""Smaller checkpoints of policies that only act and explain: no optimizers, no target networks, half precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from foveal.errors import FovealError

TARGET = "target_"
"""Prefix of target networks: learners call the moving average of ``x`` ``target_x``."""


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``Agent.state`` without optimizers and target networks, floating point ones in half precision."""
    kept = {name: t for name, t in tensors.items() if not name.startswith(("optimizers/", f"learner/{TARGET}"))}
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in kept.items()}


def without_targets(networks: Mapping[str, Any]) -> dict[str, Any]:
    """The description of the networks in ``Agent.state``, without the target networks."""
    learner = {name: entry for name, entry in networks["learner"].items() if not name.startswith(TARGET)}
    return {**networks, "learner": learner}


def with_targets(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights together with target networks that equal the networks which they follow.

    Raises:
        FovealError: other weights than those of target networks are missing.
    """
    missing = [name for name in wanted if name not in weights]
    lost = [name for name in missing if name.removeprefix(TARGET) not in weights]
    if lost:
        raise FovealError(
            f"these weights lack {lost[0]!r}: they are not of the networks that their configuration makes"
        )
    return {**weights, **{name: weights[name.removeprefix(TARGET)] for name in missing}}
