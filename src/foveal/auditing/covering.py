"""What becomes of whole episodes when the pixels that a map marks are blurred, or all others: the test in behaviour."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.auditing.cameras import Camera, replaced
from foveal.auditing.changing import Mask
from foveal.saliency.faithfulness import shifted, top
from foveal.saliency.values import blurred

SHARE = 0.2
"""Of the picture: what counts as salient."""
SALIENT, OTHERS, ELSEWHERE = "salient", "others", "elsewhere"
COVERED = {
    SALIENT: "the most salient fifth of the picture is blurred",
    OTHERS: "all but the most salient fifth is blurred",
    ELSEWHERE: "a fifth elsewhere is blurred: the same pixels, all shifted",
}


@dataclass
class Covering:
    """Blurs part of every picture before the policy sees it.

    Args:
        strengths: observations as the policy takes them -> (B, H, W), how much each pixel matters.
        camera: the picture.
        which: one of ``COVERED``.
    """

    strengths: Callable[[Sequence[Any]], Tensor]
    camera: Camera
    which: str
    _episode: int = field(default=-1, init=False)

    def begin(self) -> None:
        """A new episode, with another shift."""
        self._episode += 1

    def __call__(self, given: Any) -> Any:
        """The observation with all frames of its stack blurred there."""
        strength = self.strengths([given])
        if self.which == ELSEWHERE:
            strength = shifted(strength, torch.Generator().manual_seed(self._episode))
        salient = top(strength, SHARE)
        covered = ~salient if self.which == OTHERS else salient
        frames = torch.from_numpy(self.camera.read(given)).float()  # (K, 3, H, W)
        shown = torch.where(covered[:, None], blurred(frames), frames)
        written = self.camera.written(shown.round().clamp(0, 255).to(torch.uint8).numpy())
        return replaced(given, self.camera.path, written)


@dataclass
class Sampling:
    """Keeps some observations of every episode, as the policy takes them, and changes none.

    Args:
        wanted: at which agent steps, of each episode.
        mask: tells which pixels of the present frame are the task's own.
    """

    wanted: Sequence[Container[int]]
    mask: Callable[[], Mask | None] = lambda: None
    kept: list[list[tuple[Any, Mask | None]]] = field(default_factory=list, init=False)
    _step: int = field(default=0, init=False)

    def begin(self) -> None:
        self.kept.append([])
        self._step = 0

    def __call__(self, given: Any) -> Any:
        if self._step in self.wanted[len(self.kept) - 1]:
            mask = self.mask()
            self.kept[-1].append((copied(given), None if mask is None else mask.copy()))
        self._step += 1
        return given


def evenly(length: int, count: int) -> set[int]:
    """Steps at even distances, neither the first nor the last where there are others."""
    return set(np.linspace(0, length - 1, count + 2)[1:-1].round().astype(int).tolist())


def copied(given: Any) -> Any:
    """An observation that nobody else writes to."""
    if isinstance(given, dict):
        return {name: copied(entry) for name, entry in given.items()}
    return np.array(given)
