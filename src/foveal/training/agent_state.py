"""What a checkpoint holds of an agent: everything that its updates depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from foveal import checkpoint
from foveal.checkpoint.policy_only import halved, with_targets, without_targets
from foveal.errors import FovealError
from foveal.training.agents import LearningAgent


def agent_state(agent: LearningAgent, *, policy_only: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name and JSON, as ``checkpoint.save`` takes them; arguments as for ``Agent.save``."""
    tree = {
        "learner": dict(agent.learner.state_dict()),
        "method": dict(agent.method.state_dict()),
        "generators": [g.get_state() for g in (agent.generator, agent.acting_generator)],
    }
    tensors, described = checkpoint.split(tree)
    optimizers = {}
    for name, optimizer in agent.updater.optimizers().items():
        held, optimizers[name] = checkpoint.optimizer_state(optimizer, f"optimizers/{name}/")
        tensors |= held
    state = {
        "config": agent.config.as_dict(),
        "shapes": agent.shapes.as_dict(),
        "device": agent.device.type,
        "steps": agent.steps,
        "updates": agent.updates,
        "networks": described,
        "optimizers": optimizers,
    }
    if policy_only:
        tensors = halved(tensors)
        state |= {"policy_only": True, "optimizers": {}, "networks": without_targets(described)}
    return tensors, state


def load_agent_state(agent: LearningAgent, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Undo of ``agent_state``; see ``Agent.load_state``."""
    tree = checkpoint.join(tensors, state["networks"])
    weights, policy_only = tree["learner"], state.get("policy_only", False)
    if policy_only:
        weights = with_targets(weights, agent.learner.state_dict())
    try:
        agent.learner.load_state_dict(weights)
        agent.method.load_state_dict(tree["method"])
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise FovealError(f"these weights do not fit the networks of their configuration: {first}") from error
    if state.get("device", agent.device.type) == agent.device.type:  # else the generators are of another kind
        for generator, held in zip((agent.generator, agent.acting_generator), tree["generators"], strict=True):
            checkpoint.load_generator_state(generator, held)
    for name, optimizer in () if policy_only else agent.updater.optimizers().items():
        checkpoint.load_optimizer_state(optimizer, tensors, state["optimizers"][name], f"optimizers/{name}/")
    agent.steps = state["steps"]
    agent.updater.updates = state["updates"]
    agent.updater.restart()
