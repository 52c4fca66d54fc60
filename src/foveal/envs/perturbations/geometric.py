"""The six geometric test sets of DMC-GB2: the camera is turned, or shifted by looking a little aside, or both.

Almuzairee, Hansen and Christensen, "A Recipe for Unbounded Data Augmentation in Visual Reinforcement Learning", RLC
2024. Nothing is needed for them but the simulator, so they are the benchmark's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from foveal.envs.dmc import ControlSuiteEnv
from foveal.envs.perturbations.base import PERTURBATIONS, Perturbation, control_suite
from foveal.envs.perturbations.camera_poses import Camera, Matrix, about_x, about_y, about_z
from foveal.errors import FovealError

POSES = 100
"""Of each kind, taken in an order that the seed shuffles."""
TURN = 180.0
"""Degrees to either side, of hard."""
EASY_TURN, EASY_SHIFT = 2.0, 1.5
"""By which easy divides degrees."""
# Degrees about the camera's axis to the right (x), from and to, and about its axis upwards (y), to either side.
EDGES = {
    "walker": (-10.0, 10.0, 10.0),
    "cheetah": (-10.0, 10.0, 10.0),
    "cartpole": (-10.0, 10.0, 8.0),
    "finger": (-6.0, 12.0, 6.0),
    "ball_in_cup": (-6.0, 12.0, 6.0),
}


def turns(*, easy: bool) -> list[Matrix]:
    """100 rotations of the picture, from -180 degrees (easy: -90) up to 180, which is left out."""
    most = TURN / EASY_TURN if easy else TURN
    return [about_z(np.radians(-most + 2 * most * number / POSES)) for number in range(POSES)]


def shifts(domain: str, *, easy: bool) -> list[Matrix]:
    """100 directions along the four edges of a rectangle of angles, 25 on each, beginning at each one's corner.

    Raises:
        FovealError: the benchmark has no rectangle for this domain.
    """
    if domain not in EDGES:
        raise FovealError(f"shift_* and rotate_shift_* are defined for {', '.join(EDGES)}, and not for {domain}")
    low, high, side = (angle / EASY_SHIFT if easy else angle for angle in EDGES[domain])
    corners = np.array([[-side, low], [side, low], [side, high], [-side, high]])  # about y, about x
    edges = zip(corners, np.roll(corners, -1, axis=0), strict=True)
    each = POSES // len(corners)
    angles = [here + (there - here) * number / each for here, there in edges for number in range(each)]
    return [about_y(np.radians(y)) @ about_x(np.radians(x)) for y, x in angles]


class Geometric(Perturbation):
    """Camera poses that follow each other from episode to episode.

    Attributes:
        turned, shifted, easy: which of the six it is.
    """

    turned: bool
    shifted: bool
    easy: bool

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(None)  # no data exist that it could use

    def apply(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        suite = control_suite(env, "the camera")
        kinds = [shifts(suite.domain, easy=self.easy)] if self.shifted else []
        return TurnedCamera(env, suite, kinds + ([turns(easy=self.easy)] if self.turned else []))


@PERTURBATIONS.register("rotate_easy")
class RotateEasy(Geometric):
    """The camera is turned by up to 90 degrees about where it looks (DMC-GB2, Almuzairee et al. 2024)."""

    turned, shifted, easy = True, False, True


@PERTURBATIONS.register("rotate_hard")
class RotateHard(Geometric):
    """The camera is turned by up to 180 degrees about where it looks (DMC-GB2, Almuzairee et al. 2024)."""

    turned, shifted, easy = True, False, False


@PERTURBATIONS.register("shift_easy")
class ShiftEasy(Geometric):
    """The camera looks aside, so that the agent is off the middle (DMC-GB2, Almuzairee et al. 2024)."""

    turned, shifted, easy = False, True, True


@PERTURBATIONS.register("shift_hard")
class ShiftHard(Geometric):
    """The camera looks aside, so that the agent is near the border (DMC-GB2, Almuzairee et al. 2024)."""

    turned, shifted, easy = False, True, False


@PERTURBATIONS.register("rotate_shift_easy")
class RotateShiftEasy(Geometric):
    """``rotate_easy`` and ``shift_easy`` together (DMC-GB2, Almuzairee et al. 2024)."""

    turned, shifted, easy = True, True, True


@PERTURBATIONS.register("rotate_shift_hard")
class RotateShiftHard(Geometric):
    """``rotate_hard`` and ``shift_hard`` together (DMC-GB2, Almuzairee et al. 2024)."""

    turned, shifted, easy = True, True, False


class TurnedCamera(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Turns the camera about its own axes for every picture of an episode, in the next way at each reset.

    Args:
        env: single frames of a ``dmc/`` environment.
        suite: that environment itself.
        kinds: of rotations, each shuffled by the seed and gone through; applied one after the other.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], suite: ControlSuiteEnv, kinds: list[list[Matrix]]) -> None:
        super().__init__(env)
        self._camera = Camera(suite.physics, suite.camera)
        self._kinds = kinds
        self._orders = [list(range(len(kind))) for kind in kinds]
        self._next = 0
        suite.scene = self

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._shuffle(seed)
        return self.env.reset(seed=seed, options=options)

    def _shuffle(self, seed: int) -> None:
        """Each kind by a generator of its own with the same seed, as the benchmark does."""
        self._next = 0
        self._orders = [list(range(len(kind))) for kind in self._kinds]
        for order in self._orders:
            np.random.RandomState(seed % 2**32).shuffle(order)

    def begin(self) -> None:
        """The next pose."""
        self._next += 1

    def advance(self) -> None:
        """Nothing changes within an episode."""

    def show(self) -> None:
        """Turn the camera from where the model has it."""
        self._camera.put_back()
        orientation = self._camera.orientation
        for kind, order in zip(self._kinds, self._orders, strict=True):
            orientation = orientation @ kind[order[(self._next - 1) % len(order)]]
        self._camera.place(orientation=orientation)

    def get_state(self) -> dict[str, Any]:
        return {"next": self._next, "orders": [list(order) for order in self._orders]}

    def set_state(self, state: dict[str, Any]) -> None:
        self._next = int(state["next"])
        self._orders = [[int(index) for index in order] for order in state["orders"]]
        if self._next:
            self.show()
