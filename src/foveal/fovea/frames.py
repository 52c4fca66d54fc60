"""Frames of the trained look, and which of their pixels are the task's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class FrameSet:
    """Frames of episodes, one after the other.

    Attributes:
        pixels: (N, 3, H, W) ``uint8``.
        masks: (N, H, W) bool, the task's own pixels; none where nobody was asked yet.
        episodes: (N,) the number of each frame's episode.
    """

    pixels: Tensor
    masks: Tensor
    episodes: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def divided(self, share: float) -> tuple[FrameSet, FrameSet]:
        """All but the last episodes, and these: about ``share`` of the frames, at least one episode."""
        first = int(self.episodes[round((1.0 - share) * (len(self) - 1))])
        kept = self.episodes >= max(first, int(self.episodes[0]) + 1)
        return self._where(~kept), self._where(kept)

    def _where(self, chosen: Tensor) -> FrameSet:
        return FrameSet(self.pixels[chosen], self.masks[chosen], self.episodes[chosen])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As NumPy's."""
        return {name: tensor.numpy() for name, tensor in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> FrameSet:
        """The inverse of ``arrays``."""
        return cls(*(torch.from_numpy(np.array(arrays[name])) for name in ("pixels", "masks", "episodes")))


def in_random_order(pixels: Tensor, masks: Tensor, episodes: Tensor, seed: int) -> FrameSet:
    """Whole episodes in a random order, so that any part has some of each kind; see ``FrameSet``."""
    numbers = episodes.numpy()
    order = np.random.default_rng(seed).permutation(numbers[-1] + 1)[numbers]
    found = np.argsort(order, kind="stable")
    return FrameSet(pixels[found], masks[found], torch.from_numpy(order[found].astype(np.int64)))
