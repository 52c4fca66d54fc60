"""Pictures of other places that stand still, pan, or change with every frame."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from foveal.augmentations import PictureBank
from foveal.augmentations import pictures as bank_of
from foveal.corruptions.base import CorruptionOptions, Drawn, Frames, uniform

FASTEST = 0.04
"""How far a picture pans in an agent step at most, in sides of the frame."""


class Places:
    """Pictures for corruptions that show other places.

    Args:
        options: of the corruption.
        motion: "still", "pan" (the picture drifts, mirrored at its borders) or "flicker" (another for every frame).
    """

    def __init__(self, options: CorruptionOptions, motion: str) -> None:
        self.motion = motion
        self.size = options.size
        self._bank = _bank(options)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """A picture for each episode, and how it moves."""
        speed = FASTEST * self.size if self.motion == "pan" else 0.0
        return {
            "picture": self._bank.sample(count, generator),  # (B, 3, size, size)
            "velocity": uniform(count, -speed, speed, (2,), generator),  # (B, 2), pixels an agent step
        }

    def now(self, frames: Frames, drawn: Drawn) -> Tensor:
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
    rows, columns = torch.where(place < size, place, 2 * size - 1 - place).unbind(1)  # (B, S) each
    sample = torch.arange(len(picture), device=picture.device)[:, None, None]
    return picture.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
