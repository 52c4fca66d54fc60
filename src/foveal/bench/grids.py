"""The cells that a call of ``foveal bench run`` asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from foveal.atari.training import work_of
from foveal.bench import arm_forecast
from foveal.bench.forecast import Forecast, ShieldForecast, forecast, shield_forecast
from foveal.bench.jobs import Job
from foveal.bench.suites import Suite, check_learner, check_method
from foveal.config.environment import env_options
from foveal.envs import games, make
from foveal.errors import FovealError
from foveal.learners import LEARNERS
from foveal.registry import nearest
from foveal.skills.minari import require_extra

Speeds: TypeAlias = tuple[Forecast, ShieldForecast | None]
"""Of a learner with a method, and of the shield before it."""


@dataclass(frozen=True)
class Asked:
    """What a call says beside the suite; None for what the suite says.

    Attributes:
        out: folder of the ledger.
        tasks, learners, methods, seeds: which of the suite's, or others.
        steps, episodes, preset: in place of the suite's.
        shield: whether every policy gets a shield, too.
        data: folder of the benchmark's data.
        plugins: modules of the user's own to import.
        slim: delete run folders once everything is evaluated.
    """

    out: Path
    tasks: tuple[str, ...] | None = None
    learners: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    steps: int | None = None
    episodes: int | None = None
    preset: str | None = None
    shield: bool = False
    data: Path | None = None
    plugins: tuple[str, ...] = ()
    slim: bool = False


def jobs_of(suite: Suite, asked: Asked) -> list[Job]:
    """Every cell's job, all of a seed before the next seed, so that a grid that is cut short can be compared.

    Raises:
        FovealError: a name is unknown, or a configuration can't be.
    """
    for name in ("steps", "episodes"):
        if (value := getattr(asked, name)) is not None and value < 1:
            raise FovealError(f"{name} must be at least 1, not {value}")
    tasks = asked.tasks or tuple(suite.tasks)
    for task in tasks:
        if task not in suite.tasks:
            raise FovealError(f"the suite {suite.name} has no task {task!r}: {nearest(task, list(suite.tasks))}")
    pairs = [
        (learner, method) for learner in asked.learners or suite.learners for method in asked.methods or suite.methods
    ]
    jobs = [
        _job(suite, asked, task, learner, method, seed)
        for seed in asked.seeds or suite.seeds
        for task in tasks
        for learner, method in pairs
    ]
    for job in {(job.task, job.learner, job.method): job for job in jobs}.values():
        if job.of_arm:
            _check_arm(job)
        else:
            job.run_options(work_of(job.config()).default_options)
            job.shield_config()
    return jobs


def _check_arm(job: Job) -> None:
    """Refuse what a cell of the arm can't be asked for."""
    require_extra()
    job.making()
    if job.steps:
        raise FovealError(
            "the arm's preset says how long everything is trained: leave steps out, and take another --preset, or "
            "settings such as master.decisions in a suite of your own"
        )
    for name in ("encoder", "quality", "data", "shield"):
        if getattr(job, name) is not None:
            raise FovealError(f"{name} means nothing for cells of the arm: leave it out")


def _job(suite: Suite, asked: Asked, task: str, learner: str, method: str, seed: int) -> Job:
    check_learner(suite, learner)  # an unknown name is reported before settings that don't fit it
    check_method(suite, method)
    variant = suite.variant(method)
    shield = {} if suite.shield is None and asked.shield else suite.shield
    return Job(
        out=str(asked.out.absolute()),
        suite=suite.name,
        task=task,
        learner=learner,
        method=method,
        seed=seed,
        steps=asked.steps or suite.of_task(task, "steps"),
        composed=variant.method,
        preset=asked.preset or suite.preset,
        conditions=suite.of_task(task, "conditions"),
        episodes=asked.episodes or suite.of_task(task, "episodes"),
        encoder=variant.encoder,
        settings=suite.settings_of(task, method),
        quality=suite.quality,
        data=None if asked.data is None else str(asked.data.expanduser().absolute()),
        shield=shield,
        plugins=asked.plugins,
        slim=asked.slim,
    )


def departures(suite: Suite, asked: Asked) -> list[str]:
    """In what a call departs from its suite, a phrase each: what keeps its numbers from standing beside others'."""
    found = [
        f"{name} {getattr(asked, name):,} instead of {getattr(suite, name):,}"
        for name in ("steps", "episodes")
        if getattr(asked, name) not in (None, getattr(suite, name))
    ]
    if asked.preset not in (None, suite.preset):
        found.append(f"preset {asked.preset} instead of {suite.preset}")
    if asked.data is None and suite.data != "none":
        found.append("generated colours and videos instead of the benchmark's own (--data)")
    return found


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds as people write them: ``0-4``, ``3``, ``0-2,7``.

    Raises:
        FovealError: it is something else, or names a seed twice.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None or (match[2] is not None and int(match[2]) < int(match[1])):
            raise FovealError(f"--seeds takes numbers and ranges, such as 0-4 or 0-2,7, and not {text!r}")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    if len(set(found)) != len(found):
        raise FovealError(f"--seeds {text} names a seed twice")
    return tuple(found)


def names_of(text: str | None) -> tuple[str, ...] | None:
    """Names that are joined by commas; None where there are none."""
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    return names or None


def hours(jobs: Sequence[Job], seconds: float) -> list[dict[Path, float] | None]:
    """Hours of each cell, measured on this machine; None where nothing tells beforehand.

    Args:
        jobs: of the grid.
        seconds: of training to measure for each learner and method, on the first task that has them; their speed is
            taken for the other tasks.

    Returns:
        For each job, hours by the folder or file that they make. What several cells need is made once.
    """
    speeds: dict[tuple[str, str], Speeds] = {}
    alone: dict[tuple[str, str, str], float | None] = {}
    found: list[dict[Path, float] | None] = []
    for job in jobs:
        if job.of_arm:
            found.append({part: needed / 3600 for part, needed in arm_forecast.needs(job).items()})
            continue
        kind = job.task, job.learner, job.method
        if kind not in alone:
            alone[kind] = _hours(job, speeds, seconds)
        needed = alone[kind]
        found.append(None if needed is None else {job.folder: needed})
    return found


def _hours(job: Job, speeds: dict[tuple[str, str], Speeds], seconds: float) -> float | None:
    if games.is_atari(job.task) or LEARNERS.get(job.learner).on_policy:
        return None
    pair = job.learner, job.method
    if pair not in speeds:
        shield = None if job.shield is None else shield_forecast(job.config(), job.shield_config())
        speeds[pair] = forecast(job.config(), seconds), shield
    (bare, behind), steps = speeds[pair], _steps_of_evaluation(job)
    shielded = 0 if behind is None else behind.minutes(steps * len(job.conditions))
    return (bare.minutes(job.steps, steps * (len(job.conditions) + 1)) + shielded) / 60


def _steps_of_evaluation(job: Job) -> int:
    """Agent steps of the final evaluation under one condition."""
    config = job.config()
    env = make(job.task, **env_options(config))
    longest = env.spec_info.max_agent_steps or 0
    env.close()
    return longest * job.episodes
