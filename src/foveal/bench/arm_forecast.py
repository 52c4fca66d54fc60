"""How long cells of the arm will take on this machine, measured in some seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from foveal.bench.arm_cells import workers
from foveal.bench.cells import RANDOM, task_folder
from foveal.bench.jobs import Job
from foveal.envs.ur5e import make_arm
from foveal.envs.ur5e.experts import skills
from foveal.skills.actor_critic import ArmWork
from foveal.skills.arms import Arms
from foveal.skills.cloning import CloningWork
from foveal.skills.config import CloneConfig, MasterConfig
from foveal.skills.dataset import sampled
from foveal.skills.demos import DemoOptions, demonstrate, task_of
from foveal.skills.master import Master
from foveal.skills.minari import Episode
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.rollouts import SIDE_BY_SIDE

Made = TypeVar("Made")
BATCHES, STEPS = 3, 8
"""That are timed, after one that is not: the first one is slower."""


@dataclass(frozen=True)
class Pace:
    """Seconds that things take, all in one process, and what there is of them.

    Attributes:
        demonstration: seconds of one, which stands for all.
        samples: its steps, as all its cameras saw them.
        batch: seconds of a batch of cloning.
        step: seconds of a control step of an arm that a network moves, beside others.
        longest: control steps that an episode may have.
    """

    demonstration: float
    samples: int
    batch: float
    step: float
    longest: int


def needs(job: Job) -> dict[Path, float]:
    """Seconds that each part of a cell takes, by the folder or file that it makes; cells may share parts.

    Simulated arms are taken to run in as many processes as this one has threads, and every episode to take all of its
    time.

    Args:
        job: of the arm.

    Raises:
        FovealError: the extra ``skills`` is missing, or an option can't be on this machine.
    """
    making, task, crew = job.making(), task_of(job.task), workers()
    demos, recipe, cell = making.demos, making.recipe, job.folder
    measured = task, replace(demos, episodes=1, seed=0), replace(making.skills, epochs=BATCHES + 1, rollouts=0)
    pace = pace_of(*measured)
    evaluation = len(job.conditions) * job.episodes * pace.longest * pace.step / crew
    parts = {
        making.demos_in(job.shared): pace.demonstration * demos.episodes / crew,
        cell if recipe.flat else making.skills_in(job.shared): _cloning(pace, demos, making.skills, crew),
        task_folder(Path(job.out), job.suite, job.task) / RANDOM: evaluation,
    }
    parts[cell] = parts.get(cell, 0.0) + evaluation
    if recipe.master:
        rollout = master_pace(untrained(*measured), replace(making.master, decisions=1))
        parts[cell] += _mastering(pace, rollout, making.master, crew)
    return parts


def _cloning(pace: Pace, demos: DemoOptions, config: CloneConfig, crew: int) -> float:
    """Seconds of all batches, and of the episodes that choose the best epoch."""
    samples = int(pace.samples * demos.episodes * (1 - config.held_out))
    batches = max(1, samples // config.batch_size) * config.epochs
    rollouts = config.rollouts * math.ceil(config.epochs / config.rollouts_every)
    return batches * pace.batch + rollouts * pace.longest * pace.step / crew


def _mastering(pace: Pace, rollout: tuple[float, float], config: MasterConfig, crew: int) -> float:
    """Seconds of all rollouts and of learning from them."""
    playing, learning = rollout
    steps = config.decisions * (config.skill_steps - 1)
    rollouts = math.ceil(config.decisions / (config.environments * config.rollout))
    return steps * pace.step / crew + rollouts * (playing / crew + learning)


@cache
def pace_of(task: str, options: DemoOptions, config: CloneConfig) -> Pace:
    """How quick this machine is at demonstrating, cloning and acting."""
    env = make_arm(task, size=options.render, camera=options.camera, randomization=options.randomization)
    try:
        env.reset(seed=0)  # sets up the renderer
        shown, episodes = _timed(lambda: demonstrate(env, options, 0))
        longest = env.max_agent_steps
    finally:
        env.close()
    policy = untrained(task, options, config)
    return Pace(shown, sum(map(len, episodes)), _batch(policy, episodes), _step(policy), longest)


@cache
def untrained(task: str, options: DemoOptions, config: CloneConfig) -> SkillPolicy:
    """Skills that have learned nothing are as quick as others."""
    return SkillPolicy(SkillSet(task, tuple(skill.name for skill in skills(task)), options.view), config)


def _batch(policy: SkillPolicy, episodes: list[Episode]) -> float:
    """Seconds of a batch of cloning, which changes the policy's weights."""
    work = CloningWork(policy, sampled(episodes, policy.config), None)
    work.learn(_nothing)
    start = time.perf_counter()
    for _ in range(BATCHES):
        work.learn(_nothing)
    return (time.perf_counter() - start) / BATCHES


def _step(policy: SkillPolicy) -> float:
    """Seconds of an arm's control step."""
    arms = Arms(policy.arm_settings, SIDE_BY_SIDE, policy.stack)
    try:
        for index in range(SIDE_BY_SIDE):
            arms.reset(index, index)
        skill = np.zeros(SIDE_BY_SIDE, np.int64)
        arms.run(policy, skill, 1)
        seconds, _ = _timed(lambda: arms.run(policy, skill, STEPS))
        return seconds / (STEPS * SIDE_BY_SIDE)
    finally:
        arms.close()


@cache
def master_pace(policy: SkillPolicy, config: MasterConfig) -> tuple[float, float]:
    """Seconds of a rollout whose decisions are a single step each, and of learning from it."""
    work = ArmWork(Master(policy.task, policy, replace(config, skill_steps=1)))
    try:
        work.collect()
        played, _ = _timed(work.collect)
        learned, _ = _timed(lambda: work.learn(_nothing))
        return played, learned
    finally:
        work.close()


def _nothing() -> None:
    """After an update."""


def _timed(work: Callable[[], Made]) -> tuple[float, Made]:
    start = time.perf_counter()
    made = work()
    return time.perf_counter() - start, made
