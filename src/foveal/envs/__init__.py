"""Environments from pixels, and their visual perturbations at test time.

``make("dmc/walker-walk")`` gives what agents see. Importing this package also registers every id with Gymnasium
(``gymnasium.make("foveal/dmc-walker-walk-v0")``) and imports no simulator.
"""

from __future__ import annotations

from foveal.envs.family import FAMILIES, EnvOptions, Family, known_ids
from foveal.envs.making import make, register_gymnasium_ids
from foveal.envs.perturbations.base import PERTURBATIONS, Perturbation
from foveal.envs.pixel import EnvInfo, PixelEnv
from foveal.envs.vector import PixelProcesses, PixelVector, make_vector

__all__ = [
    "FAMILIES",
    "PERTURBATIONS",
    "EnvInfo",
    "EnvOptions",
    "Family",
    "Perturbation",
    "PixelEnv",
    "PixelProcesses",
    "PixelVector",
    "known_ids",
    "make",
    "make_vector",
]

register_gymnasium_ids()
