"""The TID score against closed forms, and against numbers that the published code computed (tests/oracle/simgrl.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.saliency.tid import tid
from oracle import views_problem

ORACLE = np.load(Path(__file__).parents[1] / "oracle" / "simgrl.npz")


def frames(*columns: slice) -> NDArray[np.bool_]:
    """A part of each frame of 10x10 pixels: all rows of some columns."""
    part = np.zeros((len(columns), 10, 10), bool)
    for frame, where in enumerate(columns):
        part[frame, :, where] = True
    return part


def saliency_on(part: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Half of it in red, the other half, negative, in blue; a little of it everywhere."""
    found = np.zeros((len(part), 3, 10, 10))
    found[:, 0], found[:, 2] = 0.5 * part, -0.5 * part - 0.01
    return found.reshape(-1, 10, 10)


def test_saliency_on_the_task_alone_is_perfect() -> None:
    part = frames(slice(2, 4), slice(3, 5), slice(4, 6))
    assert tid(saliency_on(part), part) == (1.0, 0.0)


def test_saliency_elsewhere_scores_nothing() -> None:
    part = frames(slice(0, 2), slice(0, 2))
    assert tid(saliency_on(frames(slice(5, 7), slice(5, 7))), part) == (0.0, 0.0)


def test_half_of_it_in_each_frame() -> None:
    part = frames(slice(0, 2), slice(0, 2), slice(0, 2))
    found = tid(saliency_on(frames(*[slice(1, 3)] * 3)), part)
    assert found == pytest.approx((0.5, 0.0))  # 10 shared pixels of 20 and 20


def test_attention_on_the_newest_frame_alone_has_the_same_score_and_a_large_variance() -> None:
    part = frames(slice(0, 2), slice(0, 2))
    even = tid(saliency_on(frames(slice(1, 3), slice(1, 3))), part)
    newest = tid(saliency_on(frames(slice(5, 7), slice(0, 2))), part)
    assert newest.score == pytest.approx(even.score) == 0.5
    assert newest.variance == pytest.approx(2500.0) and even.variance == 0.0  # of 0 and 100 percent


def test_a_map_without_preference_is_found_by_its_size() -> None:
    """All pixels tie, so the mask is the whole picture: the root of the task's share."""
    part = frames(slice(0, 4), slice(0, 4))
    assert tid(np.ones((6, 10, 10)), part).score == pytest.approx(0.4**0.5)


def test_a_task_that_is_nowhere_has_no_score() -> None:
    part = frames(slice(0, 0), slice(0, 0))
    assert np.isnan(tid(np.ones((6, 10, 10)), part)).all()
    lost = tid(saliency_on(frames(slice(0, 2), slice(0, 2))), frames(slice(0, 2), slice(0, 0)))
    assert lost.score > 0 and np.isnan(lost.variance)


@pytest.mark.parametrize("case", range(3))
def test_scores_are_the_published_ones(case: int) -> None:
    saliency, part = views_problem.saliencies()[case]
    assert tid(saliency, part) == pytest.approx(ORACLE["tid"][case], abs=2e-4, rel=1e-5)  # rounded there


@pytest.mark.parametrize("shape", [(6, 10, 9), (3, 10, 10), (10, 10)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FovealError, match="saliency of stacked colour frames"):
        tid(np.ones(shape), frames(slice(0, 2), slice(0, 2)))
