"""RAD: reinforcement learning on augmented data (Laskin et al., NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from foveal.augmentations import AUGMENTATIONS, center_translate, random_translate
from foveal.config.bounds import Bounded, Names
from foveal.methods.base import METHODS, Requirements, Setup, StrongAugmentation
from foveal.methods.cropping import Cropping
from foveal.types import Batch, Observation

MOVES = ("crop", "translate")
"""Augmentations that need pictures of another size than the encoder's input."""
TRANSLATE_RATIO = 100 / 108
"""Side of the rendered picture over the side of the black square in which it moves."""
CHOICE = Names(lambda: [*MOVES, *AUGMENTATIONS.names()])


@dataclass(frozen=True)
class RADConfig(Bounded, section="rad"):
    """Hyperparameters of RAD.

    Attributes:
        augmentation: what both observations go through: ``"crop"``, as in DMC-GB; ``"translate"``; or a strong
            augmentation by name.
    """

    augmentation: Annotated[str, CHOICE] = "crop"


@METHODS.register("rad")
class RAD(Cropping):
    """The learner on augmented observations, and nothing else."""

    Config = RADConfig
    config: RADConfig
    capturable = True

    def __init__(self, config: RADConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        if config.augmentation not in MOVES:
            self.augment = StrongAugmentation(config.augmentation, setup.augmentation)

    @classmethod
    def requirements(cls, config: RADConfig, image_size: int) -> Requirements:
        """Pictures larger than the network's input to crop, and smaller ones to translate."""
        if config.augmentation == "crop":
            return super().requirements(config, image_size)
        ratio = TRANSLATE_RATIO if config.augmentation == "translate" else 1.0
        return Requirements(render_size=round(image_size * ratio))

    def observe(self, obs: Observation) -> Observation:
        """The centre of a larger picture, a smaller one in the middle of a black square, any other as it is."""
        if obs.image.shape[-1] < self.size:
            return obs._replace(image=center_translate(obs.image, self.size))
        return super().observe(obs)

    def prepare(self, batch: Batch) -> Batch:
        """Both observations augmented, each by draws of its own; but a translation is the same for both."""
        augment = self.augment
        if augment is not None:
            return batch.with_images(lambda image: augment(image, self.generator))
        if self.config.augmentation == "translate":
            both = torch.cat([batch.obs.image, batch.next_obs.image], dim=1)  # (B, 2 C, H, W): they move together
            moved = iter(random_translate(both, self.size, self.generator).chunk(2, dim=1))
            return batch.with_images(lambda _: next(moved))
        return super().prepare(batch)
