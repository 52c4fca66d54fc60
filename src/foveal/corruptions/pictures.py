"""Pictures of other places that stand still, pan, or change with every frame."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from foveal.augmentations import PictureBank
from foveal.augmentations import pictures as bank_of
from foveal.corruptions.base import Corruption, CorruptionOptions, Drawn, Frames, looked_up, uniform

FASTEST = 0.04
"""How far a picture pans in an agent step at most, in sides of the frame."""


class PictureCorruption(Corruption):
    """A corruption that shows pictures of other places.

    Attributes:
        motion: "still", "pan" (the picture drifts, mirrored at its borders) or "flicker" (another for every frame).
    """

    motion: ClassVar[str] = "pan"

    def __init__(self, options: CorruptionOptions) -> None:
        super().__init__(options)
        self._bank = _bank(options)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """A picture for each episode, and how it moves."""
        speed = FASTEST * self.size if self.motion == "pan" else 0.0
        return {
            "picture": self._bank.sample(count, generator),  # (B, 3, size, size)
            "velocity": uniform(count, -speed, speed, (2,), generator),  # (B, 2), pixels an agent step
        }

    def pictures(self, frames: Frames, drawn: Drawn) -> Tensor:
        """What is seen of them in these frames, (B, 3, size, size)."""
        if self.motion == "flicker":
            return self._bank.sample(len(frames.pixels), frames.generator)
        moved = (drawn["velocity"] * frames.time[:, None]).round().long()  # (B, 2)
        return panned(drawn["picture"], moved)


@lru_cache(maxsize=2)
def _bank(options: CorruptionOptions) -> PictureBank:
    """One for all corruptions of equal options."""
    return bank_of(options.pictures, options.size, options.picture_count, seed=options.seed, device=options.device)


def panned(picture: Tensor, moved: Tensor) -> Tensor:
    """(B, 3, S, S) pictures seen from (B, 2) pixels further down and right; at a border they go on as in a mirror."""
    size = picture.shape[-1]
    place = (torch.arange(size, device=picture.device) + moved[..., None]) % (2 * size)  # (B, 2, S)
    return looked_up(picture, *torch.where(place < size, place, 2 * size - 1 - place).unbind(1))
