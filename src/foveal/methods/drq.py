"""DrQ: random shift of what the critic learns from (Kostrikov, Yarats and Fergus, ICLR 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foveal.augmentations import random_shift
from foveal.config.bounds import Bounded, at_least
from foveal.methods.base import METHODS, Method
from foveal.types import Batch


@dataclass(frozen=True)
class DrQConfig(Bounded, section="drq"):
    """Hyperparameters of DrQ, with one draw for the target and one for the value (K = M = 1), as DMC-GB runs it.

    Attributes:
        shift: pad of the random shift, in pixels.
    """

    shift: Annotated[int, at_least(0)] = 4


@METHODS.register("drq")
class DrQ(Method):
    """The learner on randomly shifted observations, and nothing else."""

    Config = DrQConfig
    config: DrQConfig
    capturable = True
    presets = {"compact": {"shift": 2}}

    def prepare(self, batch: Batch) -> Batch:
        """A random shift of each of the two observations."""
        return batch.with_images(lambda image: random_shift(image, self.config.shift, self.generator))
