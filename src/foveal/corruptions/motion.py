"""The camera, or all that it sees, moves while the shutter is open."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, Corruption, Drawn, Frames, uniform
from foveal.corruptions.geometry import sampled


@CORRUPTIONS.register("motion_blur")
class MotionBlur(Corruption):
    """Blurred along a line; the strength is its length in sides of the frame."""

    levels = (0.03, 0.06, 0.1, 0.15, 0.22)
    exposures = 15

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """The line's direction."""
        return {"angle": uniform(count, 0.0, torch.pi, (), generator)}

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """The mean of the picture at even distances along the line, centred on where it was."""
        length = 2.0 * frames.strength[:, 0, 0, 0]  # (B,), in the units of ``sampled``, whose side is 2
        step = torch.stack([length * drawn["angle"].cos(), length * drawn["angle"].sin()], 1)  # (B, 2): x, y
        same = torch.eye(2, device=step.device).expand(len(step), 2, 2)
        total = torch.zeros_like(frames.pixels)
        for place in torch.linspace(-0.5, 0.5, self.exposures).tolist():
            total += sampled(frames.pixels, torch.cat([same, place * step[..., None]], 2))
        return total / self.exposures
