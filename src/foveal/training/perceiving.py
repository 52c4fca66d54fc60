"""What an agent perceives of the pictures that it is given; of stacked frames each is worked on once."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.fovea.remembering import Remembering
from foveal.methods import Method

KEPT = 64
"""Frames that are remembered beside those of a batch."""


class Perceiving:
    """Pictures through a method's ``perceive``.

    Args:
        method: whose.
        channels: of one of the stacked frames.
        device: where the method is.
    """

    def __init__(self, method: Method, channels: int, device: torch.device) -> None:
        self._method, self._channels, self._device = method, channels, device
        self._perceived = Remembering(self._perceive, KEPT)
        self._version = 0

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, H, W) floating point in [0, 255], or ``uint8``, to the same."""
        if self._method.sees_all:
            return image
        if (version := _version(self._method)) != self._version:
            self._perceived.forget()
            self._version = version
        frames = image.reshape(-1, self._channels, *image.shape[2:]).to("cpu", torch.uint8).numpy()
        return torch.stack(self._perceived(frames)).reshape(image.shape).to(image.dtype)

    def _perceive(self, frames: NDArray[np.uint8]) -> Tensor:
        return self._method.perceive(torch.from_numpy(frames).to(self._device).float()).to(torch.uint8)


def _version(method: Method) -> int:
    """A number that grows with every change of weights that updates don't train: those have no say in perception."""
    tensors = method.state_dict(keep_vars=True).values()
    return sum(tensor._version for tensor in tensors if not tensor.requires_grad)
