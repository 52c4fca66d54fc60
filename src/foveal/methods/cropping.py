"""What RAD, CURL, PAD and SODA have in common: pictures are rendered larger than the encoder's input, and cropped."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from foveal.augmentations import center_crop, random_crop
from foveal.methods.base import Method, Requirements, Setup
from foveal.types import Batch, Observation

RENDER_RATIO = 100 / 84
"""Side of the rendered picture over the side of its crop."""


class Cropping(Method):
    """A method that trains on random crops and acts on the centre (RAD, Laskin et al., NeurIPS 2020).

    Attributes:
        size: side of the encoder's input in pixels.
    """

    def __init__(self, config: Any, setup: Setup) -> None:
        super().__init__(config, setup)
        self.size = setup.image_shape[1]

    @classmethod
    def requirements(cls, config: Any, image_size: int) -> Requirements:
        """Pictures larger than the network's input, to take crops from: 100 pixels for 84."""
        return Requirements(render_size=round(image_size * RENDER_RATIO))

    def observe(self, obs: Observation) -> Observation:
        """The centre of a picture, unless it has been cropped already."""
        if obs.image.shape[-1] == self.size:
            return obs
        return obs._replace(image=center_crop(obs.image, self.size))

    def prepare(self, batch: Batch) -> Batch:
        """A random crop of each of the two observations; all frames of a sample are cropped alike."""
        return batch.with_images(self.crop)

    def crop(self, image: Tensor) -> Tensor:
        """A random window of its own in every sample: (B, C, H, W) -> (B, C, size, size)."""
        return random_crop(image, self.size, self.generator)
