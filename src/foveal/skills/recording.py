"""One episode of cloned skills, with what they saw before every step and which pixels were whose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foveal.envs.ur5e.experts import SKILL_STEPS, script
from foveal.errors import FovealError
from foveal.evaluation.results import Episode
from foveal.progress import Progress
from foveal.skills import seeds
from foveal.skills.arms import Arms, for_policy
from foveal.skills.conditions import CONDITIONS
from foveal.skills.master import Master, skills_of
from foveal.skills.policy import SkillPolicy
from foveal.skills.rollouts import Plan, scripted


@dataclass(frozen=True)
class Sighting:
    """What a skill saw.

    Attributes:
        step: control steps before it.
        skill: number of the skill that acted on it.
        frames: (stack, H, W) ``uint16`` millimetres, the present one last.
        parts: (H, W) bool by name: pixels of the present frame that are of the gripper, the arm, things and the bowl.
    """

    step: int
    skill: int
    frames: NDArray[np.uint16]
    parts: Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Recording:
    """An episode.

    Attributes:
        task: such as ``"bowl"``.
        condition: of ``foveal.skills.conditions.CONDITIONS``.
        episode: how it went.
        rewards: (length,) one for each control step.
        sightings: before every step, or before those of one skill.
    """

    task: str
    condition: str
    episode: Episode
    rewards: NDArray[np.float64]
    sightings: tuple[Sighting, ...]


def record(
    agent: SkillPolicy | Master,
    condition: str = "training",
    *,
    skill: int | None = None,
    seed: int | None = None,
    every: int = 1,
    progress: bool = False,
) -> Recording:
    """Play one episode: of skills in the order of the script, of a master as it chooses.

    Args:
        agent: cloned skills, or a master over them.
        condition: name of ``foveal.skills.conditions.CONDITIONS``.
        skill: number of the one skill to be seen. The episode then follows the script, and scripted experts do the
            skills before and after it, so that it is seen where it is meant to begin.
        seed: of the episode; by default evaluation's first.
        every: steps between sightings.
        progress: show a bar.

    Raises:
        FovealError: there is no such skill, or it is not in the script; the seed is negative; no task is known.
    """
    policy = skills_of(agent)
    settings = for_policy(policy)
    if skill is not None:
        _check_skill(policy, skill, settings.task)
    seed = seeds.EVALUATION if seed is None else seed
    if seed < 0:
        raise FovealError(f"seed must not be negative, and it is {seed}")
    randomization, noise = CONDITIONS[condition]
    arms = Arms(replace(settings, randomization=randomization, noise=noise), 1, policy.stack)
    player = _Player(arms, policy, skill, every)
    plan: Plan = scripted(settings.task, policy.skills)
    steps = SKILL_STEPS
    if isinstance(agent, Master) and skill is None:
        plan, steps = agent, agent.config.skill_steps
    try:
        arms.reset(0, seed)
        player.play(plan, seed, steps, progress)
    finally:
        arms.close()
    rewards = np.array(player.rewards)
    episode = Episode(0, seed, float(rewards.sum()), len(rewards), bool(arms.success[0]), None)
    return Recording(settings.task, condition, episode, rewards, tuple(player.sightings))


class _Player:
    """Steps the arm, and keeps what was seen."""

    def __init__(self, arms: Arms, policy: SkillPolicy, only: int | None, every: int) -> None:
        self._arms, self._policy, self._only, self._every = arms, policy, only, every
        self.rewards: list[float] = []
        self.sightings: list[Sighting] = []

    def play(self, plan: Plan, seed: int, skill_steps: int, progress: bool) -> None:
        arms, decision = self._arms, 0
        cloned = None if self._only is None else (self._only,)
        limit = arms.envs[0].max_agent_steps
        with Progress(0, limit, visible=progress, what="playing", unit="step") as bar:
            while not arms.ended[0]:
                chosen = plan.choose(arms, np.array([0]), decision, [seed])
                for _ in range(skill_steps):
                    if arms.ended[0]:
                        break
                    self._look(int(chosen[0]))
                    self.rewards.append(float(arms.run(self._policy, chosen, 1, cloned)[0]))
                    bar.advance(len(self.rewards))
                decision += 1

    def _look(self, skill: int) -> None:
        arms = self._arms
        if len(self.rewards) % self._every or self._only not in (None, skill):
            return
        cut = arms.settings.view.cut
        parts = {name: cut(mask) for name, mask in arms.envs[0].part_masks().items()}
        self.sightings.append(Sighting(len(self.rewards), skill, arms.frames(0).copy(), parts))


def _check_skill(policy: SkillPolicy, skill: int, task: str) -> None:
    listed = ", ".join(f"{number} ({name})" for number, name in enumerate(policy.skill_set.names))
    if not 0 <= skill < policy.skills:
        raise FovealError(f"there is no skill {skill}; these are: {listed}")
    if policy.skills == 1:
        raise FovealError("the whole task was cloned as one skill: leave --skill out")
    if skill not in script(task):
        raise FovealError(f"skill {skill} is not in the script of {task!r}, so it is not known when its turn is")
