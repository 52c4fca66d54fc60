"""Does a map lie on the task? Its most important pixels beside what a simulator knows to be the task's own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from foveal.errors import FovealError


class Agreement(NamedTuple):
    """How well a map's mask and a part of the picture agree.

    Attributes:
        precision: share of the mask that lies on the part; a mask laid at random has the part's share of the picture.
        recall: share of the part that the mask covers.
        iou: what both have over what either has.
        pointing: whether the most important pixel lies on the part (the pointing game, Zhang et al. 2016, without a
            margin): 1 or 0, or between them where several pixels share the maximum.
    """

    precision: float
    recall: float
    iou: float
    pointing: float


def agreement(strength: ArrayLike, part: ArrayLike, quantile: float) -> Agreement:
    """Of one picture.

    Args:
        strength: (H, W) how much each pixel matters.
        part: (H, W) bool.
        quantile: of the mask: pixels at or above it, in [0, 1).

    Returns:
        Precision, recall and the rest; recall and IoU are NaN where the part is not in the picture.

    Raises:
        FovealError: shapes differ, or the quantile is out of range.
    """
    values, truth = np.asarray(strength, np.float64), np.asarray(part, bool)
    if values.shape != truth.shape or values.ndim != 2 or values.size == 0:
        raise FovealError(f"a map and a part of one picture are (H, W) both, not {values.shape} and {truth.shape}")
    if not 0 <= quantile < 1:
        raise FovealError(f"quantile must be in [0, 1), not {quantile}")
    mask = values >= np.quantile(values, quantile)
    both = float((mask & truth).sum())
    there = bool(truth.any())
    return Agreement(
        both / float(mask.sum()),
        both / float(truth.sum()) if there else float("nan"),
        both / float((mask | truth).sum()) if there else float("nan"),
        float(truth[values == values.max()].mean()),
    )
