"""The grid of a suite as people see it: a table in the terminal, and a page that can be watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveal.bench.cells import DONE, FAILED, RUNNING
from foveal.bench.jobs import SHIELD, Job
from foveal.bench.standing import STOPPED, Standing, counts, seconds_left, share_done
from foveal.evaluation.layout import columns, duration
from foveal.explanation.page import write_page

PAGE = "index.html"
REFRESH = 10
"""Seconds between two looks of a browser, as long as something is left to do."""


@dataclass(frozen=True)
class Square:
    """A cell on the page.

    Attributes:
        state: how it stands, a class of the page's style.
        text: what it says.
        small: below it.
        percent: of its work that is done, for its bar.
    """

    state: str
    text: str
    small: str = ""
    percent: int = 0


@dataclass(frozen=True)
class Row:
    """A task with a learner and a method.

    Attributes:
        task, who: what heads it; the task is empty where the row above has the same.
        squares: a cell for each seed; None where the grid has none.
    """

    task: str
    who: str
    squares: Sequence[Square | None]


def terminal_grid(standings: Sequence[Standing]) -> str:
    """A line for each task and method, a column for each seed, and the errors of those that failed."""
    seeds = sorted({each.job.seed for each in standings})
    head = ["", *(f"seed {seed}" for seed in seeds)]
    rows = [
        [f"{task} {who}", *(_word(cells[seed]) if seed in cells else "" for seed in seeds)]
        for (task, who), cells in _grid(standings).items()
    ]
    failed = [f"failed: {each.job.label}: {each.error}" for each in standings if each.state == FAILED]
    return "\n".join([columns([head, *rows]), *failed])


def write_progress(
    out: Path, suite: str, standings: Sequence[Standing], at_once: int, about: str, departs: Sequence[str]
) -> Path:
    """Write ``OUT/<suite>/index.html``, whole or not at all; a browser that shows it looks again by itself.

    Args:
        out: folder of the ledger.
        suite: its name.
        standings: of its cells.
        at_once: cells that are worked on at once.
        about: the suite, in a line.
        departs: in what the grid departs from the suite.

    Raises:
        FovealError: it can't be written.
    """
    seeds = sorted({each.job.seed for each in standings})
    left = seconds_left(standings, at_once)
    unfinished = any(each.state not in (DONE, FAILED) for each in standings)
    figures = [(state, f"{number:,}") for state, number in counts(standings).items()]
    figures.append(("of all work", f"{100 * share_done(standings):.0f} %"))
    if unfinished:
        figures.append(("time left, about", "-" if left is None else duration(left)))
    return write_page(
        out / suite / PAGE,
        "progress.html.j2",
        title=f"{suite}: {100 * share_done(standings):.0f} %",
        config=_settings(standings),
        suite=suite,
        about=about,
        departs=list(departs),
        figures=figures,
        seeds=seeds,
        rows=_rows(standings, seeds),
        failed=[(each.job.label, each.error or "") for each in standings if each.state == FAILED],
        refresh=REFRESH if unfinished else None,
    )


def _grid(standings: Sequence[Standing]) -> dict[tuple[str, str], dict[int, Standing]]:
    grid: dict[tuple[str, str], dict[int, Standing]] = {}
    for each in sorted(standings, key=lambda each: (each.job.task, each.job.learner, each.job.method)):
        grid.setdefault((each.job.task, who(each.job)), {})[each.job.seed] = each
    return grid


def who(job: Job) -> str:
    """Learner and method, as folders of the ledger are called."""
    return f"{job.learner}-{job.method}"


def _rows(standings: Sequence[Standing], seeds: Sequence[int]) -> list[Row]:
    rows: list[Row] = []
    last = ""
    for (task, name), cells in _grid(standings).items():
        squares = [_square(cells[seed]) if seed in cells else None for seed in seeds]
        rows.append(Row("" if task == last else task, name, squares))
        last = task
    return rows


def _square(each: Standing) -> Square:
    percent = round(100 * each.share)
    if each.state in (RUNNING, STOPPED):
        small = each.doing if each.state == RUNNING else STOPPED
        return Square(each.state, f"{percent} %", small, percent)
    took = duration(each.seconds) if each.state == DONE else ""
    return Square(each.state, each.state, took, percent)


def _word(each: Standing) -> str:
    return f"{each.state} {100 * each.share:.0f} %" if each.state in (RUNNING, STOPPED) else each.state


def _settings(standings: Sequence[Standing]) -> Mapping[str, Any]:
    """What the cells have in common."""
    jobs = [each.job for each in standings]
    names = ("preset", "steps", "conditions", "episodes", "quality", "data", SHIELD, "settings")
    common: dict[str, Any] = {}
    for name in names:
        values = [getattr(job, name) for job in jobs]
        common[name] = values[0] if all(value == values[0] for value in values) else "differs between cells"
    return common
