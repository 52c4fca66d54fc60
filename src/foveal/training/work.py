"""The interface between the trainer and a kind of training: to collect, to learn, and to give and take its state."""

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
        environment: number of its environment, from 0.
        value: its return.
    """

    environment: int
    value: float


class Work(ABC):
    """One training of one agent: what differs from one kind of training to another.

    Attributes:
        kind: of its checkpoints, such as ``"foveal.agent"``.
        what: a verb for the progress bar.
        unit: a noun for its steps, for the progress bar.
        agent: what learns.
        device: where it learns.
        steps_at_once: how many steps pass between two moments at which it can stop.
        can_evaluate: whether it can be evaluated in between, which leaves training as it was.
        closed: whether ``close`` was called.
        visible: whether what takes long may show a bar of its own; the trainer sets it.
    """

    kind: str
    what: str = "train"
    unit: str = "step"
    agent: Any
    device: torch.device
    steps_at_once: int = 1
    closed: bool = False
    visible: bool = False

    @property
    def can_evaluate(self) -> bool:
        """See the class."""
        return False

    @property
    def steps(self) -> int:
        """Steps so far: agent steps, or batches of a data set."""
        return int(self.agent.steps)

    @property
    def updates(self) -> int:
        """Gradient updates so far."""
        return int(self.agent.updates)

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Its configuration, JSON-able."""

    def end(self, target: int) -> int:
        """The first number of steps at or beyond ``target`` at which it can stop."""
        return self.steps + -(-max(0, target - self.steps) // self.steps_at_once) * self.steps_at_once

    def rehearse(self, options: RunOptions) -> None:  # noqa: B027 - not every work has evaluations
        """Check the evaluations that the options ask for, before any work starts.

        Raises:
            FovealError: one of them is impossible.
        """

    def begin(self, target: int) -> None:  # noqa: B027 - not every work has something to get ready
        """Get ready to go on up to ``target`` steps."""

    @abstractmethod
    def collect(self) -> Sequence[Episode]:
        """Collect the least from which to learn; returns the episodes that ended.

        Raises:
            FovealError: the environment or the policy gave a value that is not finite.
        """

    @abstractmethod
    def learn(self, after_update: Callable[[], None]) -> None:
        """Take the updates that are due, each followed by ``after_update()``."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """The latest losses and other numbers. This may wait for the device."""

    def evaluate(self, options: RunOptions) -> Results:
        """Evaluate the policy and leave training as it was; called only if ``can_evaluate``."""
        raise NotImplementedError

    @abstractmethod
    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The agent's state: tensors by name and JSON, as ``checkpoint.save`` takes them."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What the rest of the training depends on beside the agent: nested tensors, arrays and JSON values."""

    def segments(self) -> Iterable[Segment]:
        """Files of a checkpoint that never change once they are written."""
        return ()

    @abstractmethod
    def load_state(self, state: Mapping[str, Any], saved: Checkpoint) -> None:
        """Go on from ``state``, which was read from the checkpoint ``saved``."""

    def close(self) -> None:
        """Close environments and free what training alone needs."""
        self.closed = True
