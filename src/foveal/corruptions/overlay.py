"""A picture of another place, seen through: reflections, double exposures (as SODA and SVEA train with)."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, Drawn, Frames
from foveal.corruptions.pictures import PictureCorruption


@CORRUPTIONS.register("overlay")
class Overlay(PictureCorruption):
    """A drifting picture is laid over everything; the severity is its weight."""

    levels = (0.1, 0.2, 0.3, 0.4, 0.5)

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Both, by weight."""
        return torch.lerp(frames.pixels, self.pictures(frames, drawn), frames.strength)
