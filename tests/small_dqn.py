"""A small DQN and a small QR-DQN with a batch, and an environment whose buttons they can learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

import foveal
from foveal.learners import Shapes
from foveal.learners.dqn import DQN, DQNConfig
from foveal.learners.qrdqn import QRDQN, QRDQNConfig
from foveal.networks.encoders import EncoderConfig
from foveal.types import Batch, Observation
from small_env import SIZE, SavedCounter, small_agent

SMALL: dict[str, Any] = {
    "encoder": EncoderConfig(strides=(2, 1), filters=4, projection=6),
    "hidden": 8,
    "epsilon_steps": 100,
}


def dqn(vector: int = 0, actions: int = 3, **changes: Any) -> DQN:
    """A small one whose target network is another than the trained one."""
    return shaken(DQN, DQNConfig(**{**SMALL, **changes}), vector, actions)


def qrdqn(vector: int = 0, actions: int = 3, **changes: Any) -> QRDQN:
    """The same of four quantiles."""
    return shaken(QRDQN, QRDQNConfig(**{**SMALL, "quantiles": 4, **changes}), vector, actions)


def shaken(kind: Any, config: Any, vector: int, actions: int) -> Any:
    torch.manual_seed(0)
    shapes = Shapes((3, 12, 12), vector, spaces.Discrete(actions))
    learner = kind(config, shapes, torch.float32, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return learner


def observation(size: int = 5, vector: int = 0, seed: int = 1) -> Observation:
    draws = torch.Generator().manual_seed(seed)
    image = torch.rand(size, 3, 12, 12, generator=draws) * 255
    return Observation(image, torch.randn(size, vector, generator=draws) if vector else None)


def batch_of(vector: int = 0) -> Batch:
    action, reward = torch.tensor([0, 1, 2, 1, 0]), torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0])
    discount = torch.tensor([0.9, 0.0, 0.81, 0.9, 0.9])  # the second terminated, the third is cut by a time limit
    return Batch(observation(vector=vector), action, reward, discount, observation(vector=vector, seed=2))


class Bright(SavedCounter):
    """Pictures are bright or dark; the button that fits pays 1."""

    def __init__(self) -> None:
        super().__init__(discrete=True)

    def step(self, action: Any) -> Any:
        right = int(action) == int(self._bright)
        obs, _, terminated, truncated, info = super().step(action)
        return obs, float(right), terminated, truncated, info

    def _observe(self) -> Any:
        self._bright = bool(self.np_random.random() < 0.5)
        self.made += 1
        return np.full((SIZE, SIZE, 3), 220 if self._bright else 30, np.uint8)


def agent_on(method: str, env: Any = Bright, learner: str = "dqn", **settings: Any) -> foveal.Agent:
    training = {"precision": "float32", **settings.pop("training", {})}
    return small_agent(env, method=method, learner=learner, training=training, **settings)
