"""The data that travels between rooms: shape, dtype and unit of every field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from foveal.errors import FovealError


class Observation(NamedTuple):
    """A batch of observations.

    Attributes:
        image: (B, frames * C, H, W) in [0, 255]: frames are stacked oldest first, with C = 3 colour channels each, or 1
            where they are grey, as those of Atari games. It is ``uint8`` as stored, and of the convolutions' type
            within an update, where its gradient is ``float32``. Encoders, not callers, divide by 255.
        vector: (B, V) ``float32`` beside the image (proprioception), or None.
    """

    image: Tensor
    vector: Tensor | None = None

    def float(self, dtype: torch.dtype = torch.float32) -> Observation:
        """The same observation with a floating point image, still in [0, 255], in ``channels_last`` layout.

        bfloat16 represents every ``uint8`` exactly.
        """
        # The layout is changed while pixels are bytes: together with the conversion it takes several times as long.
        return self._replace(image=self.image.contiguous(memory_format=torch.channels_last).to(dtype))

    def map(self, change: Callable[[Tensor], Tensor]) -> Observation:
        """The same observation with every tensor changed."""
        return Observation(change(self.image), None if self.vector is None else change(self.vector))

    def to(self, device: torch.device | str) -> Observation:
        """The same observation on another device."""
        return self.map(lambda tensor: moved(tensor, device))

    def clone(self) -> Observation:
        """The same observation in memory of its own."""
        return self.map(Tensor.clone)


PREVIOUS_ACTION = "previous_action"


@dataclass(frozen=True)
class ExtraField:
    """A further field of batches, which a method asks for; it is stored with every observation.

    Attributes:
        name: its key in ``Batch.extras`` and ``Batch.next_extras``.
        source: where its value comes from: a method of the environment that takes no arguments, such as
            ``"agent_mask"``, called after every step and reset; or ``"previous_action"``, the action that led to the
            observation, 0 where an episode begins.
        shape: the shape of one value; None where it is an action's.
        dtype: the type of one value, by NumPy's name; an action keeps its own.
        stacked: whether there is one value for each stacked frame, oldest first, or only the newest frame's.
        early: whether it is wanted before the first update alone: the environment is asked until then, later values
            are 0, and ``Method.begin_learning`` alone gets them.

    Raises:
        FovealError: a field that the environment gives has no shape.
    """

    name: str
    source: str
    shape: tuple[int, ...] | None = None
    dtype: str = "float32"
    stacked: bool = False
    early: bool = False

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

    def with_images(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """A copy whose images are changed, the observation's first, then the next observation's."""
        obs = self.obs._replace(image=change(self.obs.image))
        return self.replace(obs=obs, next_obs=self.next_obs._replace(image=change(self.next_obs.image)))

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with every tensor changed."""
        return Batch(
            self.obs.map(change),
            change(self.action),
            change(self.reward),
            change(self.discount),
            self.next_obs.map(change),
            {name: change(value) for name, value in self.extras.items()},
            {name: change(value) for name, value in self.next_extras.items()},
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return self.map(lambda tensor: moved(tensor, device))

    def clone(self) -> Batch:
        """The same batch in memory of its own."""
        return self.map(Tensor.clone)

    def copy_(self, other: Batch) -> None:
        """Take over the values of a batch of the same shapes."""
        for mine, theirs in zip(self._tensors(), other._tensors(), strict=True):
            mine.copy_(theirs, non_blocking=True)

    def _tensors(self) -> list[Tensor]:
        tensors = [*self.obs, self.action, self.reward, self.discount, *self.next_obs]
        tensors += [fields[name] for fields in (self.extras, self.next_extras) for name in sorted(fields)]
        return [tensor for tensor in tensors if tensor is not None]


def joined(observations: Sequence[Observation]) -> Observation:
    """The observations as one batch, without a graph."""
    images = torch.cat([obs.image.detach() for obs in observations])
    return Observation(images, joined_vectors(observations))


def joined_vectors(observations: Sequence[Observation]) -> Tensor | None:
    """The vectors of the observations as one batch, where there are some."""
    vectors = [obs.vector for obs in observations if obs.vector is not None]
    return torch.cat(vectors) if vectors else None


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """``tensor`` on a device. Copies to a GPU are asynchronous, from pinned memory."""
    if torch.device(device).type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
