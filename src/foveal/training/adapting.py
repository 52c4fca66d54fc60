"""Methods that go on learning at test time, and undoing what they have learnt there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from foveal.training.agents import LearningAgent
from foveal.types import Batch, Observation


@contextmanager
def adapting(agent: LearningAgent) -> Iterator[Callable[[Any, Any, float, Any, bool], None] | None]:
    """Yield a function to call after each step of an episode, or None if the method does not adapt.

    Its arguments are the observation, the action, the reward, the next observation, and whether the episode terminated.
    Afterwards the agent is as it was before.
    """
    if not agent.method.adapts:
        yield None
        return
    tensors, state = agent.state()
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    try:
        yield lambda *step: agent.method.adapt(_transition(agent, *step))
    finally:
        agent.load_state(before, state)


def _transition(agent: LearningAgent, obs: Any, action: Any, reward: float, next_obs: Any, terminated: bool) -> Batch:
    """A step as a batch of one on the agent's device."""
    device, discount = agent.device, 0.0 if terminated else agent.config.training.discount
    return Batch(
        _one(agent, obs),
        torch.as_tensor(action, device=device)[None],
        torch.tensor([reward], device=device),
        torch.tensor([discount], device=device),
        _one(agent, next_obs),
    )


def _one(agent: LearningAgent, observation: Any) -> Observation:
    parts = observation if isinstance(observation, dict) else {"image": observation, "vector": None}
    image = agent.perceive(torch.as_tensor(parts["image"], device=agent.device)[None])
    vector = parts["vector"]
    return Observation(image, None if vector is None else torch.as_tensor(vector, device=agent.device)[None])
