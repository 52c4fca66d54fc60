"""More or less light than in training: brightness, and a scene so dark that the sensor's noise shows."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, Corruption, Drawn, Frames, signs

WHITE = 255.0


@CORRUPTIONS.register("brightness")
class Brightness(Corruption):
    """All shades brighter or darker by as much; the strength is that, in ranges from black to white."""

    levels = (0.06, 0.12, 0.2, 0.3, 0.42)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """In which direction."""
        return {"sign": signs(count, (1, 1, 1), generator)}

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Added to every channel."""
        return frames.pixels + WHITE * frames.strength * drawn["sign"]


@CORRUPTIONS.register("low_light")
class LowLight(Corruption):
    """Little light, with a sensor's noise; the strength is the share of the light that is missing.

    The noise is Poissonian-Gaussian (Foi, Trimeche, Katkovnik and Egiazarian, IEEE TIP 2008): its variance is a
    pixel's signal in electrons and a constant, the readout's. The Poisson part is drawn as a Gaussian of its variance.
    """

    levels = (0.3, 0.5, 0.65, 0.8, 0.9)
    electrons = 400.0
    """Of a white pixel in full light."""
    readout = 3.0
    """Electrons, the standard deviation of reading a pixel."""

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Darker, and noise anew for every frame."""
        signal = self.electrons * (1.0 - frames.strength) * frames.pixels / WHITE  # electrons
        noise = torch.randn(signal.shape, generator=frames.generator, device=signal.device)
        return (signal + noise * (signal + self.readout**2).sqrt()) * WHITE / self.electrons
