"""Episodes in which a plan says which skill is next: the script, or a master that looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.envs.ur5e.experts import SKILL_STEPS, script
from foveal.envs.ur5e.planner import next_skill
from foveal.skills.arms import Actor, Arms, ArmSettings
from foveal.skills.workers import Result, Workers

SIDE_BY_SIDE = 5
"""Arms in a process: enough for the network to work in batches."""


class Plan(Protocol):
    """Says which skills are next."""

    def choose(self, arms: Arms, which: NDArray[np.int64], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        """The next skills.

        Args:
            arms: all of them.
            which: (B,) those that go on.
            decision: how many were taken before, the same for all.
            seeds: (B,) of their episodes.

        Returns:
            (B,) numbers of skills.
        """


@dataclass(frozen=True)
class InOrder:
    """A fixed order, again and again.

    Attributes:
        order: numbers of skills.
    """

    order: tuple[int, ...]

    def choose(self, arms: Arms, which: NDArray[np.int64], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        return np.full(len(which), self.order[decision % len(self.order)], np.int64)


class ByState:
    """What the task needs, by a rule that sees the true state: see ``foveal.envs.ur5e.planner``."""

    def choose(self, arms: Arms, which: NDArray[np.int64], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        task = arms.settings.task
        return np.array([next_skill(task, arms.envs[index].truth()) for index in which], np.int64)


@dataclass(frozen=True)
class Outcome:
    """How one episode went.

    Attributes:
        seed: it was reset with.
        success: whether the task was solved.
        steps: of control.
        chosen: numbers of skills, one for each decision.
        happened: control steps that had passed when the condition's event happened; None where it did not.
    """

    seed: int
    success: bool
    steps: int
    chosen: tuple[int, ...]
    happened: int | None = None


def play(
    settings: ArmSettings,
    plan: Plan,
    actor: Actor | None,
    seeds: Sequence[int],
    *,
    skill_steps: int = SKILL_STEPS,
    workers: Workers | None = None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """One episode for each seed.

    Args:
        settings: of the arms.
        plan: which skill is next.
        actor: does the skills; None for the experts.
        seeds: of the episodes.
        skill_steps: control steps of each decision.
        workers: processes to spread them over.
        finished: called with every episode that is over.
    """
    episodes = partial(_episodes, settings, plan, actor, skill_steps)
    played: list[Outcome] = []
    for outcomes in side_by_side(episodes, seeds, workers):
        played += outcomes
        for outcome in outcomes:
            finished(outcome)
    return played


def side_by_side(
    job: Callable[[tuple[int, ...]], Result], seeds: Sequence[int], workers: Workers | None = None
) -> Iterator[Result]:
    """What a job makes of the episodes of some seeds, ``SIDE_BY_SIDE`` of them at a time, in order.

    Args:
        job: belongs to a module; other processes must know it.
        seeds: of the episodes.
        workers: processes to spread them over.
    """
    groups = [tuple(seeds[start : start + SIDE_BY_SIDE]) for start in range(0, len(seeds), SIDE_BY_SIDE)]
    return map(job, groups) if workers is None else workers.map(job, groups)


def _episodes(
    settings: ArmSettings,
    plan: Plan,
    actor: Actor | None,
    skill_steps: int,
    seeds: tuple[int, ...],
) -> list[Outcome]:
    """Arguments as of ``play``."""
    arms = Arms(settings, len(seeds), 1 if actor is None else actor.stack)
    chosen: list[list[int]] = [[] for _ in seeds]
    try:
        for place, seed in enumerate(seeds):
            arms.reset(place, seed)
        decision = 0
        while not arms.ended.all():
            which = np.flatnonzero(~arms.ended)
            skill = np.zeros(len(arms), np.int64)
            skill[which] = plan.choose(arms, which, decision, [seeds[index] for index in which])
            for index in which:
                chosen[index].append(int(skill[index]))
            arms.run(actor, skill, skill_steps)
            decision += 1
        ended = zip(seeds, arms.success.tolist(), arms.steps.tolist(), chosen, arms.happenings, strict=True)
        return [Outcome(seed, won, steps, tuple(done), event.step) for seed, won, steps, done, event in ended]
    finally:
        arms.close()


def scripted(task: str, skills: int) -> InOrder:
    """The order that solves a task; a single skill, that of flat cloning, again and again."""
    return InOrder(script(task) if skills > 1 else (0,))
