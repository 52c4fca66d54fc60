"""A call of ``foveal bench run``: writes the jobs, lets an engine do what is missing, and shows how it goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from foveal.bench.cells import CELL, DONE, FAILED
from foveal.bench.engines import Engine
from foveal.bench.jobs import Job
from foveal.bench.progress_page import write_progress
from foveal.bench.running import missing_data
from foveal.bench.standing import STOPPED, WAITING, Standing, share_done, standing, summary_line
from foveal.envs import games
from foveal.progress import seconds_between_draws

BETWEEN = 2.0
"""Seconds between two looks at the ledger, and between two versions of the page."""


class Grid:
    """The cells of a suite that a call asks for.

    Args:
        suite: its name.
        about: it, in a line.
        jobs: of the cells.
        departs: in what they depart from the suite.
        at_once: cells that will be worked on at once.
        visible: show a bar, on standard error.
    """

    def __init__(
        self, suite: str, about: str, jobs: Sequence[Job], departs: Sequence[str], at_once: int, *, visible: bool
    ) -> None:
        self.suite, self.about, self.jobs, self.departs, self.at_once = suite, about, list(jobs), departs, at_once
        self.out = Path(self.jobs[0].out)
        self.standings: list[Standing] = [standing(job) for job in self.jobs]
        self._shown: list[object] = []
        self._looked = -BETWEEN
        layout = "{percentage:3.0f}% |{bar}| {elapsed} passed{postfix}"
        self._bar = tqdm(
            total=1.0, disable=not visible, bar_format=layout, mininterval=seconds_between_draws(), leave=True
        )

    def watch(self) -> None:
        """Look at the ledger, and show what has changed, not too often."""
        if time.monotonic() - self._looked >= BETWEEN:
            self.look()

    def look(self) -> None:
        """Look at the ledger, and show what has changed."""
        self._looked = time.monotonic()
        before = self.standings
        self.standings = [self._again(each) for each in before]
        for old, new in zip(before, self.standings, strict=True):
            if old.state != new.state and new.state in (DONE, FAILED):
                tqdm.write(f"{new.state}: {new.job.label}" + (f": {new.error}" if new.error else ""))
        self._bar.set_postfix_str(summary_line(self.standings, self.at_once), refresh=False)
        self._bar.update(share_done(self.standings) - self._bar.n)
        shown: list[object] = [replace(each, share=round(each.share, 2), seconds=0.0) for each in self.standings]
        if shown != self._shown:
            self._shown = shown
            write_progress(self.out, self.suite, self.standings, self.at_once, self.about, self.departs)

    def _again(self, before: Standing) -> Standing:
        """How a cell stands now; one that is done stays so."""
        return before if before.state == DONE else standing(before.job)

    def close(self) -> None:
        """Look a last time, and end the bar."""
        self.look()
        self._bar.close()


def prepare(jobs: Sequence[Job], *, retry_failed: bool) -> list[Job]:
    """Write the jobs of cells that aren't done, and tell which are to be worked on.

    Cells that another process works on are left to it, and those that failed unless they are to be tried again.

    Raises:
        FovealError: a cell's folder is of another grid, or a condition's data are missing.
    """
    for job in {(games.is_atari(job.task), job.conditions, job.data): job for job in jobs}.values():
        missing_data(job)  # whose files are the same for all tasks
    chosen = []
    for job in jobs:
        job.save()
        state = standing(job).state
        if state == FAILED and retry_failed:
            (job.folder / CELL).unlink()
            state = WAITING
        if state in (WAITING, STOPPED):
            chosen.append(job)
    return chosen


def launch(engine: Engine, grid: Grid, chosen: Sequence[Job]) -> None:
    """Let an engine work on cells until all have ended.

    Raises:
        KeyboardInterrupt: Ctrl-C, with checkpoints of what was running.
    """
    try:
        grid.look()
        if chosen:
            engine.run([job.folder for job in chosen], grid.watch)
    finally:
        grid.close()
    print(summary_line(grid.standings, grid.at_once))
