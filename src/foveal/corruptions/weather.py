"""Weather between the camera and the scene: fog, rain, snow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, Corruption, Drawn, Frames, looked_up, uniform

PATCHES = 5
"""Along a side, of a bank of fog that is thicker here and thinner there."""


@CORRUPTIONS.register("fog")
class Fog(Corruption):
    """Grey fog that moves slowly, thicker in places; the strength is its optical depth at the thickest.

    Koschmieder's law (1924): of a pixel exp(-depth) remains, and the rest is the fog's own light. As nobody knows how
    far away things are, the depth is the fog's alone.
    """

    levels = (0.25, 0.5, 0.85, 1.3, 2.0)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """Two banks, between which the fog goes back and forth, and its light."""
        return {
            "banks": uniform(count, 0.6, 1.0, (2, PATCHES, PATCHES), generator),
            "phase": uniform(count, 0.0, 2 * torch.pi, (1, 1, 1), generator),
            "light": uniform(count, 190.0, 240.0, (1, 1, 1), generator),
        }

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Thicker and thinner within a minute or so of agent steps."""
        banks = F.interpolate(drawn["banks"], (self.size, self.size), mode="bilinear", align_corners=False)
        share = 0.5 + 0.5 * torch.sin(0.05 * frames.time[:, None, None, None] + drawn["phase"])
        depth = frames.strength * torch.lerp(banks[:, :1], banks[:, 1:], share)  # (B, 1, H, W)
        return torch.lerp(drawn["light"].expand_as(frames.pixels), frames.pixels, (-depth).exp())


class Falling(Corruption):
    """Bright things that fall past the camera; the strength is how many there are, by pixel.

    Attributes:
        length: of what one leaves on a frame, in sides of the frame; along the fall.
        speed: of the fall, in sides of the frame an agent step.
        opacity: of one.
        color: grey level of one.
    """

    length: float
    speed: float
    opacity: float
    color: float
    wide = 1

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """Where they are, which repeats itself above and beside the frame, and how slanted they fall."""
        return {
            "field": uniform(count, 0.0, 1.0, (self.size, self.size), generator),
            "slant": uniform(count, -0.4, 0.4, (), generator),
        }

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Each covers pixels along its fall."""
        there = (drawn["field"] < frames.strength[:, 0]).float()  # (B, S, S)
        fallen = (self.speed * self.size * frames.time).round()  # (B,)
        covered = torch.zeros_like(there)
        for further in range(max(1, round(self.length * self.size))):
            down = fallen + further
            covered = torch.maximum(covered, moved(there, down.long(), (drawn["slant"] * down).round().long()))
        covered = F.max_pool2d(covered[:, None], self.wide, 1, self.wide // 2)  # (B, 1, S, S)
        return torch.lerp(frames.pixels, torch.full_like(frames.pixels, self.color), self.opacity * covered)


@CORRUPTIONS.register("rain")
class Rain(Falling):
    """Streaks of rain, others in every frame; the strength is how many drops there are, by pixel."""

    levels = (0.001, 0.0025, 0.005, 0.01, 0.02)
    length, speed, opacity, color = 0.08, 0.29, 0.6, 220.0


@CORRUPTIONS.register("snow")
class Snow(Falling):
    """Flakes of snow; the strength is how many there are, by pixel."""

    levels = (0.001, 0.003, 0.007, 0.015, 0.03)
    length, speed, opacity, color = 0.0, 0.06, 0.9, 250.0
    wide = 3


def moved(field: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """(B, S, S) fields that repeat themselves, each moved by whole pixels: (B,) down and (B,) right."""
    size = field.shape[-1]
    axis = torch.arange(size, device=field.device)
    return looked_up(field[:, None], (axis - down[:, None]) % size, (axis - right[:, None]) % size)[:, 0]
