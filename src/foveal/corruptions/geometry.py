"""A camera that was mounted otherwise: turned, or nearer or farther. How it is knocked aside is ``shift``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, Corruption, Drawn, Frames, signs


@CORRUPTIONS.register("rotate")
class Rotate(Corruption):
    """Turned about the picture's centre, either way; the strength is the angle in degrees."""

    levels = (2.0, 5.0, 10.0, 16.0, 25.0)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """In which direction."""
        return {"sign": signs(count, (), generator)}

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Bilinear; borders go on as they end."""
        angle = torch.deg2rad(frames.strength[:, 0, 0, 0]) * drawn["sign"]  # (B,)
        zero = torch.zeros_like(angle)
        rows = [torch.stack([angle.cos(), -angle.sin(), zero], 1), torch.stack([angle.sin(), angle.cos(), zero], 1)]
        return sampled(frames.pixels, torch.stack(rows, 1))


@CORRUPTIONS.register("zoom")
class Zoom(Corruption):
    """Nearer or farther: enlarged or reduced by e to the power of the strength."""

    levels = (0.04, 0.08, 0.14, 0.22, 0.32)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """In which direction."""
        return {"sign": signs(count, (), generator)}

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """About the picture's centre, bilinear; borders go on as they end."""
        scale = (-frames.strength[:, 0, 0, 0] * drawn["sign"]).exp()  # (B,)
        same = torch.eye(2, 3, device=scale.device)
        return sampled(frames.pixels, scale[:, None, None] * same)


def sampled(pixels: Tensor, places: Tensor) -> Tensor:
    """Pictures looked up elsewhere, bilinearly.

    Args:
        pixels: (B, C, H, W).
        places: (B, 2, 3), affine maps of (x, y, 1) in [-1, 1], -1 and 1 being the outer edges, to where to look.

    Returns:
        (B, C, H, W); beyond its borders a picture goes on as it ends.
    """
    grid = F.affine_grid(places, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
