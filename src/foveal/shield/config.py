"""How a shield is built and trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foveal.config.bounds import one_of
from foveal.fovea.config import FoveaConfig
from foveal.fovea.restoring import OUTPUTS, RESTORED

SIMULATOR, MOTION, SALIENCY, FILES = "simulator", "motion", "saliency", "files"
MASKS = (SIMULATOR, MOTION, SALIENCY, FILES)


@dataclass(frozen=True)
class ShieldConfig(FoveaConfig, section="shield"):
    """A shield's network and training, beside ``FoveaConfig``'s.

    Attributes:
        output: what policies are given: the "restored" frame, the frame as it came but "masked", black outside the
            task, or the "foreground" of the restored one, which is both.
        masks: who tells which pixels are the task's: the "simulator", "motion" before a still camera, the "saliency" of
            a policy, or "files", masks that somebody drew. Results with the simulator's are privileged.
    """

    output: Annotated[str, one_of(*OUTPUTS)] = RESTORED
    masks: Annotated[str, one_of(*MASKS)] = SIMULATOR
