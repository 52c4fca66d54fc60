"""What a camera does to a picture: blur, noise, compression, a knock."""

from __future__ import annotations

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, Corruption, Drawn, Frames, looked_up, uniform


@CORRUPTIONS.register("blur")
class Blur(Corruption):
    """Out of focus: a Gaussian filter whose standard deviation is the strength, in sides of the frame."""

    levels = (0.008, 0.014, 0.02, 0.028, 0.04)
    reach = 3

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Along rows, then along columns; borders go on as they end."""
        count, sigma = len(frames.pixels), frames.strength[:, 0, 0] * self.size  # (B, 1)
        radius = max(1, round(self.reach * max(self.levels) * self.size))
        offsets = torch.arange(-radius, radius + 1, device=sigma.device)
        kernel = (-0.5 * (offsets / sigma).square()).softmax(1).repeat_interleave(3, 0)  # (3 * B, 2 * radius + 1)
        pixels = F.pad(frames.pixels, (radius,) * 4, mode="replicate").flatten(0, 1)[None]  # (1, 3 * B, h, w)
        pixels = F.conv2d(pixels, kernel[:, None, None], groups=3 * count)
        return F.conv2d(pixels, kernel[:, None, :, None], groups=3 * count)[0].unflatten(0, (count, 3))


@CORRUPTIONS.register("noise")
class Noise(Corruption):
    """Gaussian noise, anew for every frame; the strength is its standard deviation in levels of 255."""

    levels = (5.0, 10.0, 18.0, 28.0, 40.0)

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Independent in every channel of every pixel."""
        noise = torch.randn(frames.pixels.shape, generator=frames.generator, device=frames.pixels.device)
        return frames.pixels + frames.strength * noise


@CORRUPTIONS.register("jpeg")
class JPEG(Corruption):
    """Compressed by JPEG; the strength is 100 minus its quality."""

    levels = (40.0, 60.0, 75.0, 85.0, 92.0)

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """Through Pillow's encoder and decoder, on the CPU."""
        pixels = frames.pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, 3)
        qualities = [100 - round(strength) for strength in frames.strength.flatten().tolist()]
        done = np.stack([_compressed(*each) for each in zip(pixels, qualities, strict=True)])
        return torch.from_numpy(done).permute(0, 3, 1, 2).to(frames.pixels)


def _compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    memory = io.BytesIO()
    Image.fromarray(pixels).save(memory, "JPEG", quality=quality)
    return np.asarray(Image.open(memory))


@CORRUPTIONS.register("shift")
class Shift(Corruption):
    """The camera was knocked: the picture moves by whole pixels, and its borders go on as they end."""

    levels = (0.02, 0.04, 0.06, 0.09, 0.12)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """In which direction."""
        return {"angle": uniform(count, 0.0, 2 * torch.pi, (1,), generator)}

    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """By the strength, in sides of the frame."""
        distance = frames.strength[:, :, 0, 0] * self.size  # (B, 1)
        moved = (
            torch.cat([distance * drawn["angle"].sin(), distance * drawn["angle"].cos()], 1).round().long()
        )  # (B, 2)
        place = torch.arange(self.size, device=moved.device) + moved[..., None]  # (B, 2, S)
        return looked_up(frames.pixels, *place.clamp(0, self.size - 1).unbind(1))
