"""Arms side by side, each doing one skill at a time: by cloned networks in one batch, or by scripted experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.checkpoint import load_numpy_state, numpy_state
from foveal.envs.ur5e import make_arm
from foveal.envs.ur5e.env import ArmEnv
from foveal.envs.ur5e.experts import skills
from foveal.envs.ur5e.randomization import Randomization
from foveal.skills.events import COVER_MILLIMETRES, Event, Happening
from foveal.skills.minari import in_millimetres
from foveal.skills.noise import Sensor
from foveal.skills.view import View


@dataclass(frozen=True)
class ArmSettings:
    """The arms.

    Attributes:
        task: such as ``"bowl"``.
        view: of its depth camera.
        randomization: ranges, or their name.
        noise: what the depth camera adds, or None.
        event: what happens in the middle of each episode, or None.
    """

    task: str
    view: View = field(default_factory=View)
    randomization: str | Randomization = "training"
    noise: Sensor | None = None
    event: Event | None = None


class Actor(Protocol):
    """Does skills, by what it sees."""

    @property
    def stack(self) -> int:
        """Depth frames that it wants to see."""

    def act(self, frames: NDArray[Any], skill: NDArray[np.int64]) -> NDArray[np.float32]:
        """(B, stack, H, W) millimetres and (B,) numbers of skills -> (B, 4) actions in [-1, 1]."""


class Arms:
    """``count`` environments, stepped one after the other and seen together.

    Args:
        settings: what they are.
        count: how many.
        stack: depth frames that are kept, the present one last; the first stands for those before it.

    Attributes:
        ended: (count,) whether each one's episode has ended, or none has begun.
        success: (count,) whether it ended well.
        steps: (count,) control steps of the running episode.
        happenings: the event of each one's running episode.
    """

    def __init__(self, settings: ArmSettings, count: int, stack: int = 3) -> None:
        self.settings = settings
        self.envs = [_arm(settings) for _ in range(count)]
        self.ended = np.ones(count, np.bool_)
        self.success = np.zeros(count, np.bool_)
        self.steps = np.zeros(count, np.int64)
        self._frames = np.zeros((count, stack, settings.view.size, settings.view.size), np.uint16)
        self._random = [np.random.default_rng(0) for _ in range(count)]
        self.happenings = [Happening(None, env, 0) for env in self.envs]

    def __len__(self) -> int:
        return len(self.envs)

    def reset(self, index: int, seed: int) -> None:
        """Begin an episode."""
        observation, _ = self.envs[index].reset(seed=seed)
        self._random[index] = np.random.default_rng([1, seed])
        self.happenings[index] = Happening(self.settings.event, self.envs[index], seed)
        self.ended[index] = self.success[index] = False
        self.steps[index] = 0
        self._frames[index] = self._seen(index, observation)

    def frames(self, which: Any = slice(None)) -> NDArray[np.uint16]:
        """(B, stack, H, W) millimetres."""
        return self._frames[which]

    def step(self, index: int, action: NDArray[np.float32]) -> float:
        """One control step of one arm; gives the reward."""
        self.happenings[index].before(int(self.steps[index]))
        observation, reward, terminated, truncated, _ = self.envs[index].step(action)
        self.steps[index] += 1
        self._frames[index, :-1] = self._frames[index, 1:]
        self._frames[index, -1] = self._seen(index, observation)
        self.ended[index], self.success[index] = terminated or truncated, terminated
        return reward

    def run(
        self, actor: Actor | None, skill: NDArray[np.int64], steps: int, cloned: Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """Every arm whose episode goes on does its skill, until ``steps`` are over or the episode is.

        Args:
            actor: does the skills, or None for the experts.
            skill: (count,) number for each arm.
            steps: of control.
            cloned: the skills that the actor does, the others being the experts'; None: all.

        Returns:
            (count,) sums of rewards.
        """
        rewards = np.zeros(len(self))
        by_actor = np.full(len(self), actor is not None) if cloned is None else np.isin(skill, cloned)
        for _ in range(steps):
            going = np.flatnonzero(~self.ended)
            if not going.size:
                break
            actions = self._actions(actor, skill, going[by_actor[going]]) | self._advice(skill, going[~by_actor[going]])
            for index, action in actions.items():
                rewards[index] += self.step(index, action)
        return rewards

    def _actions(
        self, actor: Actor | None, skill: NDArray[np.int64], which: NDArray[np.int64]
    ) -> dict[int, NDArray[np.float32]]:
        """Of the actor, in one batch, by arm."""
        if actor is None or not which.size:
            return {}
        return dict(zip(which.tolist(), actor.act(self._frames[which], skill[which]), strict=True))

    def _advice(self, skill: NDArray[np.int64], which: NDArray[np.int64]) -> dict[int, NDArray[np.float32]]:
        """Of the experts, by arm."""
        experts = skills(self.settings.task)
        return {index: experts[skill[index]].expert(self.envs[index].truth()).action for index in which.tolist()}

    def _seen(self, index: int, observation: Any) -> Any:
        if self.settings.view.size == 0:
            return 0
        if self.happenings[index].covers(int(self.steps[index])):
            return COVER_MILLIMETRES
        depth = in_millimetres(self.settings.view.cut(observation["depth"]))
        noise = self.settings.noise
        return depth if noise is None else noise.apply(depth, self._random[index])

    def get_state(self, index: int) -> dict[str, Any]:
        """Everything that the rest of an arm's running episode depends on: JSON values and arrays."""
        return {
            "env": self.envs[index].get_state(),
            "random": numpy_state(self._random[index]),
            "frames": self._frames[index].astype(np.int32),
            "ended": bool(self.ended[index]),
            "success": bool(self.success[index]),
            "steps": int(self.steps[index]),
            "happened": self.happenings[index].get_state(),
        }

    def set_state(self, index: int, state: Mapping[str, Any]) -> None:
        """Go on exactly where ``get_state`` was called, with arms of the same settings."""
        self.envs[index].set_state(state["env"])
        load_numpy_state(self._random[index], state["random"])
        self._frames[index] = state["frames"]
        self.ended[index], self.success[index] = state["ended"], state["success"]
        self.steps[index] = state["steps"]
        self.happenings[index].set_state(state.get("happened", -1))  # runs of earlier versions lack it

    def close(self) -> None:
        """Free the simulators."""
        for env in self.envs:
            env.close()


def _arm(settings: ArmSettings) -> ArmEnv:
    return make_arm(
        settings.task,
        size=settings.view.render,
        depth=settings.view.size > 0,
        camera=settings.view.camera,
        randomization=settings.randomization,
        can=settings.event is not None and settings.event.can,
    )
