"""DMC-GB's ``color_easy`` and ``color_hard``: random colours of floor, sky and agent, drawn anew for each episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from foveal.envs.perturbations.base import PERTURBATIONS, Perturbation, control_suite
from foveal.envs.perturbations.benchmark_files import read_colors
from foveal.envs.perturbations.repaint import repaint
from foveal.errors import FovealError

BENCHMARK_COLORS = 100
# The suite's own colours, from which the benchmark's differ by Gaussian noise.
STANDARD = {"grid_rgb1": (0.1, 0.2, 0.3), "skybox_rgb": (0.4, 0.6, 0.8), "self_rgb": (0.7, 0.5, 0.3)}
GRID_STEP = 0.1  # by which grid_rgb2 is lighter than grid_rgb1
PALETTE_SEED = 2021  # everybody gets the same generated colours, as with the benchmark's file

Palette = list[dict[str, NDArray[np.float64]]]


class ColorPerturbation(Perturbation):
    """Colours from the benchmark's file ``NAME.pt``, or generated: the suite's own with Gaussian noise.

    Attributes:
        name: of the perturbation.
        spread: standard deviation of the noise.
    """

    name: str
    spread: float

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(data)
        self.palette = generated_colors(self.spread) if data is None else read_colors(data / f"{self.name}.pt")
        self.source = "generated" if data is None else "dmc-gb"
        self.items, self.benchmark_items = len(self.palette), BENCHMARK_COLORS
        self.complete = len(self.palette) >= BENCHMARK_COLORS

    def apply(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        return RandomColors(env, self.palette)


@PERTURBATIONS.register("color_easy")
class ColorEasy(ColorPerturbation):
    """Colours near the suite's own (DMC-GB, Hansen and Wang 2021)."""

    name, spread = "color_easy", 0.1


@PERTURBATIONS.register("color_hard")
class ColorHard(ColorPerturbation):
    """Colours further from the suite's own (DMC-GB, Hansen and Wang 2021)."""

    name, spread = "color_hard", 0.2
    usual_for = ("dmc",)


def generated_colors(spread: float, count: int = BENCHMARK_COLORS, seed: int = PALETTE_SEED) -> Palette:
    """``count`` sets of colours: the suite's plus N(0, ``spread``), clipped to [0, 1]."""
    random = np.random.RandomState(seed)  # its streams never change between versions of NumPy
    palette = []
    for _ in range(count):
        colors = {name: np.clip(rgb + random.normal(0.0, spread, 3), 0.0, 1.0) for name, rgb in STANDARD.items()}
        colors["grid_rgb2"] = np.clip(colors["grid_rgb1"] + GRID_STEP, 0.0, 1.0)
        palette.append(colors)
    return palette


class RandomColors(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Paints grid, sky and body in one set of ``palette`` at each reset; the sky's rgb2 and the marks stay."""

    def __init__(self, env: gymnasium.Env[Any, Any], palette: Palette) -> None:
        super().__init__(env)
        self._suite = control_suite(env, "the colours")
        self._palette = palette
        self._random = np.random.RandomState()
        self._index: int | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._random.seed(seed % 2**32)
        self._paint(int(self._random.randint(len(self._palette))))
        return self.env.reset(seed=seed, options=options)

    def get_state(self) -> dict[str, Any]:
        return {"random": self._random.get_state(legacy=False), "index": self._index, "size": len(self._palette)}

    def set_state(self, state: dict[str, Any]) -> None:
        if state["size"] != len(self._palette):
            raise FovealError(f"this state drew from {state['size']} colours, and there are {len(self._palette)} here")
        self._random.set_state(state["random"])
        if state["index"] is not None:
            self._paint(int(state["index"]))

    def _paint(self, index: int) -> None:
        colors = self._palette[index]
        self._index = index
        textures = {
            "grid": {"rgb1": colors["grid_rgb1"], "rgb2": colors["grid_rgb2"]},
            "skybox": {"rgb1": colors["skybox_rgb"]},
        }
        repaint(self._suite.physics, textures, colors["self_rgb"])
