"""Checks of everything that replay stores, each with one clear error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from foveal.errors import FovealError
from foveal.types import ExtraField

Array = npt.NDArray[Any]
StackedObservation = Array | Mapping[str, Array]


def counts(**values: int) -> None:
    """Raise a FovealError unless every number is positive."""
    for name, value in values.items():
        if value < 1:
            raise FovealError(f"{name} must be at least 1, not {value}")


def reward(where: str, value: float) -> None:
    """Raise a FovealError unless the reward is finite: any other would spoil every value estimate."""
    if not math.isfinite(value):
        raise FovealError(f"{where}: the reward is {value}; the environment must give finite rewards")


def action(where: str, value: npt.ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The action as a finite array of ``shape``, of whole numbers if and only if ``dtype`` is."""
    checked = np.asarray(value)
    kinds = "iu" if dtype.kind == "i" else "f"
    if checked.shape != shape or checked.dtype.kind not in kinds or not np.isfinite(checked).all():
        raise FovealError(
            f"{where}: the action must be finite {dtype} of shape {shape}, "
            f"not {checked.dtype} of shape {checked.shape}: {checked}"
        )
    return checked


def extras(where: str, given: Mapping[str, npt.ArrayLike] | None, fields: Sequence[ExtraField]) -> dict[str, Array]:
    """The values of all extra fields, each of its shape and finite."""
    given = given or {}
    if sorted(given) != sorted(field.name for field in fields):
        wanted = sorted(field.name for field in fields) or "none"
        raise FovealError(f"{where}: the extra fields are {sorted(given) or 'none'} but replay was made for {wanted}")
    values = {}
    for field in fields:
        value = np.asarray(given[field.name])
        if value.shape != field.shape or not np.can_cast(value.dtype, field.dtype, "same_kind"):
            raise FovealError(
                f"{where}: {field.name} must be {field.dtype} of shape {field.shape}, "
                f"not {value.dtype} of shape {value.shape}"
            )
        if not np.isfinite(value).all():
            raise FovealError(f"{where}: {field.name} holds numbers that are not finite")
        values[field.name] = value
    return values


def observation(
    where: str, obs: StackedObservation, image_shape: tuple[int, ...], vector_size: int
) -> tuple[Array, Array]:
    """The stacked image, ``image_shape`` ``uint8``, and the finite vector (empty if there is none)."""
    parts: Mapping[str, Array] = obs if isinstance(obs, Mapping) else {"image": obs}
    expected = ["image", "vector"] if vector_size else ["image"]
    if sorted(parts) != expected:
        raise FovealError(f"{where}: the observation holds {sorted(parts)} but replay was made for {expected}")
    image = np.asarray(parts["image"])
    if image.shape != image_shape or image.dtype != np.uint8:
        raise FovealError(f"{where}: the image must be {image_shape} uint8, not {image.shape} {image.dtype}")
    vector = np.asarray(parts.get("vector", np.empty(0)), dtype=np.float32)
    if vector.shape != (vector_size,) or not np.isfinite(vector).all():
        raise FovealError(f"{where}: the vector must be {vector_size} finite numbers, not {vector}")
    return image, vector
