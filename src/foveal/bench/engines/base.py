"""What an engine is, and what becomes of a process that has ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from foveal.bench import locks
from foveal.bench.cells import FAILED, RUNNING, read_cell, write_cell
from foveal.bench.jobs import read_job
from foveal.bench.worker import BUSY, INTERRUPTED, LOG
from foveal.errors import FovealError
from foveal.machine.cores import available
from foveal.registry import Registry

ATTEMPTS = 3
"""Processes in a row that may die on one cell without a word, before it counts as failed."""
LOOK = 1.0
"""Seconds between two looks at the cells."""


@dataclass(frozen=True)
class EngineOptions:
    """Where and how many cells are worked on at once.

    Attributes:
        workers: cells at once (default: half as many as there are cores; on Slurm as many as the queue lets run).
        cpus_per_run: cores for each cell (default: of this machine a fair share of whole ones; on Slurm one).
        gpus_per_run: GPUs for each cell, with ray a fraction where several share one.
        hours_per_run: with slurm, a job's time limit, after which it is queued again and goes on.
        partition: of Slurm.
        address: of a Ray cluster (default: one on this machine, or what RAY_ADDRESS says).

    Raises:
        FovealError: a number is negative.
    """

    workers: int = 0
    cpus_per_run: float = 0.0
    gpus_per_run: float = 0.0
    hours_per_run: float = 24.0
    partition: str | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "cpus_per_run", "gpus_per_run"):
            if getattr(self, name) < 0:
                raise FovealError(f"{name} must not be negative, and it is {getattr(self, name)}")
        if self.hours_per_run <= 0:
            raise FovealError(f"hours_per_run must be above 0, not {self.hours_per_run}")

    def share(self, workers: int) -> float:
        """Cores for each of so many cells on this machine: whole ones, at least one, so that they don't fight."""
        return self.cpus_per_run or max(1, available() // max(workers, 1))

    def threads(self, workers: int) -> int:
        """Of each cell's arithmetic."""
        return max(1, int(self.share(workers)))


class Engine(ABC):
    """Works on cells.

    Args:
        options: see ``EngineOptions``.

    Raises:
        FovealError: what it needs is missing.
    """

    def __init__(self, options: EngineOptions) -> None:
        self.options = options

    @property
    def at_once(self) -> int:
        """How many cells are worked on at once, as far as is known beforehand: by default one for every two cores."""
        return self.options.workers or max(1, available() // 2)

    @abstractmethod
    def run(self, folders: Sequence[Path], watch: Callable[[], None]) -> None:
        """Work on cells, in this order, until each is done, has failed, or is another process's.

        Args:
            folders: the cells', each with its ``job.json``.
            watch: called about once a second.

        Raises:
            KeyboardInterrupt: Ctrl-C, after what runs here has written a checkpoint.
        """


ENGINES: Registry[type[Engine]] = Registry("engine", "foveal.bench.engines")


def died(folder: Path, status: int | None) -> bool:
    """Whether a process left its cell without a word.

    Args:
        folder: the cell's.
        status: with which it ended; None where that is unknown.
    """
    if status in (0, BUSY, INTERRUPTED):
        return False
    cell = read_cell(folder)
    if cell is not None and cell.state != RUNNING:
        return False
    return status is not None or not locks.busy(folder)


def give_up(folder: Path, status: int | str, attempts: int = ATTEMPTS) -> None:
    """Note that a cell's processes died too often.

    Args:
        folder: the cell's.
        status: the last one's exit status, negative for a signal; or what else is known.
        attempts: how many there were.
    """
    how = status
    if isinstance(status, int):
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
    cell = read_cell(folder) or read_job(folder).cell()
    error = (
        f"its process died without a word ({how}), {attempts} times in a row; see {LOG}, and whether memory is enough"
    )
    write_cell(folder, replace(cell, state=FAILED, error=error))
