"""The Distracting Control Suite (Stone et al. 2021) as DMC-GB has it: ``distracting_cs:0.1`` and seven more.

Camera and colours wander, and a film plays on the sky. DMC-GB's version differs from the original: it has eight
intensities with numbers of films of their own, and changes something at every second step of the simulator alone. The
benchmark never seeds its draws; here they come from the seed given to ``reset``, so that episodes can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from foveal.envs.dmc import ControlSuiteEnv
from foveal.envs.perturbations.base import PERTURBATIONS, Perturbation, control_suite
from foveal.envs.perturbations.camera_poses import FIXED, MODES, TRACKING, Camera
from foveal.envs.perturbations.camera_walk import CameraWalk
from foveal.envs.perturbations.sky_films import DavisFilms, Films, GeneratedFilms, Sky
from foveal.errors import FovealError

FILMS = {0.025: 2, 0.05: 2, 0.1: 4, 0.15: 6, 0.2: 8, 0.3: 60, 0.4: 60, 0.5: 60}
"""Intensity -> how many of DAVIS' 60 training films, the first in the order of their names."""
DOMAINS = ("ball_in_cup", "cartpole", "cheetah", "finger", "reacher", "walker")
FLOOR = {"reacher": 0.0, "walker": 1.0, "cheetah": 1.0}
"""Opacity of the floor, behind which the film can be seen; 0.3 in the other domains."""
OTHER_FLOOR = 0.3
EVERY = 2
"""Steps of the simulator between two changes."""


class DistractingSuite(Perturbation):
    """Camera, colours and films at one intensity.

    Attributes:
        intensity: in (0, 1].
    """

    intensity: ClassVar[float]

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(data)
        self.benchmark_items = FILMS[self.intensity]
        self.films: Films = GeneratedFilms(self.benchmark_items)
        self.source = "generated"
        if data is not None:
            self.films = DavisFilms(data, self.benchmark_items)
            self.source = "dmc-gb"
        self.items = len(self.films)
        self.complete = self.items >= self.benchmark_items

    def apply(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        suite = control_suite(env, "camera, colours and sky")
        mode = MODES[int(suite.physics.model.cam_mode[suite.camera])]
        if suite.domain not in DOMAINS or mode not in (FIXED, TRACKING):
            raise FovealError(f"distracting_cs is defined for the cameras of {', '.join(DOMAINS)} alone")
        return Distractions(env, suite, self.intensity, self.films)


def _register(intensity: float) -> None:
    films = FILMS[intensity]
    text = (
        f"Camera and colours wander at intensity {intensity}, and one of {films} films plays on the sky (Stone et al. "
        "2021, as in DMC-GB)."
    )
    members = {"intensity": intensity, "__doc__": text, "__module__": __name__}
    PERTURBATIONS.register(f"distracting_cs:{intensity}")(type(f"Distracting{intensity}", (DistractingSuite,), members))


for _intensity in FILMS:
    _register(_intensity)


@dataclass
class ColorWalk:
    """Colours of all materials, which wander within ``intensity`` of the model's own.

    Attributes:
        model: MuJoCo's.
        intensity: the furthest, in [0, 1] of each of red, green and blue.
    """

    model: Any
    intensity: float

    STEP: ClassVar[float] = 0.03
    """Standard deviation of a change, over the intensity."""

    def __post_init__(self) -> None:
        own = np.array(self.model.mat_rgba[:, :3])  # (materials, 3)
        self.low, self.high = (np.clip(own + way * self.intensity, 0.0, 1.0) for way in (-1, 1))
        self.rgb = own

    def begin(self, random: np.random.RandomState) -> None:
        """Colours of a new episode, uniform in their range."""
        self.rgb = self.low + random.uniform(size=self.low.shape) * (self.high - self.low)

    def step(self, random: np.random.RandomState) -> None:
        """A change."""
        self.rgb = np.clip(self.rgb + self.STEP * self.intensity * random.randn(*self.rgb.shape), self.low, self.high)

    def show(self) -> None:
        """Paint."""
        self.model.mat_rgba[:, :3] = self.rgb


class Distractions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """All three together.

    Args:
        env: single frames of a ``dmc/`` environment.
        suite: that environment itself.
        intensity: of camera and colours.
        films: for the sky.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], suite: ControlSuiteEnv, intensity: float, films: Films) -> None:
        super().__init__(env)
        self._physics = suite.physics
        self._floor = FLOOR.get(suite.domain, OTHER_FLOOR)
        upright = suite.domain != "reacher"
        self._camera = CameraWalk(Camera(suite.physics, suite.camera), intensity, upright=upright)
        self._colors = ColorWalk(suite.physics.model, intensity)
        self._sky = Sky(suite.physics, films)
        self._steps = 0
        self._begun = False
        self._random = np.random.RandomState()
        suite.scene = self

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._random.seed(seed % 2**32)
        return self.env.reset(seed=seed, options=options)

    def begin(self) -> None:
        """Draw an episode's film, camera and colours."""
        self._steps, self._begun = 0, True
        self._physics.named.model.mat_rgba["grid", "a"] = self._floor
        self._sky.begin(self._random)
        self._camera.begin(self._random)
        self._colors.begin(self._random)

    def advance(self) -> None:
        """A step of the simulator."""
        self._steps += 1
        if self._steps % EVERY == 0:
            self._sky.step()
            self._camera.step(self._random)
            self._colors.step(self._random)

    def show(self) -> None:
        """Put everything where the next picture sees it."""
        self._sky.show()
        self._camera.show()
        self._colors.show()

    def get_state(self) -> dict[str, Any]:
        return {
            "random": self._random.get_state(legacy=False),
            "steps": self._steps,
            "begun": self._begun,
            "camera": self._camera.get_state(),
            "rgb": self._colors.rgb.copy(),
            "sky": self._sky.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        self._random.set_state(state["random"])
        self._steps, self._begun = int(state["steps"]), bool(state["begun"])
        self._camera.set_state(state["camera"])
        self._colors.rgb = np.array(state["rgb"], np.float64)
        self._sky.set_state(state["sky"])
        if self._begun:
            self.show()
