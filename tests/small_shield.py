"""A shield that trains in a second, an environment that knows its task's pixels, and a shield of closed form."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from foveal.fovea.frames import FrameSet
from foveal.shield import ShieldConfig
from foveal.shield.wrapping import Restored
from foveal.training.looking import collect
from small_env import SIZE

SMALL = ShieldConfig(
    filters=4, depth=1, frames=60, steps=6, batch_size=8, picture_count=16, corruptions=("noise", "background")
)
OPTIONS: dict[str, Any] = {"image_size": SIZE, "frame_stack": 2}


class Ball(gymnasium.Env[Any, Any]):
    """A bright square that actions move over a dark floor with stripes; it knows where its square is."""

    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    observation_space = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.np_random.uniform(4, SIZE - 12, 2)
        self.steps = 0
        return self._frame(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place = np.clip(self.place + 3 * np.asarray(action), 0, SIZE - 8)
        self.steps += 1
        return self._frame(), 1.0, False, self.steps == 20, {}

    def agent_mask(self) -> Any:
        mask = np.zeros((SIZE, SIZE), bool)
        row, column = self.place.astype(int)
        mask[row : row + 8, column : column + 8] = True
        return mask

    def _frame(self) -> Any:
        frame = np.full((SIZE, SIZE, 3), (20, 30, 60), np.uint8)
        frame[::4] = (30, 40, 80)
        frame[self.agent_mask()] = (230, 160, 60)
        return frame


def frames(count: int = 60, seed: int = 0) -> FrameSet:
    return collect(Ball, OPTIONS, count, seed)


class Inverter:
    """Restores frames by turning them over, counting how many; doubts by their first pixel."""

    image_size, limit = SIZE, 100.0

    def __init__(self) -> None:
        self.restored = 0

    def restore(self, seen: Any) -> Restored:
        self.restored += len(seen)
        return Restored(255 - seen, seen[:, 0] / np.float32(255), seen[:, 0, 0, 0].astype(np.float32))


def pictures(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
