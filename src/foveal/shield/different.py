"""Frames that differ, for somebody to draw masks on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

COARSE = 16
"""Side in pixels of what is compared."""


def different(pixels: Tensor, count: int) -> list[int]:
    """Frames of which all others look like one: each next is the farthest from those before.

    Args:
        pixels: (N, 3, H, W) ``uint8``.
        count: how many.

    Returns:
        Positions, the most usual frame first; all of them where there are no more.
    """
    looks = F.adaptive_avg_pool2d(pixels.float(), COARSE).flatten(1)  # (N, D)
    chosen = [int(torch.cdist(looks, looks.mean(0, keepdim=True)).argmin())]
    apart = torch.full((len(looks),), torch.inf)
    while len(chosen) < min(count, len(looks)):
        apart = torch.minimum(apart, torch.cdist(looks, looks[chosen[-1:]]).squeeze(1))
        apart[chosen] = -1.0  # equal frames are not chosen twice
        chosen.append(int(apart.argmax()))
    return chosen
