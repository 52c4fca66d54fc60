"""The arm as a world of policies: how often they solve their task under each condition, and one episode recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.envs.ur5e.experts import SKILL_STEPS, script
from foveal.envs.ur5e.tasks import SUCCESS_REWARD
from foveal.errors import FovealError
from foveal.evaluation.recording import Recording, Sight, Words
from foveal.evaluation.results import Condition, Episode
from foveal.evaluation.world import OF_GAMES, TRAIN, Bar, World, WorldOptions
from foveal.registry import nearest
from foveal.skills import seeds
from foveal.skills.arms import Actor, Arms, ArmSettings
from foveal.skills.conditions import CONDITIONS, USUAL
from foveal.skills.rollouts import Outcome, Plan, play, scripted
from foveal.skills.view import View
from foveal.skills.workers import Workers

TRAINING = "training"
"""What ``CONDITIONS`` call ``"train"``."""

BLIND = (
    "this master chooses among scripted experts, so there is no skill that looks at pictures: train one over cloned "
    "skills, with foveal master train --skills"
)


class Seer(Actor, Protocol):
    """Acts by the depth frames that it sees."""

    def input(self, frames: Any) -> Tensor:
        """(..., H, W) millimetres -> what the network sees: -1 is near, 1 is far."""


@dataclass(frozen=True)
class Seen:
    """What an actor acts on.

    Attributes:
        frames: (stack, H, W) ``uint16`` millimetres, the present one last.
        skill: number of the skill that is to be done.
    """

    frames: NDArray[np.uint16]
    skill: int


@dataclass(frozen=True)
class Acting:
    """Who acts on the arm, and how.

    Attributes:
        settings: of the arms, as they are seen where the policy was trained.
        plan: which skill is next.
        actor: does the skills; None for the experts.
        skills: their names.
        skill_steps: control steps of each decision.
        name: what acts, as results say it.
        seed: of its training.
        near, far: metres that are seen as white and as black.
    """

    settings: ArmSettings
    plan: Plan
    actor: Seer | None
    skills: tuple[str, ...]
    skill_steps: int
    name: str
    seed: int
    near: float
    far: float


class AnyAction:
    """Draws every step's action, looking at nothing: a plan whose skills are numbers that actions are drawn from.

    So an episode depends on its seed alone, whatever episodes are played beside it.
    """

    stack = 1

    def choose(self, arms: Arms, which: NDArray[np.int64], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        """A number for each arm: see ``foveal.skills.rollouts.Plan``."""
        return np.array([np.random.default_rng([5, seed, decision]).integers(2**32) for seed in seeds], np.int64)

    def act(self, frames: NDArray[Any], skill: NDArray[np.int64]) -> NDArray[np.float32]:
        """(B, 4) actions in [-1, 1], drawn from (B,) numbers: see ``foveal.skills.arms.Actor``."""
        return np.array([np.random.default_rng(number).uniform(-1.0, 1.0, 4) for number in skill], np.float32)

    def input(self, frames: Any) -> Tensor:
        """There is nothing to see."""
        return torch.as_tensor(frames)


class ArmWorld(World):
    """Episodes of one task, the same for all policies: ``foveal.skills.seeds`` keeps them for evaluation.

    Conditions are ``"train"`` and those of ``foveal.skills.conditions.CONDITIONS``, where it is called ``"training"``;
    where none is named, those of ``USUAL``.

    Args:
        acting: who acts.
        options: the seed of the first episode, of which the others' follow; ``skill`` is the number of the one skill to
            be recorded. The episode then follows the script, and scripted experts do the skills before and after it, so
            that it is seen where it is meant to begin.

    Raises:
        FovealError: a name is unknown, the seed is negative, there is no such skill, or an option means nothing here.
    """

    def __init__(self, acting: Acting, options: WorldOptions) -> None:
        options.refuse("a simulated arm", "data", "quality", "env", "adapt", *OF_GAMES)
        self.acting = acting
        self.conditions = _conditions(options)
        self.seed = options.seed_or(seeds.EVALUATION)
        self.policy: Mapping[str, Any] = {"name": acting.name, "task": acting.settings.task, "seed": acting.seed}
        self._skill = options.skill
        if self._skill is not None:
            _check_skill(self._skill, acting)
        for condition in self.conditions:
            self._under(condition)  # which refuses what can't happen in this task
        self._crew = Workers(options.workers)

    def play(self, condition: str, episodes: int, bar: Bar) -> tuple[dict[str, Any], Condition]:
        bar.enter(condition)
        acting = self.acting
        outcomes = play(
            self._under(condition),
            acting.plan,
            acting.actor,
            range(self.seed, self.seed + episodes),
            skill_steps=acting.skill_steps,
            workers=self._crew,
            finished=lambda outcome: bar.finish(),
        )
        view = acting.settings.view
        about = {"id": f"ur5e/{acting.settings.task}", "image_size": view.size, "camera": view.camera}
        return about, Condition(condition, None, None, tuple(map(_episode, range(episodes), outcomes)))

    def by_chance(self) -> ArmWorld:
        """Every step's action is drawn uniformly, from the episode's seed."""
        settings = replace(self.acting.settings, view=View(size=0))
        acting = replace(self.acting, settings=settings, plan=AnyAction(), actor=AnyAction(), skill_steps=1)
        world = ArmWorld(acting, WorldOptions(self.conditions, self.seed, workers=self._crew.count))
        world.policy = {"name": "random"}
        return world

    def close(self) -> None:
        self._crew.close()

    def record(self, condition: str, most: int, bar: Bar) -> Recording:
        """One episode, of a master as it chooses, else in the order of the script.

        Parts of the picture are the gripper, the arm, things and the bowl.

        Raises:
            FovealError: nobody looks, as scripted experts act.
        """
        acting, settings = self.acting, self._under(condition)
        if acting.actor is None:
            raise FovealError(BLIND)
        plan, steps, cloned = acting.plan, acting.skill_steps, None
        if self._skill is not None:
            plan, steps, cloned = scripted(settings.task, len(acting.skills)), SKILL_STEPS, (self._skill,)
        arms = _WatchedArms(settings, acting.actor, acting.skills, self._skill, bar)
        longest = arms.envs[0].max_agent_steps
        arms.every = 1 if cloned else max(1, -(-longest // most))
        bar.enter(condition, longest)
        try:
            arms.reset(0, self.seed)
            decision = 0
            while not arms.ended[0]:
                arms.chosen = plan.choose(arms, np.array([0]), decision, [self.seed])
                arms.run(acting.actor, arms.chosen, steps, cloned)
                decision += 1
        finally:
            arms.close()
        bar.finish()
        rewards = np.array(arms.rewards)
        success = bool(arms.success[0])
        return Recording(
            environment=f"ur5e/{settings.task}",
            condition=condition,
            episode=Episode(0, self.seed, float(rewards.sum()), len(rewards), success, None, success),
            rewards=rewards,
            sights=tuple(arms.sights),
            words=self._words(),
            name=condition,
        )

    def _under(self, condition: str) -> ArmSettings:
        return _KNOWN[condition].of(self.acting.settings)

    def _words(self) -> Words:
        played = f"One episode of {self.acting.name}"
        if self._skill is not None:
            played = f"One episode of the skill “{self.acting.skills[self._skill]}”, scripted experts doing the others"
        stack = 1 if self.acting.actor is None else self.acting.actor.stack
        newest = f", the newest of {stack} frames" if stack > 1 else ""
        near, far = f"{self.acting.near:g} m and nearer is white", f"{self.acting.far:g} m and further black"
        return Words(
            who="the gripper",
            played=f"{played} under each condition",
            shows=f"depth as the network sees it{newest}: {near}, {far}",
            total="reward",
            digits=0,
        )


class _WatchedArms(Arms):
    """One arm that keeps what was seen.

    Attributes:
        every: so many steps there is a sight.
        chosen: (1,) number of the skill that is being done.
    """

    def __init__(self, settings: ArmSettings, actor: Seer, names: Sequence[str], only: int | None, bar: Bar) -> None:
        super().__init__(settings, 1, actor.stack)
        self.every = 1
        self.chosen = np.zeros(1, np.int64)
        self.rewards: list[float] = []
        self.sights: list[Sight] = []
        self._actor, self._names, self._only, self._bar = actor, names, only, bar

    def step(self, index: int, action: NDArray[np.float32]) -> float:
        if len(self.rewards) % self.every == 0 and self._only in (None, self.chosen[0]):
            self.sights.append(self._sight(action))
        self.rewards.append(super().step(index, action))
        self._bar.step()
        return self.rewards[-1]

    def _sight(self, action: NDArray[np.float32]) -> Sight:
        frames, skill, cut = self.frames(0).copy(), int(self.chosen[0]), self.settings.view.cut
        grey = (127.5 * (1.0 - self._actor.input(frames[-1]))).round().numpy().astype(np.uint8)
        picture = np.repeat(grey[..., None], 3, axis=2)
        parts = {name: cut(mask) for name, mask in self.envs[0].part_masks().items()}
        return Sight(len(self.rewards), Seen(frames, skill), action, picture, parts, self._names[skill])


def check_condition(condition: str, task: str) -> None:
    """Refuse a condition that a task doesn't have.

    Args:
        condition: ``"train"``, or a name of ``CONDITIONS`` but ``"training"``.
        task: such as ``"bowl"``.

    Raises:
        FovealError: as said.
    """
    if condition not in _KNOWN:
        raise FovealError(f"unknown condition {condition!r} of ur5e/{task}: {nearest(condition, list(_KNOWN))}")
    _KNOWN[condition].of(ArmSettings(task))


def _conditions(options: WorldOptions) -> tuple[str, ...]:
    usual = [_as_results_say(name) for name in USUAL]
    if options.on is not None:
        names = (options.on,) if isinstance(options.on, str) else options.on
        options = replace(options, on=[_as_results_say(name) for name in names])
    return options.conditions(usual, list(_KNOWN), "condition")


def _as_results_say(condition: str) -> str:
    return TRAIN if condition == TRAINING else condition


_KNOWN = {_as_results_say(name): circumstances for name, circumstances in CONDITIONS.items()}


def _episode(index: int, outcome: Outcome) -> Episode:
    total = SUCCESS_REWARD * outcome.success
    return Episode(index, outcome.seed, total, outcome.steps, outcome.success, None, outcome.success)


def _check_skill(skill: int, acting: Acting) -> None:
    listed = ", ".join(f"{number} ({name})" for number, name in enumerate(acting.skills))
    if not 0 <= skill < len(acting.skills):
        raise FovealError(f"there is no skill {skill}; these are: {listed}")
    if len(acting.skills) == 1:
        raise FovealError("the whole task was cloned as one skill: leave skill out")
    if skill not in script(acting.settings.task):
        raise FovealError(
            f"skill {skill} is not in the script of {acting.settings.task!r}, so it is not known when its turn is"
        )
