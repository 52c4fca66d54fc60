"""What learning from replay needs of an agent; ``foveal.Agent`` has it."""

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
"""Of its checkpoints."""


class LearningAgent(Policy, Protocol):
    """A value learner, its method, its environment, and how far it is.

    Attributes:
        env: its environment, or the id or callable that makes one.
        config: all of its settings.
        shapes: of observations and actions.
        device: that it learns on.
        method: its method.
        updater: takes its updates.
        steps: agent steps so far.
        replay: its memory, from one training to the next.
        learning_starts: agent steps at which there is enough of that.
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
        """Everything an update depends on."""

    def load_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Undo of ``state``."""
