"""One arm as an environment whose only picture is depth as a policy's network sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.skills import seeds
from foveal.skills.arms import Arms
from foveal.skills.minari import MILLIMETRES
from foveal.skills.world import BLIND, Acting, Seer

LONGEST = 1_000_000
"""More control steps than any episode has."""


class DepthEnv(gymnasium.Env[Any, NDArray[np.float32]]):
    """The task of a policy of the arm, seen as its network sees it.

    Observations are ``"depth"``, (stack, 1, H, W) from 0 to 1, the newest frame last: what is near is white, as in
    pictures of ``foveal.explain``; and ``"step"``, (1,), the control steps of the episode so far. Episodes are those
    that are kept for evaluation: seed 0 is the first of them.

    Args:
        acting: who acts.

    Raises:
        FovealError: nobody looks, as scripted experts act.
    """

    def __init__(self, acting: Acting) -> None:
        if acting.actor is None:
            raise FovealError(BLIND)
        self.actor, self._view = acting.actor, acting.settings.view
        self._arms = Arms(acting.settings, 1, acting.actor.stack)
        shape = (acting.actor.stack, 1, self._view.size, self._view.size)
        steps = spaces.Box(0, LONGEST, (1,), np.int64)
        self.observation_space = spaces.Dict({"depth": spaces.Box(0.0, 1.0, shape, np.float32), "step": steps})
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._arms.reset(0, seeds.EVALUATION + (seed or 0))
        return self._seen(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """One control step."""
        reward = self._arms.step(0, action)
        ended, success = bool(self._arms.ended[0]), bool(self._arms.success[0])
        return self._seen(), reward, success, ended and not success, {"success": success}

    def agent_mask(self) -> NDArray[np.bool_]:
        """(H, W), the pixels of arm, gripper, things and bowl."""
        return np.any([self._view.cut(mask) for mask in self._arms.envs[0].part_masks().values()], axis=0)

    def close(self) -> None:
        """Free the simulator."""
        self._arms.close()

    def _seen(self) -> dict[str, NDArray[Any]]:
        depth = as_brightness(self.actor, self._arms.frames(0))
        return {"depth": depth[:, None], "step": self._arms.steps.copy()}


@dataclass(frozen=True)
class DepthMaker:
    """Makes a ``DepthEnv`` again and again.

    Attributes:
        acting: who acts there.
    """

    acting: Acting

    @property
    def name(self) -> str:
        """As results say it."""
        return f"ur5e/{self.acting.settings.task}"

    def __call__(self) -> DepthEnv:
        """A new one."""
        return DepthEnv(self.acting)


def as_brightness(actor: Seer, millimetres: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Depth as a picture, any shape: 1 is near, 0 is far."""
    return (0.5 * (1.0 - actor.input(millimetres))).numpy().astype(np.float32)


def as_millimetres(brightness: NDArray[np.float32], near: float, far: float) -> NDArray[np.uint16]:
    """Undo of ``as_brightness``: what a network sees of it is the same.

    Args:
        brightness: any shape, from 0 to 1.
        near, far: metres that are seen as white and as black.
    """
    metres = near + (far - near) * (1.0 - np.asarray(brightness, np.float64))
    return np.rint(metres * MILLIMETRES).astype(np.uint16)
