"""What frames suffer while a network learns to give them back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.corruptions import CORRUPTIONS, SEVERITIES, CorruptionOptions, corrupted

LATEST = 200
"""Agent steps since an episode's beginning, at most."""


class Mixture:
    """Each frame suffers none, one or two of some corruptions, at severities and times drawn uniformly.

    Corruptions that must know which pixels are the task's come first, as later ones may move them.

    Args:
        names: of the corruptions.
        options: what they are made with.
        clean: share of frames that stay as they are.
        twice: share of the others that suffer two.
    """

    def __init__(self, names: Sequence[str], options: CorruptionOptions, clean: float, twice: float) -> None:
        made = [CORRUPTIONS.get(name)(options) for name in sorted(names)]
        self.corruptions = sorted(made, key=lambda corruption: not corruption.needs_mask)
        self.clean, self.twice = clean, twice

    def __call__(self, pixels: Tensor, masks: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 3, H, W) ``uint8`` and (B, H, W) bool -> (B, 3, H, W) ``uint8``."""
        changed, suffered = pixels.clone(), self._suffered(len(pixels), generator)
        for number, corruption in enumerate(self.corruptions):
            those = suffered[:, number].nonzero().squeeze(1)
            if not len(those):
                continue
            severity = torch.randint(1, len(SEVERITIES) + 1, (len(those),), generator=generator)
            time = torch.randint(LATEST, (len(those),), generator=generator)
            drawn = corruption.draw(len(those), generator)
            changed[those] = corrupted(corruption, changed[those], severity, drawn, generator, time, masks[those])
        return changed

    def _suffered(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, corruptions) bool."""
        kinds = len(self.corruptions)
        draw = torch.rand(count, 2, generator=generator)
        first, second = torch.randint(kinds, (2, count), generator=generator)
        dirty = draw[:, 0] >= self.clean
        suffered = torch.zeros(count, kinds, dtype=torch.bool)
        rows = torch.arange(count)
        suffered[rows, first] = dirty
        suffered[rows, second] |= dirty & (draw[:, 1] < self.twice)
        return suffered
