"""DMC-GB's ``color_easy``: the suite's colours with noise of standard deviation 0.1."""

from __future__ import annotations

from foveal.envs.perturbations.base import PERTURBATIONS
from foveal.envs.perturbations.colors import ColorPerturbation


@PERTURBATIONS.register("color_easy")
class ColorEasy(ColorPerturbation):
    """Colours of floor, sky and agent drawn at each reset from the benchmark's file ``color_easy.pt``, or generated."""

    name = "color_easy"
    spread = 0.1
