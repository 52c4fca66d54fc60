"""Things that pass between the camera and the scene."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, Corruption, Drawn, Frames, uniform


@CORRUPTIONS.register("occluder")
class Occluder(Corruption):
    """An ellipse of one colour crosses the picture; the strength is its diameter in sides of the frame."""

    levels = (0.1, 0.16, 0.22, 0.3, 0.4)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """Where it is at first, how it moves, its shape and colour."""
        return {
            "place": uniform(count, -0.2, 1.2, (2,), generator),
            "velocity": uniform(count, -0.04, 0.04, (2,), generator),
            "stretch": uniform(count, -0.7, 0.7, (), generator),
            "color": uniform(count, 0.0, 255.0, (3, 1, 1), generator),
        }

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """It comes again from the other side."""
        place = (drawn["place"] + drawn["velocity"] * frames.time[:, None] + 0.2) % 1.4 - 0.2  # (B, 2)
        axis = (torch.arange(self.size, device=place.device) + 0.5) / self.size
        rows, columns = (axis - place[..., None]).unbind(1)  # (B, S) each
        stretch = drawn["stretch"].exp()[:, None]
        radius = frames.strength[:, 0, 0] / 2  # (B, 1)
        distance = (rows / radius * stretch).square()[:, :, None] + (columns / radius / stretch).square()[:, None]
        return torch.where((distance <= 1.0)[:, None], drawn["color"], frames.pixels)
