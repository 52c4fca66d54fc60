"""One cell's work from where it stands: training, a shield, evaluations. Called again, it goes on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from foveal.agent import Agent
from foveal.bench import arm_cells
from foveal.bench.cells import RANDOM, RESULTS, RUN, SHIELDED, task_folder
from foveal.bench.jobs import SHIELD, Job
from foveal.bench.stages import SHARES, Tell, Watch, made_once, trained
from foveal.envs import games
from foveal.envs.perturbations import named_perturbation
from foveal.errors import FovealError
from foveal.evaluation.results import Results
from foveal.evaluation.rollouts import run, world_of
from foveal.evaluation.world import SEED_OFFSET, TRAIN, WorldOptions
from foveal.loading import load
from foveal.shield.labels import environment_frames
from foveal.shield.shield import Shield
from foveal.shield.training import settings_of, shield_work
from foveal.training import Trainer

PARTS = "parts"
"""Folder of evaluations that are done, a file for each condition, until all are."""


def run_cell(job: Job, tell: Tell = lambda what, share: None) -> None:
    """Do what is missing of a cell.

    The folder must be held (``foveal.bench.locks``): only one process at a time may work on a cell.

    Args:
        job: the cell's.
        tell: called as the work goes on.

    Raises:
        FovealError: training or evaluation is impossible, or a loss is not finite.
        KeyboardInterrupt: after Ctrl-C, with a checkpoint.
    """
    folder = job.folder
    if not (folder / RESULTS).exists() or (job.shield is not None and not (folder / SHIELDED).exists()):
        (arm_cells.train if job.of_arm else train)(job, tell)
        agent: Any = load(folder / RUN)
        if job.shield is not None:
            train_shield(job, agent, tell)
        random_policy(job, agent)
        evaluate(job, agent, folder / RESULTS, tell)
        if job.shield is not None:
            evaluate(job, Shield.load(folder / SHIELD).wrap(agent), folder / SHIELDED, tell)
    if job.slim:
        for name in (RUN, SHIELD):
            shutil.rmtree(folder / name, ignore_errors=True)
    tell("done", 1.0)


def train(job: Job, tell: Tell) -> None:
    """Train to the end, from the newest checkpoint if there is one."""
    run, watch = job.folder / RUN, Watch(tell, "training", 0.0, SHARES["training"])

    def begin() -> None:
        work = Agent.from_config(job.config()).work()
        Trainer(work, job.run_options(work.default_options), run=run, callbacks=[watch]).train(job.steps)

    trained(run, begin, watch)


def train_shield(job: Job, agent: Agent, tell: Tell) -> None:
    """Train the shield for a policy, as ``foveal shield train RUN`` does."""
    watch = Watch(tell, "shield", SHARES["training"], SHARES["shield"])
    config, out = job.shield_config(), job.folder / SHIELD

    def begin() -> None:
        frames = environment_frames(agent.env_id, agent.env_options, config, job.seed, agent, progress=True)
        work = shield_work(agent.env_id, frames, config, job.seed, agent.env_options.get("rendered_size"))
        Trainer(work, settings_of(config), run=out, callbacks=[watch]).train(config.steps)

    trained(out, begin, watch)


def evaluate(job: Job, agent: Any, path: Path, tell: Tell) -> None:
    """Results under every condition, each kept as soon as it is there."""
    if path.exists():
        return
    parts = job.folder / PARTS / path.stem
    done: list[Results] = []
    for number, condition in enumerate(job.conditions):
        share = SHARES["shield"] + (1 - SHARES["shield"]) * number / len(job.conditions)
        tell(f"evaluation, {condition}", share)
        part = parts / f"{number}.json"
        if not part.exists():
            run(world_of(agent, options_of(job, condition)), job.episodes).save(part)
        done.append(Results.load(part))
    together(done).save(path)
    shutil.rmtree(parts.parent)


def together(parts: Sequence[Results]) -> Results:
    """One record of evaluations of the same policy, each under other conditions."""
    conditions = tuple(condition for part in parts for condition in part.conditions)
    data = next((part.data for part in parts if part.data is not None), None)
    seconds = sum(part.seconds for part in parts)
    return replace(parts[-1], conditions=conditions, data=data, seconds=round(seconds, 1))


def options_of(job: Job, condition: str) -> WorldOptions:
    """How a cell's policy is evaluated under a condition."""
    if job.of_arm:
        return WorldOptions((condition,), workers=arm_cells.workers())
    if games.is_atari(job.task):
        return WorldOptions((condition,), data=None if condition == TRAIN else job.data)
    return WorldOptions((condition,), data=job.data, quality=job.quality)


def random_policy(job: Job, agent: Any) -> None:
    """Write the task's random policy's results, unless another cell has; wait for one that is at it."""
    folder = task_folder(Path(job.out), job.suite, job.task)
    path = folder / RANDOM
    made_once(folder, path.exists, lambda: by_chance(job, agent).save(path))


def by_chance(job: Job, agent: Any) -> Results:
    """The random policy under every condition.

    It doesn't look. Where conditions change pictures alone, its returns are the same under each: it plays once, and
    every condition gets what came of it. Those of the arm change what happens, too.
    """
    if job.of_arm:
        return run(world_of(agent, replace(options_of(job, TRAIN), on=job.conditions)).by_chance(), job.episodes)
    quality = None if games.is_atari(job.task) else "draft"
    world = world_of(agent, WorldOptions((TRAIN,), seed=SEED_OFFSET, quality=quality))
    results = run(world.by_chance(), job.episodes)
    (played,) = results.conditions
    return replace(results, conditions=tuple(replace(played, perturbation=name) for name in job.conditions))


@lru_cache
def commit() -> str | None:
    """The commit of the checkout that foveal is imported from, with ``+`` where files differ; None of a wheel."""
    source = Path(__file__).parent
    try:
        head = _git("rev-parse", "HEAD", folder=source)
        return head + ("+" if _git("status", "--porcelain", "--", ".", folder=source.parent) else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str, folder: Path) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def missing_data(job: Job) -> None:
    """Refuse what can't be evaluated, before hours of training.

    Raises:
        FovealError: a condition's data are missing or damaged.
    """
    if job.of_arm or games.is_atari(job.task):
        return
    for condition in job.conditions:
        if condition == TRAIN:
            continue
        try:
            named_perturbation(condition, None if job.data is None else Path(job.data).expanduser())
        except FovealError as error:
            raise FovealError(f"{condition} of {job.suite}: {error}") from error
