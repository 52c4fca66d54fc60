"""A picture of another place, seen through: reflections, double exposures (as SODA and SVEA train with)."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, Corruption, CorruptionOptions, Drawn, Frames
from foveal.corruptions.pictures import Places


@CORRUPTIONS.register("overlay")
class Overlay(Corruption):
    """A drifting picture is laid over everything; the severity is its weight."""

    levels = (0.1, 0.2, 0.3, 0.4, 0.5)

    def __init__(self, options: CorruptionOptions) -> None:
        super().__init__(options)
        self.places = Places(options, "pan")

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """A picture for each episode."""
        return self.places.draw(count, generator)

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Both, by weight."""
        return torch.lerp(frames.pixels, self.places.now(frames, drawn), frames.strength)
