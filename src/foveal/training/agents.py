"""What learning needs of an agent; ``foveal.Agent`` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from foveal.config.tree import Config
from foveal.envs.making import EnvLike
from foveal.evaluation.rollouts import Policy
from foveal.learners import Shapes
from foveal.learners.ppo import PPO
from foveal.methods import Method
from foveal.replay import ReplayBuffer
from foveal.training.updater import Updater

KIND = "foveal.agent"
"""Of its checkpoints."""


class LearningAgent(Policy, Protocol):
    """An environment, settings, and how far it is.

    Attributes:
        env: its environment, or the id or callable that makes one.
        config: all of its settings.
        shapes: of observations and actions.
        device: that it learns on.
        steps: agent steps so far.
    """

    env: EnvLike
    config: Config
    shapes: Shapes
    device: torch.device
    steps: int

    @property
    def updates(self) -> int:
        """Gradient updates taken, or passes over rollouts."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything an update depends on."""

    def load_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Undo of ``state``."""


class ReplayAgent(LearningAgent, Protocol):
    """A value learner and its method.

    Attributes:
        method: its method.
        updater: takes its updates.
        replay: its memory, from one training to the next.
        learning_starts: agent steps at which there is enough of that.
    """

    method: Method
    updater: Updater
    replay: ReplayBuffer | None
    learning_starts: int


class OnPolicyAgent(LearningAgent, Protocol):
    """A policy that learns from what it did.

    Attributes:
        updater: collects rollouts and takes the updates.
        acting_generator: draws its actions.
    """

    updater: PPO
    acting_generator: torch.Generator
