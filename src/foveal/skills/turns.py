"""Whether a skill ends what it begins: each skill's turn in the script, and whether it achieves its own goal in it.

Success of a whole episode hides a skill that leaves its end to the next one. Here scripted experts bring the scene to
where the script has a skill begin, the actor does that skill alone for ``SKILL_STEPS``, and ``Skill.goal`` judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.envs.ur5e.experts import SKILL_STEPS, script, skills
from foveal.envs.ur5e.tasks import Truth
from foveal.evaluation.statistics import SuccessRate
from foveal.skills.arms import Actor, Arms, ArmSettings
from foveal.skills.rollouts import side_by_side
from foveal.skills.workers import Workers


@dataclass(frozen=True)
class Turn:
    """A skill's turn in one scene.

    Attributes:
        seed: of the scene.
        place: in the script.
        skill: its number.
        steps: control steps after which its goal was achieved; None where that did not happen within ``SKILL_STEPS``.
    """

    seed: int
    place: int
    skill: int
    steps: int | None


@dataclass(frozen=True)
class Achieved:
    """How often a skill achieves its goal.

    Attributes:
        name: of the skill.
        rate: with Wilson's interval; a script that has the skill several times gives as many turns a scene.
        steps: mean control steps until then, NaN where it never happened.
    """

    name: str
    rate: SuccessRate
    steps: float

    def __str__(self) -> str:
        return f"{self.name:<30} {self.rate}" + (f", after {self.steps:.0f} steps" if self.rate.successes else "")


def turns(
    settings: ArmSettings,
    actor: Actor | None,
    seeds: Sequence[int],
    *,
    workers: Workers | None = None,
    finished: Callable[[int], None] = lambda scenes: None,
) -> list[Turn]:
    """Every turn of the script in every scene.

    Args:
        settings: of the arms.
        actor: does the skill whose turn it is; None for the experts.
        seeds: of the scenes.
        workers: processes to spread them over.
        finished: called with how many scenes are done, whenever there are more.
    """
    found: list[Turn] = []
    for done in side_by_side(partial(_turns, settings, actor), seeds, workers):
        found += done
        finished(len({turn.seed for turn in found}))
    return found


def achieved(task: str, found: Sequence[Turn]) -> list[Achieved]:
    """Of each skill that had a turn, in the order of their numbers."""
    rates = []
    for number, skill in enumerate(skills(task)):
        steps = [turn.steps for turn in found if turn.skill == number]
        if steps:
            reached = [count for count in steps if count is not None]
            mean = float(np.mean(reached)) if reached else float("nan")
            rates.append(Achieved(skill.name, SuccessRate.of([count is not None for count in steps]), mean))
    return rates


def _turns(settings: ArmSettings, actor: Actor | None, seeds: tuple[int, ...]) -> list[Turn]:
    """Of some scenes, side by side."""
    arms = Arms(settings, len(seeds), 1 if actor is None else actor.stack)
    found: list[Turn] = []
    try:
        for index, seed in enumerate(seeds):
            arms.reset(index, seed)
        for place, skill in enumerate(script(settings.task)):
            here = np.flatnonzero(~arms.ended)
            began = {int(index): arms.get_state(int(index)) for index in here}
            steps = _steps_to_goal(arms, actor, skill, here)
            found += [Turn(seeds[index], place, skill, steps[index]) for index in steps]
            for index, state in began.items():
                arms.set_state(index, state)
            arms.run(None, _everywhere(arms, skill), SKILL_STEPS)
        return found
    finally:
        arms.close()


def _steps_to_goal(arms: Arms, actor: Actor | None, skill: int, here: NDArray[Any]) -> dict[int, int | None]:
    """Of the arms that still have a turn."""
    goal = skills(arms.settings.task)[skill].goal
    began: dict[int, Truth] = {int(index): arms.envs[index].truth() for index in here}
    steps: dict[int, int | None] = dict.fromkeys(began)
    for step in range(1, SKILL_STEPS + 1):
        arms.run(actor, _everywhere(arms, skill), 1)
        for index in [index for index, reached in steps.items() if reached is None]:
            if goal(began[index], arms.envs[index].truth()):
                steps[index] = step
        if None not in steps.values():
            break
    return steps


def _everywhere(arms: Arms, skill: int) -> NDArray[np.int64]:
    return np.full(len(arms), skill, np.int64)
