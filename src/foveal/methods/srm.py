"""SRM: spectrum random masking (Huang et al., NeurIPS 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from foveal.augmentations import mask_spectrum, random_rings
from foveal.config.bounds import SHARE
from foveal.methods.base import METHODS, Setup
from foveal.methods.drq import DrQ, DrQConfig
from foveal.types import Batch


@dataclass(frozen=True)
class SRMConfig(DrQConfig, section="srm"):
    """Hyperparameters of SRM.

    Attributes:
        probability: of masking a batch.
    """

    probability: Annotated[float, SHARE] = 0.5


@METHODS.register("srm")
class SRM(DrQ):
    """Critic and actor learn from shifted observations, in half of the batches without a ring of their frequencies.

    The target sees the next observation with all frequencies.
    """

    Config = SRMConfig
    config: SRMConfig

    def __init__(self, config: SRMConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self._frame_channels = setup.frame_channels

    def prepare(self, batch: Batch) -> Batch:
        """A random shift of each of the two observations, then one ring for the batch's first ones."""
        shifted = super().prepare(batch)
        image = shifted.obs.image
        masked = torch.rand((), generator=self.generator, device=image.device) < self.config.probability
        # A ring of no frequency changes nothing, so that no value is read from the device to choose.
        ring = random_rings(1, image.shape[2], image.shape[3], self.generator) & masked  # (1, 1, H, W // 2 + 1), ()
        return shifted.replace(obs=shifted.obs._replace(image=mask_spectrum(image, ring, self._frame_channels)))
