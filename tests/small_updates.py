"""Single updates of tiny agents: batches as replay would give them, and what an update has moved."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

import foveal
from foveal.learners import ValueLearner
from foveal.learners.sac import SAC
from foveal.types import Batch, Observation
from small_env import SavedCounter, small_agent


class NoTargetEncoder(SAC):
    """SAC as methods see a learner whose target networks have no encoder of their own."""

    target_latent = ValueLearner.target_latent

    def targets(self, batch: Batch) -> Tensor:
        self.target_latent = lambda obs: SAC.target_latent(self, obs)  # type: ignore[method-assign]
        try:
            return super().targets(batch)
        finally:
            del self.target_latent


def discrete_counter() -> SavedCounter:
    """The environment with three actions."""
    return SavedCounter(discrete=True)


def method_agent(method: str, learner: str = "sac", *, shake: float = 0.05, **settings: Any) -> foveal.Agent:
    """An agent of the debug preset in float32, ready to train, all weights off their initial values."""
    env = discrete_counter if learner == "dqn" else SavedCounter
    agent = small_agent(env, method=method, learner=learner, training={"precision": "float32"}, **settings)
    draws = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in [*agent.learner.parameters(), *agent.method.parameters()]:
            parameter.add_(shake * torch.randn(parameter.shape, generator=draws))
    agent.method.get_ready()
    return agent


def batch_for(agent: foveal.Agent, size: int = 4, seed: int = 0) -> Batch:
    """Random transitions, their pictures as large as this agent's environment renders them."""
    draws = torch.Generator().manual_seed(seed)
    side = agent.env_options["image_size"]
    shape = (2, size, agent.shapes.image[0], side, side)
    images = torch.randint(0, 256, shape, generator=draws, dtype=torch.uint8)
    space = agent.shapes.action
    if isinstance(space, spaces.Discrete):
        action = torch.randint(0, int(space.n), (size,), generator=draws)
    else:
        action = torch.rand(size, agent.learner.action_size, generator=draws) * 2 - 1
    reward = torch.rand(size, generator=draws)
    return Batch(Observation(images[0]), action, reward, torch.full((size,), 0.9), Observation(images[1]))


def no_sample(size: int) -> Batch:
    """For methods that need no further batch."""
    raise AssertionError(f"a further batch of {size}")


def peek(agent: foveal.Agent) -> torch.Generator:
    """A generator that will draw what the agent's own will draw next."""
    return torch.Generator().set_state(agent.generator.get_state())


def parts(agent: foveal.Agent) -> dict[str, Tensor]:
    """The weights of learner and method, copied."""
    both = {**agent.learner.state_dict(prefix="learner."), **agent.method.state_dict(prefix="method.")}
    return {name: value.clone() for name, value in both.items()}


def moved(before: dict[str, Tensor], agent: foveal.Agent) -> set[str]:
    """The parts of learner and method that are not as they were, ``"learner.convolutions"`` and the like."""
    after = parts(agent)
    return {".".join(name.split(".")[:2]) for name in before if not torch.equal(before[name], after[name])}


def cropped(image: Tensor, generator: torch.Generator, side: int) -> Tensor:
    """Windows at the places that a generator draws, sample after sample."""
    room = image.shape[-1] - side + 1
    top = torch.randint(room, (len(image),), generator=generator).tolist()
    left = torch.randint(room, (len(image),), generator=generator).tolist()
    windows = [image[i, :, y : y + side, x : x + side] for i, (y, x) in enumerate(zip(top, left, strict=True))]
    return torch.stack(windows).float()
