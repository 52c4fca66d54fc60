"""What a skill looks at: saliency of what it is about to do on the depth frames that it sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.errors import FovealError
from foveal.registry import nearest
from foveal.saliency import SALIENCY, ScalarFunction
from foveal.skills.config import as_dict, clone_config
from foveal.skills.policy import SkillPolicy

VELOCITY, GRIPPER = "velocity", "gripper"
OUTPUTS = (VELOCITY, GRIPPER)

_AT_ONCE = 16  # observations per backward pass; bounds memory, not the result


def scalar_of(policy: SkillPolicy, skill: Sequence[int] | NDArray[np.int64], of: str = VELOCITY) -> ScalarFunction:
    """A number for each sample that says what its skill is about to do, of the first horizon: that is carried out.

    ``"velocity"`` is the sum of the absolute values of the three velocities, as shares of the fastest. Every axis then
    counts alike, whichever way it moves, and the map does not vanish where the tool nearly stands, as that of the
    squared norm does, whose gradient is twice the velocity's times the velocity. ``"gripper"`` is the margin by which
    one of the gripper's logits is above the other: how sure it is to close, or to open.

    Args:
        policy: the skills.
        skill: (B,) numbers.
        of: one of ``OUTPUTS``.

    Raises:
        FovealError: no such output.
    """
    if of not in OUTPUTS:
        raise FovealError(f"unknown output of skills {of!r}: {nearest(of, list(OUTPUTS))}")
    condition = policy.one_hot(skill)

    def fn(image: Tensor) -> Tensor:
        out = policy.network(image, condition)[:, :5]  # (B, 5): two logits, three standardised velocities
        if of == GRIPPER:
            return (out[:, 1] - out[:, 0]).abs()
        return (out[:, 2:] * policy.spread + policy.mean).abs().sum(1)

    return fn


def look(
    policy: SkillPolicy,
    frames: NDArray[np.uint16],
    skill: NDArray[np.int64],
    *,
    saliency: str = "guided_backprop",
    of: str = VELOCITY,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Maps and the values that they are of.

    Args:
        policy: the skills; see ``in_float32``.
        frames: (N, stack, H, W) millimetres.
        skill: (N,) numbers.
        saliency: name of a map in ``foveal.saliency``.
        of: one of ``OUTPUTS``.

    Returns:
        (N, H, W), the absolute values summed over the stacked frames, as which of three frames of a scene that hardly
        moves a network reads means little; and (N,).

    Raises:
        FovealError: no such map or output.
    """
    make = SALIENCY.get(saliency)
    strengths, values = [], []
    for start in range(0, len(frames), _AT_ONCE):
        chosen = slice(start, start + _AT_ONCE)
        image, fn = policy.input(frames[chosen]), scalar_of(policy, skill[chosen], of)
        strengths.append(make(fn, image).abs().sum(1).numpy())
        with torch.no_grad():
            values.append(fn(image).numpy())
    return np.concatenate(strengths), np.concatenate(values)


def in_float32(policy: SkillPolicy) -> SkillPolicy:
    """The same skills with convolutions in ``float32``: pixels are ranked by their gradients, which need its digits."""
    tensors, state = policy.state()
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    return SkillPolicy.from_state(copies, {**state, "config": {**state["config"], "precision": "float32"}})


def untrained(policy: SkillPolicy) -> SkillPolicy:
    """A network of the same shape with other first weights: what its map finds needs no training to be found."""
    config = clone_config("paper", {**as_dict(policy.config), "precision": "float32"})
    fresh = SkillPolicy(policy.skill_set, config, policy.seed + 1)
    fresh.mean, fresh.spread = policy.mean, policy.spread
    return fresh
