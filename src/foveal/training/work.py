"""What a trainer asks of whatever learns: to collect, to learn, and to give and take its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from foveal.checkpoint import Checkpoint
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


class Work(Protocol):
    """One training of one agent, without anything that every training has in common.

    Attributes:
        kind: of its checkpoints, such as ``"foveal.agent"``.
        agent: what learns.
        device: that it learns on.
        what: is being done, and ``unit``, what its steps are: words for the progress bar.
    """

    kind: str
    agent: Any
    device: torch.device
    what: str
    unit: str

    def settings(self) -> dict[str, Any]:
        """Its configuration, JSON-able."""

    @property
    def steps(self) -> int:
        """How far it is: agent steps, or batches of a data set."""

    @property
    def updates(self) -> int:
        """Gradient updates taken."""

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""

    @property
    def can_evaluate(self) -> bool:
        """Whether an evaluation leaves training as it was."""

    def end(self, target: int) -> int:
        """The first number of steps at or beyond ``target`` at which it can stop."""

    def rehearse(self, options: RunOptions) -> None:
        """Find out what is wrong with the evaluations that are asked for, before any work starts.

        Raises:
            FovealError: one of them is impossible.
        """

    def begin(self, target: int) -> None:
        """Get ready to go on up to ``target`` steps."""

    def collect(self) -> Sequence[Episode]:
        """Collect the least that can be learned from; returns the episodes that ended.

        Raises:
            FovealError: the environment or the policy gave something that can't be learned from.
        """

    def learn(self, after_update: Callable[[], None]) -> None:
        """Take the updates that are due, each followed by ``after_update()``."""

    def metrics(self) -> dict[str, float]:
        """The latest losses and the like. This may wait for the device."""

    def evaluate(self, options: RunOptions) -> Results:
        """Evaluate the policy, and leave training as it was."""

    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the agent is: tensors by name and JSON, as ``checkpoint.save`` takes them."""

    def run_state(self) -> dict[str, Any]:
        """What the rest of the training depends on beside the agent: nested tensors, arrays and JSON values."""

    def segments(self) -> Any:
        """Files of a checkpoint that never change once they are written, or None."""

    def load_run_state(self, state: Mapping[str, Any], held: Checkpoint) -> None:
        """Undo of ``run_state``."""

    def close(self) -> None:
        """Let go of environments and of what is needed for training alone."""
