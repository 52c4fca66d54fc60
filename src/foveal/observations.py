"""Observations of users and environments as batches of tensors, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.errors import FovealError
from foveal.types import Observation


def as_images(image: Any, shape: tuple[int, int, int], device: torch.device) -> tuple[Tensor, bool]:
    """(B, C, H, W) floating point in [0, 255] on the device, and whether that was one image alone.

    Args:
        image: (C, H, W) or (B, C, H, W).
        shape: (C, H, W), as it must be.
        device: where to put it.

    Raises:
        FovealError: it has another shape.
    """
    array = np.asarray(image)
    single = array.ndim == 3
    if array.shape[-3:] != shape or array.ndim not in {3, 4}:
        raise FovealError(f"expected an observation of shape {shape} or a batch of them, got {array.shape}")
    return Observation(_tensor(array, single, device)).float().image, single


def as_batch(
    observation: Any, shape: tuple[int, int, int], vector_size: int, device: torch.device
) -> tuple[Observation, bool]:
    """A batch of observations as environments give them, and whether that was one alone.

    Args:
        observation: ``uint8`` images, or where there is a vector a dict of that as ``"image"`` and of a ``"vector"``.
        shape: (C, H, W) of an image.
        vector_size: V, 0 where there is none.
        device: where to put it.

    Raises:
        FovealError: it has another shape or type.
    """
    names = {"image", "vector"} if vector_size else set()
    if names != (set(observation) if isinstance(observation, Mapping) else set()):
        raise FovealError(f"this agent observes {'a dict of image and vector' if names else 'an image alone'}")
    pixels = np.asarray(observation["image"] if names else observation)
    if pixels.dtype != np.uint8:
        raise FovealError(f"expected an observation of uint8 in [0, 255], got {pixels.dtype}")
    image, single = as_images(pixels, shape, device)
    if not vector_size:
        return Observation(image), single
    values = np.asarray(observation["vector"], np.float32)
    if values.shape != (*pixels.shape[:-3], vector_size):
        raise FovealError(
            f"expected a vector of {vector_size} numbers beside every image, got {values.shape} beside "
            f"images {pixels.shape}"
        )
    return Observation(image, _tensor(values, single, device)), single


def _tensor(array: NDArray[Any], single: bool, device: torch.device) -> Tensor:
    # A copy: arrays may be read-only or run backwards, which torch accepts with a warning or not at all.
    return torch.from_numpy(np.array(array[None] if single else array, order="C")).to(device)
