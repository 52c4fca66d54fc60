"""Gymnasium's ``CarRacing-v3`` that repeats actions, draws only what is seen, and can be saved. It is the same race."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

with warnings.catch_warnings():
    # Box2D's binding is older than the rule that types name their module, and can't take a warning as an error.
    warnings.simplefilter("ignore", DeprecationWarning)
    from gymnasium.envs.box2d.car_racing import FPS, GRASS_DIM, PLAYFIELD, WINDOW_H, WINDOW_W, CarRacing

TIME_LIMIT = 1000
"""Simulator steps after which an episode of ``CarRacing-v3`` is truncated."""
STEP_COST = 0.1
"""Of every simulator step."""
MARGIN = 2.0
"""Pixels around the window in which a polygon's antialiased edge may still be seen."""

Corners = list[tuple[float, float]]

FIELD: Corners = [(PLAYFIELD, PLAYFIELD), (PLAYFIELD, -PLAYFIELD), (-PLAYFIELD, -PLAYFIELD), (-PLAYFIELD, PLAYFIELD)]
GRASS: list[Corners] = [
    [(GRASS_DIM * (x + a), GRASS_DIM * (y + b)) for a, b in ((1, 0), (0, 0), (0, 1), (1, 1))]
    for x in range(-20, 20, 2)
    for y in range(-20, 20, 2)
]


class CarRacingEnv(CarRacing):
    """Pictures from above, (96, 96, 3); 1000 points over all tiles of the track, and 0.1 less for each simulator step.

    An episode ends with the lap, far off the track, or after 1000 simulator steps.

    Args:
        discrete: five buttons (nothing, right, left, gas, brake) in place of wheel, gas and brake.
        action_repeat: simulator steps per action.

    Attributes:
        action_repeat: see above.
        max_agent_steps: actions after which an episode is truncated.
    """

    def __init__(self, *, discrete: bool, action_repeat: int) -> None:
        super().__init__(continuous=not discrete)
        self.action_repeat = action_repeat
        self.max_agent_steps = -(-TIME_LIMIT // action_repeat)
        self.metadata = {**self.metadata, "render_fps": max(1, round(FPS / action_repeat))}
        self._began: Mapping[str, Any] | None = None  # the random state before the running episode
        self._actions: list[Any] = []
        self._time = 0  # simulator steps in this episode
        self._blind = False
        self._grass = np.array(GRASS)  # (400, 4, 2)
        self._road = np.empty((0, 4, 2))
        self._road_of: Any = None  # the list of polygons that ``_road`` was made of

    # --- driving --------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        gymnasium.Env.reset(self, seed=seed)
        self._began = self.np_random.bit_generator.state
        return self._begin()

    def _begin(self) -> tuple[Any, dict[str, Any]]:
        """An episode, which is a function of the random state and of the actions to come."""
        self._actions, self._time = [], 0
        return super().reset()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action is None:  # the last line of ``CarRacing.reset``
            return super().step(None)  # type: ignore[arg-type]
        reward, terminated, info = self._drive(action)
        return self._picture(), reward, terminated, self._time >= TIME_LIMIT and not terminated, info

    def _drive(self, action: Any) -> tuple[float, bool, dict[str, Any]]:
        """Take an action so many times without looking."""
        self._actions.append(action)
        total, terminated, info = 0.0, False, {}
        self._blind = True
        for _ in range(min(self.action_repeat, TIME_LIMIT - self._time)):
            _, reward, terminated, _, info = super().step(action)
            self._time += 1
            total += float(reward)
            if terminated:
                break
        self._blind = False
        return total, bool(terminated), info

    # --- state ----------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """The random state before the episode, the actions since, and the colours: Box2D itself can't be saved."""
        colors = np.stack([self.road_color, self.bg_color, self.grass_color]).astype(np.float64)
        return {"began": self._began, "actions": np.array(self._actions), "colors": colors}

    def set_state(self, state: dict[str, Any]) -> None:
        """Drive the episode again."""
        self.paint(*np.asarray(state["colors"]))
        self._began = state["began"]
        if self._began is None:
            return
        self.np_random.bit_generator.state = self._began
        self._begin()
        for action in self._as_taken(state["actions"]):
            self._drive(action)

    def _as_taken(self, actions: Any) -> Sequence[Any]:
        array = np.asarray(actions)
        return list(array.astype(np.float32)) if self.continuous else [int(action) for action in array]

    # --- pictures -------------------------------------------------------------------------------------------------

    def paint(self, road: NDArray[Any], field: NDArray[Any], grass: NDArray[Any]) -> None:
        """Colours from the next reset on, (3,) each in [0, 255]."""
        self.road_color, self.bg_color, self.grass_color = road, field, grass

    def _picture(self) -> NDArray[np.uint8]:
        """What ``CarRacing`` shows of its latest step, for which it draws before it takes the step's 0.1."""
        reward, self.reward = self.reward, self.reward + STEP_COST
        picture: NDArray[np.uint8] = self._render("state_pixels")
        self.reward = reward
        return picture

    def _render(self, mode: str) -> Any:
        return None if self._blind else super()._render(mode)

    def _render_road(self, zoom: float, translation: Any, angle: float) -> None:
        """What ``CarRacing`` draws, without testing hundreds of polygons one by one for whether they are in view."""
        if self._road_of is not self.road_poly:
            self._road_of, self._road = self.road_poly, np.array([corners for corners, _ in self.road_poly])
        view, draw = (zoom, translation, angle), cast(Any, self._draw_colored_polygon)
        draw(self.surf, FIELD, self.bg_color, *view, clip=False)
        for index in _in_view(self._grass, *view):
            draw(self.surf, GRASS[index], self.grass_color, *view)
        for index in _in_view(self._road, *view):
            corners, color = self.road_poly[index]
            draw(self.surf, corners, [int(c) for c in color], *view)


def _in_view(polygons: NDArray[np.float64], zoom: float, translation: Any, angle: float) -> NDArray[np.int64]:
    """Which of (N, corners, 2) polygons may touch the window."""
    cos, sin = math.cos(angle), math.sin(angle)
    corners = polygons @ np.array([[cos, sin], [-sin, cos]]) * zoom + np.array(tuple(translation))  # (N, corners, 2)
    before = corners.max(1) < -MARGIN  # (N, 2)
    behind = corners.min(1) > np.array([WINDOW_W, WINDOW_H]) + MARGIN
    return np.flatnonzero(~(before | behind).any(1))
