"""Other light: gamma, contrast, a lamp at one side, a shadow that passes."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, Corruption, Drawn, Frames, uniform


@CORRUPTIONS.register("gamma")
class Gamma(Corruption):
    """A camera's other exposure: brighter or darker shades, black and white as they are."""

    levels = (0.15, 0.3, 0.5, 0.7, 1.0)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """In which direction, and how far."""
        return {"power": uniform(count, -1.0, 1.0, (1, 1, 1), generator)}

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Raised to a power between 1 / e and e."""
        return 255.0 * (frames.pixels / 255.0) ** (frames.strength * drawn["power"]).exp()


@CORRUPTIONS.register("contrast")
class Contrast(Corruption):
    """A paler picture: everything nearer to the frame's mean."""

    levels = (0.15, 0.3, 0.45, 0.6, 0.75)

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """By the strength."""
        return torch.lerp(frames.pixels, frames.pixels.mean((1, 2, 3), keepdim=True), frames.strength)


@CORRUPTIONS.register("lamp")
class Lamp(Corruption):
    """Light from one side: brighter there and darker on the other."""

    levels = (0.15, 0.3, 0.45, 0.6, 0.8)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """From where."""
        return {"angle": uniform(count, 0.0, 2 * torch.pi, (1, 1, 1), generator)}

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """A slope of brightness across the frame."""
        return frames.pixels * (1.0 + frames.strength * across(self.size, drawn["angle"]))


@CORRUPTIONS.register("shadow")
class Shadow(Corruption):
    """A band of shadow with soft borders passes over the scene."""

    levels = (0.2, 0.35, 0.5, 0.65, 0.8)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """Where it is at first, how wide and how fast it is."""
        return {
            "angle": uniform(count, 0.0, 2 * torch.pi, (1, 1, 1), generator),
            "place": uniform(count, -1.0, 1.0, (1, 1, 1), generator),
            "width": uniform(count, 0.2, 0.5, (1, 1, 1), generator),
            "speed": uniform(count, 0.0, 0.05, (1, 1, 1), generator),
        }

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Darker within the band, which comes again from the other side."""
        place = (drawn["place"] + drawn["speed"] * frames.time[:, None, None, None] + 1.5) % 3.0 - 1.5
        distance = (across(self.size, drawn["angle"]) - place).abs()  # (B, 1, H, W)
        return frames.pixels * (1.0 - frames.strength * torch.sigmoid(20.0 * (drawn["width"] - distance)))


def across(size: int, angle: Tensor) -> Tensor:
    """How far each pixel lies in a direction, from -1 to 1 along a side: (B, 1, 1, 1) radians -> (B, 1, H, W)."""
    axis = torch.linspace(-1.0, 1.0, size, device=angle.device)
    return torch.cos(angle) * axis + torch.sin(angle) * axis[:, None]
