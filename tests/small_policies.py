"""A tiny Gymnasium environment in which one must look, and policies that do and don't."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

SIDE = 36  # the smallest picture that NatureCNN takes
LENGTH = 10  # of an episode


class Sides(gymnasium.Env[Any, Any]):
    """A bright block is on the left or on the right, drawn anew at every step; to say where gives a reward of 1.

    Args:
        beside: the observation is a Dict that also tells the side outright.
        continuous: actions are numbers from -1 to 1, of which the sign counts.
        success: info tells whether at least four in five answers were right.
    """

    def __init__(self, *, beside: bool = False, continuous: bool = False, success: bool = False) -> None:
        picture = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        told = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = spaces.Dict({"camera": picture, "told": told}) if beside else picture
        self.action_space: spaces.Space[Any] = (
            spaces.Box(-1.0, 1.0, (1,), np.float32) if continuous else spaces.Discrete(2)
        )
        self.tells_success = success
        self.closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = self.right_answers = 0
        return self._observed(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        answer = int(np.asarray(action).ravel()[0] > 0)
        reward = float(answer == self.side)
        self.steps += 1
        self.right_answers += int(reward)
        info = {"success": self.right_answers >= 0.8 * self.steps} if self.tells_success else {}
        return self._observed(), reward, False, self.steps == LENGTH, info

    def close(self) -> None:
        self.closed = True

    def _observed(self) -> Any:
        self.side = int(self.np_random.integers(2))
        picture = np.full((SIDE, SIDE, 3), 70, np.uint8)
        picture[10:26, 4 + 16 * self.side : 16 + 16 * self.side] = (200, 160, 90)
        if isinstance(self.observation_space, spaces.Dict):
            return {"camera": picture, "told": np.array([2.0 * self.side - 1.0], np.float32)}
        return picture


class Told(Sides):
    """One that knows which pixels are the task's own: the block's."""

    def agent_mask(self) -> NDArray[np.bool_]:
        mask = np.zeros((SIDE, SIDE), bool)
        mask[10:26, 4 + 16 * self.side : 16 + 16 * self.side] = True
        return mask


class Halves(nn.Module):
    """Compares the sides, by weights that are 1 over each half of the first channel."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(2, 3 * SIDE * SIDE))
        with torch.no_grad():
            columns = torch.arange(SIDE) // (SIDE // 2)
            for side in range(2):
                self.weights[side] = (columns == side).float().expand(3, SIDE, SIDE).reshape(-1)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.relu(pixels.flatten(1) @ self.weights.T) / 1000


def looking(observation: Any) -> int:
    """Says on which side it is brighter."""
    picture = observation["camera"] if isinstance(observation, dict) else observation
    halves = picture[:, : SIDE // 2].mean(), picture[:, SIDE // 2 :].mean()
    return int(halves[1] > halves[0])


def listening(observation: Any) -> int:
    """Never looks: does what it was told."""
    return int(observation["told"][0] > 0)


def guessing(observation: Any) -> int:
    """Never looks, and was told nothing."""
    return 1
