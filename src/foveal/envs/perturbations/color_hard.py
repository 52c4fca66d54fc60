"""DMC-GB's ``color_hard``: the suite's colours with noise of standard deviation 0.2."""

from __future__ import annotations

from foveal.envs.perturbations.base import PERTURBATIONS
from foveal.envs.perturbations.colors import ColorPerturbation


@PERTURBATIONS.register("color_hard")
class ColorHard(ColorPerturbation):
    """Colours of floor, sky and agent drawn at each reset from the benchmark's file ``color_hard.pt``, or generated."""

    name = "color_hard"
    spread = 0.2
