"""What learning needs of an agent; ``foveal.Agent`` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from foveal.config.tree import Config
from foveal.envs.making import EnvLike
from foveal.evaluation.pixel_world import Policy
from foveal.learners import Learner, Shapes
from foveal.methods import Method
from foveal.replay import ReplayBuffer
from foveal.training.perceiving import Perceiving

KIND = "foveal.agent"
"""The kind of its checkpoints."""


class LearningAgent(Policy, Protocol):
    """A learner, its method, its environment, and how far it is.

    Attributes:
        env: its environment, or the id or callable that makes one.
        config: all of its settings.
        shapes: of observations and actions.
        device: that it learns on.
        learner: its networks.
        method: its method.
        perceive: what it perceives of pictures.
        updater: takes its updates: an ``Updater``, or the ``PPO`` of an on-policy learner.
        generator: of random draws in updates.
        acting_generator: draws its actions.
        steps: agent steps so far.
        replay: its transitions, which stay from one training to the next.
        learning_starts: the agent step from which on replay has enough of them.
    """

    env: EnvLike
    config: Config
    shapes: Shapes
    device: torch.device
    learner: Learner
    method: Method
    perceive: Perceiving
    updater: Any
    generator: torch.Generator
    acting_generator: torch.Generator
    steps: int
    replay: ReplayBuffer | None
    learning_starts: int

    @property
    def updates(self) -> int:
        """Gradient updates taken, or passes over rollouts."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that an update depends on."""

    def load_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
