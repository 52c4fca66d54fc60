"""What has a state, told to other processes as arrays and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor


class HasState(Protocol):
    """Something that can be written down and made again."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by name, and JSON."""

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Any:
        """Undo of ``state``."""


@dataclass(frozen=True)
class Packed:
    """Something in a form that every process can be sent.

    Attributes:
        restore: makes it again, from tensors and state.
        arrays: its tensors.
        state: the rest.
    """

    restore: Callable[[Mapping[str, Tensor], Mapping[str, Any]], Any]
    arrays: Mapping[str, NDArray[Any]]
    state: Mapping[str, Any]

    def unpack(self) -> Any:
        """The thing."""
        return self.restore({name: torch.tensor(array) for name, array in self.arrays.items()}, self.state)


def pack(thing: HasState) -> Packed:
    """Ready to be sent."""
    tensors, state = thing.state()
    arrays = {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}
    return Packed(type(thing).from_state, arrays, state)
