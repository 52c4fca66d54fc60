"""``foveal bench run | status``: suites of trainings and evaluations that anyone can run, stop and go on with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from foveal.bench.cells import DONE
from foveal.bench.engines import ENGINES, EngineOptions
from foveal.bench.grids import Asked, departures, hours, jobs_of, names_of, seeds_of
from foveal.bench.jobs import Job
from foveal.bench.launching import Grid, launch, prepare
from foveal.bench.progress_page import PAGE, terminal_grid
from foveal.bench.standing import jobs_in, standing, summary_line
from foveal.bench.suites import Suite, load_suite
from foveal.errors import FovealError
from foveal.evaluation.layout import columns


@dataclass(frozen=True)
class BenchRunOptions:
    """Train and evaluate a whole suite. Called again, it does what is missing.

    Attributes:
        suite: name of one that ships (foveal list suites), or a YAML file of your own.
        out: folder of the ledger, which has everything.
        methods: comma-separated, of foveal's or variants of the suite's; by default the suite's.
        learners: comma-separated; by default the suite's.
        tasks: comma-separated, of the suite's; by default all.
        seeds: such as 0-4 or 0-2,7; by default the suite's.
        data: folder of the benchmark's own colours and videos; without it they are generated, and tables say so.
        steps: agent steps of training, in place of the suite's.
        episodes: of each condition, in place of the suite's.
        preset: in place of the suite's.
        shield: train a shield for every policy, and evaluate behind it too.
        on: who works: local, ray or slurm.
        retry_failed: try failed cells again, from their last checkpoints.
        slim: delete a cell's run folder once it is evaluated; results stay.
        plan: only show the cells, and how long they would take here.
        engine: where and how many cells are worked on at once.
    """

    suite: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="SUITE")]]
    out: Path
    methods: str | None = None
    learners: str | None = None
    tasks: str | None = None
    seeds: str | None = None
    data: Path | None = None
    steps: int | None = None
    episodes: int | None = None
    preset: str | None = None
    shield: bool = False
    on: str = "local"
    retry_failed: bool = False
    slim: bool = False
    plan: bool = False
    engine: tyro.conf.OmitArgPrefixes[EngineOptions] = field(default_factory=EngineOptions)


@dataclass(frozen=True)
class BenchStatusOptions:
    """How the cells of a ledger stand.

    Attributes:
        out: the ledger's folder, or that of one suite in it.
    """

    out: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="OUT")]]


MEASURED = 3.0
"""Seconds of training that a plan measures, for each learner and method."""


def run(options: BenchRunOptions, plugins: Sequence[str]) -> None:
    """Run a suite, or show the plan.

    Args:
        options: which, and how.
        plugins: modules that workers import too.

    Raises:
        FovealError: something in the call or in the suite is wrong, or some cells failed.
    """
    suite = load_suite(options.suite)
    asked = _asked(options, plugins)
    jobs = jobs_of(suite, asked)
    departs = departures(suite, asked)
    engine = ENGINES.get(options.on)(options.engine)
    if options.plan:
        print(_plan(suite, jobs, departs, engine.at_once))
        return
    chosen = prepare(jobs, retry_failed=options.retry_failed)
    for phrase in departs:
        print(f"other than in the suite: {phrase}")
    print(f"{len(chosen)} of {len(jobs)} cells to do; watch {options.out / suite.name / PAGE}")
    grid = Grid(suite.name, suite.about, jobs, departs, engine.at_once, visible=True)
    try:
        launch(engine, grid, chosen)
    except KeyboardInterrupt:
        print("stopped; the same command goes on")
        raise
    failed = [each for each in grid.standings if each.error is not None]
    if failed:
        raise FovealError(
            f"{len(failed)} of {len(jobs)} cells failed, the first being {failed[0].job.label}: {failed[0].error}; see "
            f"log.txt in {failed[0].job.folder}, and try again with --retry-failed"
        )


def status(options: BenchStatusOptions) -> None:
    """Print the grid of every suite in a ledger.

    Raises:
        FovealError: the folder is no ledger.
    """
    by_suite: dict[str, list[Job]] = defaultdict(list)
    for job in jobs_in(options.out):
        by_suite[job.suite].append(job)
    if not by_suite:
        raise FovealError(f"{options.out} has no cells of a benchmark: name the --out of foveal bench run")
    for name, jobs in by_suite.items():
        standings = [standing(job) for job in jobs]
        running = sum(each.state == "running" for each in standings)
        print(f"{name}: {summary_line(standings, max(1, running))}\n\n{terminal_grid(standings)}\n")


def _asked(options: BenchRunOptions, plugins: Sequence[str]) -> Asked:
    return Asked(
        out=options.out,
        tasks=names_of(options.tasks),
        learners=names_of(options.learners),
        methods=names_of(options.methods),
        seeds=None if options.seeds is None else seeds_of(options.seeds),
        steps=options.steps,
        episodes=options.episodes,
        preset=options.preset,
        shield=options.shield,
        data=options.data,
        plugins=tuple(plugins),
        slim=options.slim,
    )


def _plan(suite: Suite, jobs: Sequence[Job], departs: Sequence[str], at_once: int) -> str:
    """The cells, and hours of each as this machine would take alone."""
    cells = [(job, standing(job).state, needed) for job, needed in zip(jobs, hours(jobs, MEASURED), strict=True)]
    rows = [["task", "learner", "method", "seeds", "steps", "state", "hours each"]]
    for kind in dict.fromkeys((job.task, job.learner, job.method) for job in jobs):
        alike = [cell for cell in cells if (cell[0].task, cell[0].learner, cell[0].method) == kind]
        job, _, needed = alike[0]
        seeds = ",".join(str(job.seed) for job, _, _ in alike)
        state = "/".join(sorted({state for _, state, _ in alike}))
        told = "?" if needed is None else f"{sum(needed.values()):.2g}"
        rows.append([*kind, seeds, f"{job.steps:,}" if job.steps else "-", state, told])
    missing = [needed for _, state, needed in cells if state != DONE]
    parts: dict[Path, float] = {}
    for needed in missing:
        parts |= needed or {}
    total = f"{len(missing)} cells to do, {at_once} at once: {sum(parts.values()):.3g} hours here, one after the other"
    if unknown := missing.count(None):
        total += f", and {unknown} whose time can't be told beforehand"
    notes = [f"other than in the suite: {phrase}" for phrase in departs]
    return "\n".join([f"{suite.name}: {suite.about}", *notes, "", columns(rows), "", total])
