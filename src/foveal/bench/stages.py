"""What a cell's work is made of: trainings that are begun or gone on with, and what several cells share."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from foveal.bench import locks
from foveal.checkpoint import CheckpointStore
from foveal.loading import resume
from foveal.training import Callback, Trainer
from foveal.training.run_folder import ended, kind_of

WAIT = 1.0
"""Seconds between two looks at whether another process has made what it is making."""

Tell = Callable[[str, float], None]
"""Told what is being done, and how much of the cell's work is done, in [0, 1]."""

SHARES = {"training": 0.9, "shield": 0.93, "evaluation": 1.0}
"""Of a cell's work, about, up to the end of each part: to draw bars by, and for nothing else."""


class Watch(Callback):
    """Tells how far a training is."""

    def __init__(self, tell: Tell, what: str, begin: float, end: float) -> None:
        self.tell, self.what, self.begin, self.end = tell, what, begin, end

    def on_step(self, trainer: Trainer) -> None:
        """Tell."""
        share = trainer.work.steps / max(trainer.target, 1)
        self.tell(self.what, self.begin + (self.end - self.begin) * share)


def trained(run: Path, begin: Callable[[], object], *watches: Callback) -> None:
    """Train to the end: from the beginning, or from the newest checkpoint of a run's folder.

    Args:
        run: the folder.
        begin: trains from the beginning, in that folder.
        watches: hooks of a training that goes on.
    """
    if ended(run):
        return
    if kind_of(run) and CheckpointStore(run).steps():
        resume(run, callbacks=watches).train()
        return
    shutil.rmtree(run, ignore_errors=True)  # killed before its first checkpoint
    begin()


def made_once(
    folder: Path,
    there: Callable[[], bool],
    make: Callable[[], object],
    waiting: Callable[[], object] = lambda: None,
) -> None:
    """Make what several cells need, unless it is there; wait for another process that is at it.

    Args:
        folder: gets the lock.
        there: whether it is.
        make: makes it, from where it stands.
        waiting: called again and again meanwhile.
    """
    while not there():
        with locks.held(folder) as mine:
            if mine and not there():
                make()
        if not mine:
            waiting()
            time.sleep(WAIT)
