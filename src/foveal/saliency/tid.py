"""How well saliency finds the task, and in every frame: the TID score of SimGRL (Song et al., NeurIPS 2024)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.errors import FovealError


class TID(NamedTuple):
    """How well a mask of the most salient pixels agrees with where the task is in some stacked frames.

    Attributes:
        score: from 0 (they share no pixel) to 1 (they are the same).
        variance: of the frames' own scores in percent: large where attention is on some frames alone.
    """

    score: float
    variance: float


def tid(saliency: ArrayLike, part: ArrayLike) -> TID:
    """The task-identification score, with its variance over frames.

    The mask keeps of each frame as many of the pixels with the largest saliency, summed over colours, as the task has
    in an average frame (its share of all frames' pixels, to three digits). The score is the number of pixels that mask
    and task share over the geometric mean of their numbers.

    Args:
        saliency: (3 * frames, H, W), any scale and sign, of stacked colour frames.
        part: (frames, H, W) bool, where the task is.

    Returns:
        NaN where the task is in no frame; a variance of NaN where it is not in all of them.

    Raises:
        FovealError: shapes do not fit.
    """
    values, truth = np.asarray(saliency, dtype=np.float64), np.asarray(part, dtype=bool)
    if truth.ndim != 3 or truth.size == 0 or values.shape != (3 * len(truth), *truth.shape[1:]):
        raise FovealError(
            f"tid wants saliency of stacked colour frames, (3 * frames, H, W), and a part of each frame, "
            f"(frames, H, W), not {values.shape} and {truth.shape}"
        )
    strength = np.abs(values).reshape(len(truth), 3, -1).sum(1)  # (frames, H * W)
    quantile = np.round(1.0 - truth.mean(), 3)
    mask = strength >= np.quantile(strength, quantile, axis=1, keepdims=True)
    inside = truth.reshape(len(truth), -1)
    frames = [_overlap(one, other) for one, other in zip(mask, inside, strict=True)]
    return TID(_overlap(mask, inside), float(np.var(np.multiply(100.0, frames))))


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """What two sets of pixels share, over the geometric mean of their sizes; NaN where one is empty."""
    size = math.sqrt(float(one.sum()) * float(other.sum()))
    return float((one & other).sum()) / size if size else float("nan")
