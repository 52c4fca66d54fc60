"""How the cells of a ledger stand, and how long the rest will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foveal.bench import locks
from foveal.bench.cells import DONE, FAILED, RUNNING, read_cell
from foveal.bench.jobs import JOB, Job, read_job
from foveal.bench.worker import last_doing
from foveal.evaluation.layout import duration

WAITING, STOPPED = "waiting", "stopped"
"""Further states for people: not begun, and begun by a process that is no more."""
ORDER = (DONE, RUNNING, STOPPED, WAITING, FAILED)


@dataclass(frozen=True)
class Standing:
    """How a cell stands.

    Attributes:
        job: the cell's.
        state: done, failed, running, stopped or waiting.
        share: of its work that is done, about.
        doing: what a running one does.
        seconds: of work on it so far.
        error: of a failed one.
    """

    job: Job
    state: str
    share: float = 0.0
    doing: str = ""
    seconds: float = 0.0
    error: str | None = None


def standing(job: Job) -> Standing:
    """How a cell stands, by its folder."""
    cell = read_cell(job.folder)
    if cell is None:
        return Standing(job, WAITING)
    if cell.state != RUNNING:
        return Standing(job, cell.state, float(cell.state == DONE), seconds=cell.seconds or 0.0, error=cell.error)
    doing, share, seconds = last_doing(job.folder)
    state = RUNNING if locks.busy(job.folder) else STOPPED
    return Standing(job, state, share, doing, (cell.seconds or 0.0) + seconds)


def jobs_in(out: Path) -> list[Job]:
    """Every job of a ledger, or of one of its suites, in order of their folders.

    Raises:
        FovealError: a job can't be read.
    """
    found = {path for pattern in ("*/*/*/seed-*", "*/*/seed-*") for path in out.glob(f"{pattern}/{JOB}")}
    return [read_job(path.parent) for path in sorted(found)]


def counts(standings: Sequence[Standing]) -> dict[str, int]:
    """How many cells stand how, without those states that none has."""
    counted = Counter(each.state for each in standings)
    return {state: counted[state] for state in ORDER if counted[state]}


def share_done(standings: Sequence[Standing]) -> float:
    """Of all work that isn't given up, about, in [0, 1]."""
    wanted = [each for each in standings if each.state != FAILED]
    return sum(each.share for each in wanted) / len(wanted) if wanted else 1.0


def seconds_left(standings: Sequence[Standing], at_once: int) -> float | None:
    """Until the grid is done, about; None before there is anything to judge by.

    A cell takes as long as those of the same learner, method and steps did, on average, or as all did; of running ones
    it is judged by their share.
    """
    known = [(each, each.seconds / each.share) for each in standings if each.share > 0.02 and each.seconds > 0]
    if not known:
        return None
    left = 0.0
    for each in standings:
        if each.state not in (DONE, FAILED):
            alike = [took for other, took in known if _kind(other) == _kind(each)] or [took for _, took in known]
            left += (1 - each.share) * sum(alike) / len(alike)
    return left / max(1, min(at_once, sum(each.state not in (DONE, FAILED) for each in standings)))


def _kind(each: Standing) -> tuple[str, str, int]:
    return each.job.learner, each.job.method, each.job.steps


def summary_line(standings: Sequence[Standing], at_once: int) -> str:
    """For a terminal: ``12 of 40 done, 2 running, 1 failed, about 3 h 20 min left``."""
    counted = counts(standings)
    parts = [f"{counted.get(DONE, 0)} of {len(standings)} done"]
    parts += [f"{number} {state}" for state, number in counted.items() if state not in (DONE, WAITING)]
    left = seconds_left(standings, at_once)
    if left is not None and any(each.state not in (DONE, FAILED) for each in standings):
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)
