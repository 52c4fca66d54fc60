"""How good a shield is: errors, masks, and whether it knows when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.corruptions import CORRUPTIONS, Corruption, CorruptionOptions, corrupted
from foveal.fovea.frames import FrameSet
from foveal.shield.shield import Shield

AT_ONCE = 64
WORST = 0.1
"""The share of frames, those of the largest error, that doubt should point out."""


@dataclass(frozen=True)
class Measured:
    """What a shield made of frames under one corruption.

    Attributes:
        before: (N,), mean absolute error of the frames as they came, in levels of 255.
        after: (N,), that of the restored ones.
        overlap: intersection over union of the masks with the task's pixels, over all frames together.
        doubt: (N,), its own estimate of ``after``.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    overlap: float
    doubt: NDArray[np.float64]

    def as_dict(self) -> dict[str, float]:
        """Means, JSON-able."""
        means = {name: float(getattr(self, name).mean()) for name in ("before", "after", "doubt")}
        return {**means, "overlap": self.overlap}


def measure(
    shield: Shield, frames: FrameSet, corruption: str | Corruption | None = None, severity: int = 3, seed: int = 0
) -> Measured:
    """What a shield makes of frames under a corruption; None leaves them as they are."""
    made = corruption_for(shield, corruption, seed) if isinstance(corruption, str) else corruption
    parts: list[tuple[Tensor, ...]] = []
    both = either = 0
    for shown, pixels, masks in changed(frames, made, severity, seed):
        restored = shield.restore(shown)
        likely = torch.from_numpy(restored.masks > 0.5)
        both, either = both + int((likely & masks).sum()), either + int((likely | masks).sum())
        given = torch.from_numpy(restored.frames)
        parts.append((_error(shown, pixels), _error(given, pixels), torch.from_numpy(restored.doubt)))
    before, after, doubt = (torch.cat(column).double().numpy() for column in zip(*parts, strict=True))
    return Measured(before, after, both / max(1, either), doubt)


def corruption_for(shield: Shield, name: str, seed: int = 0) -> Corruption:
    """A corruption of frames of the shield's size, with the pictures that it is configured for."""
    return CORRUPTIONS.get(name)(CorruptionOptions(shield.image_size, shield.config.pictures, seed=seed + 1))


def changed(
    frames: FrameSet, corruption: Corruption | None, severity: int, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Some frames after others: under the corruption, (B, 3, H, W) ``uint8``, as they were, and their masks."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, len(frames), AT_ONCE):
        pixels, masks = frames.pixels[start : start + AT_ONCE], frames.masks[start : start + AT_ONCE]
        shown = pixels
        if corruption is not None:
            time = torch.randint(200, (len(pixels),), generator=generator)
            drawn = corruption.draw(len(pixels), generator)
            shown = corrupted(corruption, pixels, severity, drawn, generator, time, masks)
        yield shown, pixels, masks


def detection(doubt: NDArray[Any], error: NDArray[Any], worst: float = WORST) -> float:
    """AUROC of doubt for the frames whose error is among the worst: 1 if it ranks all of them above all others.

    Args:
        doubt: (N,).
        error: (N,).
        worst: share of frames that count as failures.
    """
    from scipy.stats import rankdata  # takes a second, which every command would spend

    failed = error >= np.quantile(error, 1.0 - worst)
    ranks, positives = rankdata(doubt), int(failed.sum())
    negatives = len(error) - positives
    if not positives or not negatives:
        return float("nan")
    return float((ranks[failed].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _error(shown: Tensor, pixels: Tensor) -> Tensor:
    """Mean absolute difference of frames, (B,)."""
    return (shown.float() - pixels.float()).abs().mean((1, 2, 3))
