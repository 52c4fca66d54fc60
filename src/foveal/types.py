"""The data that travels between rooms: shape, dtype and unit of every field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from foveal.errors import FovealError


class Observation(NamedTuple):
    """A batch of observations.

    Attributes:
        image: (B, frames * 3, H, W). ``uint8`` in [0, 255] as stored; within an update floating point in the same
            unit, in the convolutions' type; its gradient is ``float32`` where one is wanted. Encoders, not callers,
            divide by 255. Frames are stacked oldest first, three colour channels each.
        vector: (B, V) ``float32`` beside the image (proprioception), or None.
    """

    image: Tensor
    vector: Tensor | None = None

    def float(self, dtype: torch.dtype = torch.float32) -> Observation:
        """The same observation with a floating point image, still in [0, 255], laid out as convolutions like it.

        bfloat16 holds every ``uint8`` exactly.
        """
        # Bytes are laid out first: to convert them on the way is several times slower.
        return self._replace(image=self.image.contiguous(memory_format=torch.channels_last).to(dtype))

    def to(self, device: torch.device | str) -> Observation:
        """The same observation on another device."""
        return Observation(moved(self.image, device), None if self.vector is None else moved(self.vector, device))

    def clone(self) -> Observation:
        """The same observation in memory of its own."""
        return Observation(self.image.clone(), None if self.vector is None else self.vector.clone())


PREVIOUS_ACTION = "previous_action"


@dataclass(frozen=True)
class ExtraField:
    """What batches have beside the usual, because a method asks for it; stored with every observation.

    Attributes:
        name: in ``Batch.extras`` and ``Batch.next_extras``.
        source: where its value comes from: a method of the environment that takes no arguments, such as
            ``"agent_mask"``, called after every step and reset; or ``"previous_action"``, that which led to the
            observation, 0 where an episode begins.
        shape: of one value; None for an action's.
        dtype: of one value, by NumPy's name; of an action its own.
        stacked: one value for each stacked frame, oldest first, instead of the newest frame's alone.

    Raises:
        FovealError: a field of the environment's has no shape.
    """

    name: str
    source: str
    shape: tuple[int, ...] | None = None
    dtype: str = "float32"
    stacked: bool = False

    def __post_init__(self) -> None:
        if self.shape is None and self.source != PREVIOUS_ACTION:
            raise FovealError(f"the extra field {self.name!r} from {self.source!r} needs the shape of its values")


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
        extras: what a method asked for by ``ExtraField``, at time t: (B, ...) by name, or (B, frames, ...).
        next_extras: the same at the time of ``next_obs``.
    """

    obs: Observation
    action: Tensor
    reward: Tensor
    discount: Tensor
    next_obs: Observation
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    next_extras: Mapping[str, Tensor] = field(default_factory=dict)

    def replace(self, **changes: Any) -> Batch:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.obs.to(device),
            moved(self.action, device),
            moved(self.reward, device),
            moved(self.discount, device),
            self.next_obs.to(device),
            {name: moved(value, device) for name, value in self.extras.items()},
            {name: moved(value, device) for name, value in self.next_extras.items()},
        )

    def clone(self) -> Batch:
        """The same batch in memory of its own."""
        obs, next_obs = self.obs.clone(), self.next_obs.clone()
        extras, next_extras = (
            {name: value.clone() for name, value in held.items()} for held in (self.extras, self.next_extras)
        )
        action, reward, discount = self.action.clone(), self.reward.clone(), self.discount.clone()
        return Batch(obs, action, reward, discount, next_obs, extras, next_extras)

    def copy_(self, other: Batch) -> None:
        """Take over the values of a batch of the same shapes."""
        for mine, theirs in zip(self._tensors(), other._tensors(), strict=True):
            mine.copy_(theirs, non_blocking=True)

    def _tensors(self) -> list[Tensor]:
        tensors = [*self.obs, self.action, self.reward, self.discount, *self.next_obs]
        tensors += [held[name] for held in (self.extras, self.next_extras) for name in sorted(held)]
        return [tensor for tensor in tensors if tensor is not None]


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """``tensor`` on a device; on the way to a GPU neither host nor device waits for the other."""
    if torch.device(device).type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
