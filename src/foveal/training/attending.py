"""How even the attention inside a network is while it learns, on the map's own grid; numbers for the log."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.learners.rollouts import Rollout
from foveal.saliency.evenness import Evenness, EvennessMeter, evenness

LOOKED_AT = 9
"""The last steps of a rollout that are looked at again: under 1 % of what an update computes."""


@torch.no_grad()
def attention_in_rollout(encoder: nn.Module, rollout: Rollout) -> dict[str, float]:
    """Of the network as it is now, on the last observations of a rollout.

    Returns:
        ``attention/variation``, ``attention/entropy`` and ``attention/change``, see ``foveal.saliency.evenness``;
        nothing without attention, or where the rollout holds a frozen encoder's features instead of observations.
    """
    if getattr(encoder, "rendering", None) is None or rollout.seen.ndim < 5:
        return {}
    steps = range(max(0, len(rollout.seen) - LOOKED_AT), len(rollout.seen))
    meter = EvennessMeter()
    ends = rollout.terminations | rollout.truncations
    for step in steps:
        encoder(rollout.seen[step])
        maps = _grid(encoder)
        if maps is None or not np.isfinite(maps).all():
            return {}  # the losses, which are not finite either, say more
        meter.add(maps, rollout.valid[step - 1] & ~ends[step - 1])
    return _as_metrics(meter.read())


def latest_attention(encoder: nn.Module) -> dict[str, float]:
    """Of the latest forward pass, whatever batch that saw: without ``attention/change``. Nothing without attention."""
    maps = _grid(encoder)
    return {} if maps is None or not np.isfinite(maps).all() else _as_metrics(evenness(maps, follows=False))


def _grid(encoder: Any) -> NDArray[np.float32] | None:
    """(B, h, w), or None without attention and before the first forward pass."""
    grid = getattr(encoder, "attention", None)
    return None if grid is None else grid[:, 0].float().cpu().numpy()


def _as_metrics(found: Evenness | None) -> dict[str, float]:
    return {} if found is None else {f"attention/{name}": value for name, value in found.numbers.items()}
