"""SVEA: stabilised Q-value estimation under augmentation (Hansen, Su and Wang, NeurIPS 2021)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from foveal.augmentations import ALL, AUGMENTATIONS
from foveal.config.bounds import at_least, registered
from foveal.errors import FovealError
from foveal.methods.base import METHODS, Setup, StrongAugmentation, View, clean_and_changed
from foveal.methods.drq import DrQ, DrQConfig
from foveal.types import Batch


@dataclass(frozen=True)
class SVEAConfig(DrQConfig, section="svea"):
    """Hyperparameters of SVEA; the defaults are the paper's.

    Attributes:
        clean_weight: weight of the TD loss on the observation as it is.
        augmented_weight: weight of the TD loss on the strongly augmented observation.
        augmentation: the strong augmentation, by name.
        mixture: what the augmentation "mixture" draws among for every sample, by name.
    """

    clean_weight: Annotated[float, at_least(0)] = 0.5
    augmented_weight: Annotated[float, at_least(0)] = 0.5
    augmentation: Annotated[str, registered(AUGMENTATIONS)] = "overlay"
    mixture: Annotated[tuple[str, ...], registered(AUGMENTATIONS)] = ALL

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mixture or "mixture" in self.mixture:
            raise FovealError(f"{self.section}.mixture must name at least one augmentation, and not itself")


@METHODS.register("svea")
class SVEA(DrQ):
    """The TD loss on the clean and on the strongly augmented observation, against one clean target (eq. 8)."""

    Config = SVEAConfig
    config: SVEAConfig
    augment: StrongAugmentation

    def __init__(self, config: SVEAConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        options = setup.augmentation
        if config.augmentation == "mixture":
            options = dataclasses.replace(options, mixture=config.mixture)
        self.augment = StrongAugmentation(config.augmentation, options)

    def views(self, batch: Batch) -> list[View]:
        return clean_and_changed(self, batch.obs, self.config.clean_weight, self.config.augmented_weight)
