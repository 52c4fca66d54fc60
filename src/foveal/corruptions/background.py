"""Other backgrounds: a picture stands, pans or flickers behind the task, wholly or in part."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, Drawn, Frames, uniform
from foveal.corruptions.pictures import PictureCorruption

EDGE = 12.0
"""Steepness of the border between the two backgrounds, in units of a side."""


class Background(PictureCorruption):
    """A picture behind the task's own pixels; the severity is its opacity."""

    levels = (0.4, 0.6, 0.8, 0.9, 1.0)
    needs_mask = True

    def opacity(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Of the picture, (B, 1, 1, 1) or (B, 1, H, W)."""
        return frames.strength

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """The picture where the task is not."""
        assert frames.mask is not None  # ``needs_mask``
        shown = self.opacity(frames, drawn) * (1.0 - frames.mask)  # (B, 1, H, W)
        return torch.lerp(frames.pixels, self.pictures(frames, drawn), shown)


@CORRUPTIONS.register("background")
class StillBackground(Background):
    """A picture stands behind the task."""

    motion = "still"


@CORRUPTIONS.register("background_pan")
class PanningBackground(Background):
    """A picture drifts behind the task."""


@CORRUPTIONS.register("background_flicker")
class FlickeringBackground(Background):
    """Behind the task is another picture in every frame."""

    motion = "flicker"


@CORRUPTIONS.register("background_part")
class PartialBackground(Background):
    """A picture drifts behind the task on one side of a line; the severity is the side's share of the frame."""

    levels = (0.2, 0.35, 0.5, 0.65, 0.8)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """A picture, and the direction of the line."""
        return {**super().draw(count, generator), "angle": uniform(count, 0.0, 2 * torch.pi, (), generator)}

    def opacity(self, frames: Frames, drawn: Drawn) -> Tensor:
        """1 on the picture's side of the line, with a soft border."""
        axis = torch.linspace(-0.5, 0.5, self.size, device=frames.pixels.device)
        angle = drawn["angle"][:, None, None, None]
        height = torch.cos(angle) * axis + torch.sin(angle) * axis[:, None]  # (B, 1, H, W)
        return torch.sigmoid(EDGE * (height - 0.5 + frames.strength))
