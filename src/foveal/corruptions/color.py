"""Other colours: of the light, of everything, or of the task and its surroundings each."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, Corruption, Drawn, Frames, signs, uniform


@CORRUPTIONS.register("tint")
class Tint(Corruption):
    """Light of another colour: each channel is multiplied, by up to e to the power of the strength."""

    levels = (0.1, 0.2, 0.35, 0.5, 0.7)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """How much each channel is in for."""
        return {"gain": uniform(count, -1.0, 1.0, (3, 1, 1), generator)}

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Channel by channel."""
        return frames.pixels * (frames.strength * drawn["gain"]).exp()


@CORRUPTIONS.register("hue")
class Hue(Corruption):
    """Every hue turned by an angle about the grey axis; the strength is that angle in degrees, in either direction."""

    levels = (20.0, 40.0, 70.0, 110.0, 160.0)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """In which direction."""
        return {"sign": signs(count, (), generator)}

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Rodrigues' rotation about (1, 1, 1) / sqrt(3)."""
        angle = torch.deg2rad(frames.strength[:, :, 0, 0] * drawn["sign"][:, None])[..., None]  # (B, 1, 1)
        cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], device=angle.device) / math.sqrt(3)
        same, mean = torch.eye(3, device=angle.device), torch.full((3, 3), 1 / 3, device=angle.device)
        turn = angle.cos() * same + angle.sin() * cross + (1 - angle.cos()) * mean  # (B, 3, 3)
        return torch.einsum("bij,bjhw->bihw", turn, frames.pixels)


@CORRUPTIONS.register("recolor")
class Recolor(Corruption):
    """The task and its surroundings change colour, each in its own way: a gain and an offset for every channel."""

    levels = (0.1, 0.2, 0.3, 0.45, 0.6)
    needs_mask = True

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """Of the surroundings and of the task, in this order."""
        return {
            "gain": uniform(count, -1.0, 1.0, (2, 3, 1, 1), generator),
            "offset": uniform(count, -0.5, 0.5, (2, 3, 1, 1), generator),
        }

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Each in its own colours."""
        assert frames.mask is not None  # ``needs_mask``
        strength = frames.strength[:, None]  # (B, 1, 1, 1, 1)
        gain, offset = (strength * drawn["gain"]).exp(), 255.0 * strength * drawn["offset"]  # (B, 2, 3, 1, 1)
        around, task = (frames.pixels[:, None] * gain + offset).clamp(0.0, 255.0).unbind(1)
        return torch.lerp(around, task, frames.mask)
