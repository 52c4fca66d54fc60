"""Masks against parts, by hand and against scikit-learn-free loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import FovealError
from foveal.saliency.agreement import agreement


def test_by_hand() -> None:
    strength = np.arange(16.0).reshape(4, 4)  # the mask is the last row: 12 to 15
    part = np.zeros((4, 4), bool)
    part[2:, 2:] = True
    found = agreement(strength, part, 0.75)
    assert found == (0.5, 0.5, 2 / 6, 1.0)
    assert agreement(-strength, part, 0.75) == (0.0, 0.0, 0.0, 0.0)


def test_shared_maxima_point_by_their_share_and_a_part_out_of_sight_has_no_recall() -> None:
    part = np.zeros((4, 4), bool)
    part[0] = True
    assert agreement(np.ones((4, 4)), part, 0.5).pointing == 0.25
    nowhere = agreement(np.ones((4, 4)), np.zeros((4, 4), bool), 0.5)
    assert nowhere.precision == nowhere.pointing == 0.0 and math.isnan(nowhere.recall) and math.isnan(nowhere.iou)


@given(st.integers(0, 999), st.floats(0, 0.99))
def test_it_is_counting(seed: int, quantile: float) -> None:
    draws = np.random.default_rng(seed)
    strength, part = draws.random((5, 6)), draws.random((5, 6)) < 0.3
    limit = np.quantile(strength, quantile)
    kept = {(row, column) for row in range(5) for column in range(6) if strength[row, column] >= limit}
    true = {(row, column) for row in range(5) for column in range(6) if part[row, column]}
    found = agreement(strength, part, quantile)
    assert found.precision == pytest.approx(len(kept & true) / len(kept))
    if true:
        assert found.recall == pytest.approx(len(kept & true) / len(true))
        assert found.iou == pytest.approx(len(kept & true) / len(kept | true))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(FovealError, match=r"\(H, W\) both"):
        agreement(np.ones((2, 2)), np.ones((2, 3), bool), 0.5)
    with pytest.raises(FovealError, match="quantile"):
        agreement(np.ones((2, 2)), np.ones((2, 2), bool), 1.0)
