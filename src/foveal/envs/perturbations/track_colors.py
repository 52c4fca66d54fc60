"""``track_colors``: random colours of track and field in Car Racing, drawn anew for each episode.

They are those of Gymnasium's ``CarRacing(domain_randomize=True)``. Its own switch would draw them from the generator of
the tracks, so that the same seed would give other tracks; here tracks stay what they are.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from foveal.envs.perturbations.base import PERTURBATIONS, Perturbation
from foveal.errors import FovealError

BRIGHTEST = 210.0  # of 255
GRASS_STEP = 20.0  # by which one colour of the grass is stronger than the field's


@PERTURBATIONS.register("track_colors")
class TrackColors(Perturbation):
    """Colours of Car Racing's track and field."""

    usual_for = ("box2d",)

    def apply(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        return RandomTrackColors(env)


class RandomTrackColors(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Paints track, field and grass at each reset.

    Raises:
        FovealError: the environment has no track.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._race: Any = env.unwrapped
        if not hasattr(self._race, "paint"):
            raise FovealError(
                f"track_colors changes the colours of box2d/car-racing, and {type(self._race).__name__} is another "
                "environment: choose another perturbation, or write one of your own for it"
            )
        self._random = np.random.RandomState()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._random.seed(seed % 2**32)
        road, field = self._random.uniform(0.0, BRIGHTEST, (2, 3))
        grass = field.copy()
        grass[self._random.randint(3)] += GRASS_STEP
        self._race.paint(road, field, grass)
        return self.env.reset(seed=seed, options=options)

    def get_state(self) -> dict[str, Any]:
        return {"random": self._random.get_state(legacy=False)}  # the race knows its present colours

    def set_state(self, state: dict[str, Any]) -> None:
        self._random.set_state(state["random"])
