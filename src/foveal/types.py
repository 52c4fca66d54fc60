"""The data that travels between rooms: shape, dtype and unit of every field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Observation(NamedTuple):
    """A batch of observations.

    Attributes:
        image: (B, frames * 3, H, W). ``uint8`` in [0, 255] as stored; within an update floating point in the same
            unit, in the convolutions' type, or in ``float32`` where its gradient is wanted. Encoders, not callers,
            divide by 255. Frames are stacked oldest first, three colour channels each.
        vector: (B, V) ``float32`` beside the image (proprioception), or None.
    """

    image: Tensor
    vector: Tensor | None = None

    def float(self, dtype: torch.dtype = torch.float32) -> Observation:
        """The same observation with a floating point image, still in [0, 255], laid out as convolutions like it.

        bfloat16 holds every ``uint8`` exactly.
        """
        return self._replace(image=self.image.to(dtype, memory_format=torch.channels_last))

    def to(self, device: torch.device | str) -> Observation:
        """The same observation on another device."""
        vector = None if self.vector is None else self.vector.to(device)
        return Observation(self.image.to(device), vector)


@dataclass(frozen=True)
class Batch:
    """Transitions sampled from replay, ready for one update.

    Attributes:
        obs: observation at time t.
        action: (B, A) ``float32`` in [-1, 1], or (B,) ``int64`` where actions are discrete.
        reward: (B,) ``float32``, the discounted sum of the n rewards from t on.
        discount: (B,) ``float32``, what the bootstrap value is multiplied by: gamma ** n, or 0 after a termination.
            A time limit is no termination.
        next_obs: observation at time t + n (or the last one of the episode).
    """

    obs: Observation
    action: Tensor
    reward: Tensor
    discount: Tensor
    next_obs: Observation

    def replace(self, **changes: Any) -> Batch:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.obs.to(device),
            self.action.to(device),
            self.reward.to(device),
            self.discount.to(device),
            self.next_obs.to(device),
        )
