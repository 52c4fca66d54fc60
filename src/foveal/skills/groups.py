"""Groups of arms as reinforcement learning sees them: one decision for a skill of 60 steps, or every step itself.

A group begins a new episode as soon as one has ended; ``infos`` then hold the last observation of the old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.envs.ur5e.experts import skills
from foveal.envs.ur5e.shaping import potential
from foveal.envs.ur5e.tasks import TASKS, Truth
from foveal.skills import seeds
from foveal.skills.arms import Arms, ArmSettings
from foveal.skills.policy import SkillPolicy, depth_input

Stepped = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]
"""Observations (B, ...), rewards (B,), whether episodes ended (B,), and what else there is to say."""


@dataclass(frozen=True)
class Deciding:
    """A master's environment: it chooses skills, each of which runs for some steps. A semi-Markov decision process.

    Attributes:
        arms: as they are seen.
        skill_steps: control steps of a skill.
        seed: of the episodes.
        policy: cloned skills. Without, experts act, and the master sees ``state_of``.
    """

    arms: ArmSettings
    skill_steps: int
    seed: int
    policy: SkillPolicy | None = None

    @property
    def spaces(self) -> tuple[spaces.Box, spaces.Space[Any]]:
        """Of an arm's observations and actions."""
        actions = spaces.Discrete(len(skills(self.arms.task)))
        if self.policy is not None:
            shape: tuple[int, ...] = self.policy.feature_shape
        else:
            task = TASKS[self.arms.task]
            shape = (5 + 4 * len(task.things) + (0 if task.bowl is None else 3),)
        return spaces.Box(-np.inf, np.inf, shape, np.float32), actions

    @property
    def stack(self) -> int:
        """Depth frames that are seen together."""
        return 1 if self.policy is None else self.policy.stack

    def observe(self, arms: Arms) -> NDArray[np.float32]:
        """(B, ...): what is learned from."""
        return observe(arms, self.policy)

    def act(self, arms: Arms, actions: NDArray[Any]) -> NDArray[np.float64]:
        """Act with every arm; (B,) rewards."""
        return arms.run(self.policy, np.asarray(actions, np.int64), self.skill_steps)

    def make(self, first: int, count: int) -> Group:
        """The arms ``first`` to ``first + count``, of all those that train."""
        return Group(self, first, count)


@dataclass(frozen=True)
class Stepping:
    """Every control step is an action: what learning from scratch starts from.

    Attributes:
        arms: as they are seen.
        stack: depth frames in an observation.
        near, far: metres that are seen as -1 and 1.
        seed: of the episodes.
        shaping: discount of the potential that guides (``foveal.envs.ur5e.shaping``); 0 leaves it out.
    """

    arms: ArmSettings
    stack: int
    near: float
    far: float
    seed: int
    shaping: float = 0.0

    @property
    def spaces(self) -> tuple[spaces.Box, spaces.Space[Any]]:
        """Of an arm's observations and actions."""
        shape = (self.stack, self.arms.view.size, self.arms.view.size)
        return spaces.Box(-1.0, 1.0, shape, np.float32), spaces.Box(-1.0, 1.0, (4,), np.float32)

    def observe(self, arms: Arms) -> NDArray[np.float32]:
        """(B, ...): what is learned from."""
        return depth_input(arms.frames(), self.near, self.far).numpy()

    def act(self, arms: Arms, actions: NDArray[Any]) -> NDArray[np.float64]:
        """Act with every arm; (B,) rewards."""
        before = self._potentials(arms)
        rewards = np.array([arms.step(index, action) for index, action in enumerate(actions)])
        if self.shaping:  # nothing is expected after success, where the potential counts as 0
            rewards += self.shaping * self._potentials(arms) * ~arms.success - before
        return rewards

    def make(self, first: int, count: int) -> Group:
        """The arms ``first`` to ``first + count``, of all those that train."""
        return Group(self, first, count)

    def _potentials(self, arms: Arms) -> NDArray[np.float64]:
        """(B,), where rewards are shaped; else zeros."""
        if not self.shaping:
            return np.zeros(len(arms))
        return np.array([potential(self.arms.task, env.truth()) for env in arms.envs])


GroupSettings: TypeAlias = Deciding | Stepping
"""What a group can be made of, in whatever process."""


class Group:
    """Some arms in one process, which begin again when they have ended.

    Args:
        settings: what they are.
        first: number of the first, of all those that train.
        count: how many.
    """

    def __init__(self, settings: GroupSettings, first: int, count: int) -> None:
        self.arms = Arms(settings.arms, count, settings.stack)
        self._settings, self._first = settings, first
        self._episodes = [0] * count

    def reset(self) -> NDArray[np.float32]:
        """(B, ...): the first observations."""
        for index in range(len(self.arms)):
            self._begin(index)
        return self._settings.observe(self.arms)

    def step(self, actions: NDArray[Any]) -> Stepped:
        """Act with every arm; new episodes begin where the old ones have ended."""
        before = self.arms.steps.copy()
        rewards = self._settings.act(self.arms, actions)
        seen = self._settings.observe(self.arms)
        ended = self.arms.ended.copy()
        infos: list[dict[str, Any]] = [{"steps": int(count)} for count in self.arms.steps - before]
        for index in np.flatnonzero(ended):
            success = bool(self.arms.success[index])
            infos[index] |= {"success": success, "final_obs": seen[index].copy(), "truncated": not success}
            self._begin(int(index))
        if ended.any():
            seen = np.where(ended.reshape(-1, *[1] * (seen.ndim - 1)), self._settings.observe(self.arms), seen)
        return seen, rewards.astype(np.float32), ended, infos

    def get_state(self) -> list[dict[str, Any]]:
        """Of each arm: JSON values and arrays."""
        return [{**self.arms.get_state(index), "episodes": count} for index, count in enumerate(self._episodes)]

    def set_state(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Undo of ``get_state``."""
        for index, state in enumerate(states):
            self.arms.set_state(index, state)
            self._episodes[index] = state["episodes"]

    def close(self) -> None:
        """Free the simulators."""
        self.arms.close()

    def _begin(self, index: int) -> None:
        self.arms.reset(index, seeds.training(self._settings.seed, self._first + index, self._episodes[index]))
        self._episodes[index] += 1


def observe(arms: Arms, policy: SkillPolicy | None, which: Any = slice(None)) -> NDArray[np.float32]:
    """What a master sees of some arms: features of the skills' network, or without one the simulator's state."""
    if policy is not None:
        return policy.features(arms.frames(which))
    chosen = np.arange(len(arms))[which]
    return np.stack([state_of(arms.envs[index].truth()) for index in chosen])


def state_of(truth: Truth) -> NDArray[np.float32]:
    """What a master over experts sees: one vector.

    The tool's place (3), the gripper's opening and whether it closes; of each thing the way to it from the tool (3) and
    whether it is in the gripper; the way to the bowl. Lengths are in decimetres, so that all are of about one size.
    """
    away = 10.0 * (truth.centres - truth.tool)  # (N, 3)
    parts: list[Any] = [
        10.0 * truth.tool,
        [truth.opening, float(truth.closing)],
        away.ravel(),
        truth.held.astype(np.float64),
    ]
    if truth.bowl is not None:
        parts.append(10.0 * (truth.bowl - truth.tool))
    return np.concatenate(parts).astype(np.float32)
