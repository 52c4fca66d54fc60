"""What of the arm's policies can be explained: what a skill, or a policy of every step, is about to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.evaluation.insides import Decision, Insides, Scalar, action_scalars, summed
from foveal.saliency import ScalarFunction
from foveal.skills.config import clone_config

VELOCITY, GRIPPER = "velocity", "gripper"
ALONG = ("velocity_x", "velocity_y", "velocity_z")
"""Names of the velocity along each axis, with its sign."""
AXES = "(absolute values along its three axes, summed)"


def skill_insides(policy: Any) -> Insides:
    """Scalars ``velocity``, ``gripper`` and the velocity along each axis of cloned skills.

    They are of the first horizon, which is carried out.

    ``"velocity"`` is the sum of the absolute values of the three velocities, as shares of the fastest. Every axis then
    counts alike, whichever way it moves, and the map does not vanish where the tool nearly stands, as that of the
    squared norm does, whose gradient is twice the velocity's times the velocity. ``"gripper"`` is the margin by which
    one of the gripper's logits is above the other: how sure it is to close, or to open.

    A network of the same shape that has learned nothing is there for comparison.

    Args:
        policy: ``foveal.skills.policy.SkillPolicy``.
    """
    exact = policy.copy(precision="float32")  # pixels are ranked by their gradients, which need its digits
    config = {"skills": asdict(policy.skill_set), "cloning": asdict(policy.config)}
    return _insides(exact, config, control=_insides(untrained(policy), config))


def untrained(policy: Any) -> Any:
    """A network of the same shape with other first weights: what its map shows takes no training to see."""
    config = clone_config("paper", {**asdict(policy.config), "precision": "float32"})
    fresh = type(policy)(policy.skill_set, config, policy.seed + 1)
    fresh.mean, fresh.spread = policy.mean, policy.spread
    return fresh


def _insides(policy: Any, config: dict[str, Any], control: Insides | None = None) -> Insides:
    def outputs(observations: Sequence[Any]) -> ScalarFunction:
        condition = policy.one_hot([seen.skill for seen in observations])
        return lambda image: policy.network(image, condition)[:, :5]  # (B, 5): two logits, three velocities

    def acted(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        of = outputs(observations)

        def act(image: Tensor) -> Tensor:  # (B, 4): three velocities, the gripper's margin
            out = of(image)
            return torch.cat([out[:, 2:] * policy.spread + policy.mean, out[:, 1:2] - out[:, :1]], dim=1)

        return act

    def velocity(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        act = acted(observations, actions)
        return lambda image: act(image)[:, :3].abs().sum(1)

    def gripper(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        act = acted(observations, actions)
        return lambda image: act(image)[:, 3].abs()

    stack, decision = policy.config.stack, Decision(acted, discrete=False)
    return Insides(
        scalars={
            VELOCITY: Scalar(velocity, "|v|", "predicted velocity", f"the tool's predicted velocity {AXES}"),
            GRIPPER: Scalar(
                gripper,
                "margin",
                "margin of the gripper's logits",
                "the margin between the gripper's two logits (to close and to open)",
            ),
            **action_scalars(decision, ALONG),
        },
        pixels=lambda observations: policy.input(np.stack([seen.frames for seen in observations])),
        strength=summed,
        summed=f"the {stack} frames" if stack > 1 else "",
        control=control,
        config=config,
        decision=decision,
    )


def step_insides(policy: Any) -> Insides:
    """Scalars ``velocity``, ``gripper``, ``value`` and the velocity along each axis of a policy of every step.

    Args:
        policy: ``foveal.skills.flat.FlatPolicy``.
    """
    network = policy.network

    def mean(image: Tensor) -> Tensor:
        action: Tensor = network.actor.mode(network.features(image))  # (B, 4)
        return action

    decision = Decision(lambda observations, actions: mean, discrete=False)

    def scalar(fn: ScalarFunction, symbol: str, label: str, meaning: str) -> Scalar:
        return Scalar(lambda observations, actions: fn, symbol, label, meaning)

    def velocity(image: Tensor) -> Tensor:
        return mean(image)[:, :3].abs().sum(1)

    def gripper(image: Tensor) -> Tensor:
        return mean(image)[:, 3].abs()

    return Insides(
        scalars={
            VELOCITY: scalar(velocity, "|v|", "mean velocity", f"the tool's mean velocity {AXES}"),
            GRIPPER: scalar(gripper, "|g|", "gripper's mean", "how sure the gripper is to close or to open"),
            "value": scalar(network.values, "V", "value of the state", "the state's value"),
            **action_scalars(decision, ALONG),
        },
        pixels=lambda observations: policy.input(np.stack([seen.frames for seen in observations])),
        strength=summed,
        summed=f"the {policy.stack} frames",
        config={"ppo": asdict(policy.config), "view": asdict(policy.view)},
        decision=decision,
    )
