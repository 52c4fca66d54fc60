"""The interface of an agent that learns from replay, such as ``foveal.Agent``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from foveal.config.tree import Config
from foveal.envs.making import EnvLike
from foveal.evaluation.pixel_world import Policy
from foveal.learners import Shapes
from foveal.methods import Method
from foveal.replay import ReplayBuffer
from foveal.training.updater import Updater

KIND = "foveal.agent"
"""The kind of its checkpoints."""


class LearningAgent(Policy, Protocol):
    """A value learner, its method, its environment, and how far it has trained.

    Attributes:
        env: its environment, or the id or callable that makes one.
        config: all of its settings.
        shapes: of observations and actions.
        device: where it learns.
        method: its method.
        updater: takes its updates.
        steps: agent steps so far.
        replay: its transitions, which stay from one training to the next.
        learning_starts: the agent step from which on replay has enough of them.
    """

    env: EnvLike
    config: Config
    shapes: Shapes
    device: torch.device
    method: Method
    updater: Updater
    steps: int
    replay: ReplayBuffer | None
    learning_starts: int

    @property
    def updates(self) -> int:
        """Gradient updates taken."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that an update depends on."""

    def load_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
