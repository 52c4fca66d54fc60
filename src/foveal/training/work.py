"""What a trainer asks of whatever learns: to collect, to learn, and to give and take its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from foveal.checkpoint import Checkpoint, Segment
from foveal.evaluation.results import Results
from foveal.training.options import RunOptions


class Episode(NamedTuple):
    """An episode of training that has ended.

    Attributes:
        environment: which of them it was in, from 0.
        value: its return.
    """

    environment: int
    value: float


class Work(ABC):
    """One training of one agent, without anything that every training has in common.

    Attributes:
        kind: of its checkpoints, such as ``"foveal.agent"``.
        what: is being done, and ``unit``, what its steps are: words for the progress bar.
        agent: what learns.
        device: that it learns on.
        steps_at_once: how many steps pass between two moments at which it can stop.
        can_evaluate: whether it can be evaluated on the way, which leaves training as it was.
        closed: whether ``close`` was called.
    """

    kind: str
    what: str = "train"
    unit: str = "step"
    agent: Any
    device: torch.device
    steps_at_once: int = 1
    closed: bool = False

    @property
    def can_evaluate(self) -> bool:
        """See the class."""
        return False

    @property
    def steps(self) -> int:
        """How far it is: agent steps, or batches of a data set."""
        return int(self.agent.steps)

    @property
    def updates(self) -> int:
        """Gradient updates taken."""
        return int(self.agent.updates)

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Its configuration, JSON-able."""

    def end(self, target: int) -> int:
        """The first number of steps at or beyond ``target`` at which it can stop."""
        return self.steps + -(-max(0, target - self.steps) // self.steps_at_once) * self.steps_at_once

    def rehearse(self, options: RunOptions) -> None:  # noqa: B027 - not every work has evaluations
        """Find out what is wrong with the evaluations that are asked for, before any work starts.

        Raises:
            FovealError: one of them is impossible.
        """

    def begin(self, target: int) -> None:  # noqa: B027 - not every work has something to get ready
        """Get ready to go on up to ``target`` steps."""

    @abstractmethod
    def collect(self) -> Sequence[Episode]:
        """Collect the least that can be learned from; returns the episodes that ended.

        Raises:
            FovealError: the environment or the policy gave something that can't be learned from.
        """

    @abstractmethod
    def learn(self, after_update: Callable[[], None]) -> None:
        """Take the updates that are due, each followed by ``after_update()``."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """The latest losses and the like. This may wait for the device."""

    def evaluate(self, options: RunOptions) -> Results:
        """Evaluate the policy, and leave training as it was; asked for where ``can_evaluate``."""
        raise NotImplementedError

    @abstractmethod
    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the agent is: tensors by name and JSON, as ``checkpoint.save`` takes them."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What the rest of the training depends on beside the agent: nested tensors, arrays and JSON values."""

    def segments(self) -> Iterable[Segment]:
        """Files of a checkpoint that never change once they are written."""
        return ()

    @abstractmethod
    def load_state(self, state: Mapping[str, Any], held: Checkpoint) -> None:
        """Undo of ``state``."""

    def close(self) -> None:
        """Let go of environments and of what is needed for training alone."""
        self.closed = True
