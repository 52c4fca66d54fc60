"""Every skill of a task judged by itself: how often it achieves its goal in its own turn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foveal.errors import FovealError
from foveal.progress import Progress
from foveal.registry import nearest
from foveal.skills import seeds
from foveal.skills.arms import Actor, ArmSettings
from foveal.skills.conditions import CONDITIONS
from foveal.skills.demos import task_of
from foveal.skills.policy import SkillPolicy
from foveal.skills.turns import Achieved, Turn, achieved, turns
from foveal.skills.view import View
from foveal.skills.workers import Workers


@dataclass(frozen=True)
class Report:
    """What each skill achieved.

    Attributes:
        task: such as ``"bowl"``.
        who: acts.
        condition: of the scenes.
        skills: in the order of their numbers.
        turns: one by one.
    """

    task: str
    who: str
    condition: str
    skills: tuple[Achieved, ...]
    turns: tuple[Turn, ...]

    def __str__(self) -> str:
        head = f"ur5e/{self.task} · {self.who} · {self.condition}: its goal within 60 steps"
        return "\n".join([head, *map(str, self.skills)])


def judged(
    skills: str | Path | SkillPolicy,
    condition: str = "training",
    episodes: int = 100,
    seed: int | None = None,
    *,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """How often each skill achieves its own goal, begun where the script begins it.

    Args:
        skills: cloned ones or their folder; or a task such as ``"ur5e/bowl"``, for its scripted experts.
        condition: a name of ``foveal.skills.conditions.CONDITIONS`` in which nothing happens on the way.
        episodes: scenes.
        seed: of the first; None for ``foveal.skills.seeds.TURNS``, which nothing else uses.
        workers: processes.
        progress: show a bar.

    Raises:
        FovealError: no such folder, task or condition; the whole task was cloned as one skill; a number out of range.
    """
    calm = [name for name, circumstances in CONDITIONS.items() if circumstances.event is None]
    if condition not in calm:
        raise FovealError(f"unknown condition of single skills {condition!r}: {nearest(condition, calm)}")
    if episodes < 1 or (seed is not None and seed < 0):
        raise FovealError(f"episodes is {episodes} and seed {seed}: at least 1, and not negative")
    actor, settings = _acting(skills)
    who = "scripted experts" if actor is None else "cloned skills"
    first = seeds.TURNS if seed is None else seed
    settings = CONDITIONS[condition].of(settings)
    with Workers(workers) as crew, Progress(0, episodes, visible=progress, what="skills", unit="scene") as bar:
        found = turns(settings, actor, range(first, first + episodes), workers=crew, finished=bar.advance)
    return Report(settings.task, who, condition, tuple(achieved(settings.task, found)), tuple(found))


def _acting(skills: str | Path | SkillPolicy) -> tuple[Actor | None, ArmSettings]:
    """Who acts, and the arms as they are seen; experts look at nothing."""
    if isinstance(skills, str) and skills.startswith("ur5e/") and not Path(skills).exists():
        return None, ArmSettings(task_of(skills), View(size=0))
    policy = skills if isinstance(skills, SkillPolicy) else SkillPolicy.load(skills)
    if policy.skills == 1:
        raise FovealError("the whole task was cloned as one skill: there are no goals of its parts to judge it by")
    return policy, policy.arm_settings
