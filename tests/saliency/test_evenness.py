"""Is a map even? Closed forms on the map's own grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from foveal.errors import FovealError
from foveal.networks.attention import Rendering
from foveal.saliency.evenness import Evenness, EvennessMeter, entropy, evenness, normalised, variation
from foveal.saliency.metrics import correlation

SPARSE = Rendering(receptive_field=36, stride=8, padding=0)


def one_hot(side: int = 7, base: float = 0.0, high: float = 1.0) -> np.ndarray:
    grid = np.full((side, side), base)
    grid[2, 5] = high
    return grid


def test_an_even_map_and_one_that_has_everything_in_one_place() -> None:
    maps = np.stack([np.full((7, 7), 0.3), one_hot(), np.zeros((7, 7))])
    np.testing.assert_allclose(variation(maps), [0, np.sqrt(48), 0], atol=1e-12)
    np.testing.assert_allclose(entropy(maps), [1, 0, 1], atol=1e-12)  # one that is 0 has no preference
    assert entropy(np.full((2, 1, 1), 5.0)).tolist() == [1, 1]


def test_two_values_by_hand() -> None:
    """Half of the positions 3, half 1: mean 2, deviation 1; shares of 3/4 and 1/4 of each pair."""
    maps = np.tile([3.0, 1.0], 8).reshape(1, 4, 4)
    assert variation(maps)[0] == pytest.approx(0.5)
    expected = -(0.75 * np.log(0.75 / 8) + 0.25 * np.log(0.25 / 8)) / np.log(16)
    assert entropy(maps)[0] == pytest.approx(expected)


def test_change_by_hand() -> None:
    """From one corner to another: all is taken from one position and given to one, of a mean of 1."""
    there = np.zeros((3, 4, 4))
    there[0, 0, 0] = there[2, 0, 0] = 5.0
    there[1, 3, 3] = 0.1
    assert evenness(there).change == pytest.approx(2.0)
    assert evenness(there, [False, True, False]).change == pytest.approx(2.0)
    assert evenness(np.stack([there[0], 7 * there[0]])).change == pytest.approx(0.0)  # the scale is none of its concern
    assert evenness(there, follows=False).change is None
    assert evenness(there[:1]).change is None


positive = arrays(np.float64, (3, 5, 5), elements=st.floats(1e-3, 10))


@pytest.mark.slow
@given(positive, st.floats(0.1, 100))
def test_bounds_and_scale(maps: np.ndarray, factor: float) -> None:
    assert (variation(maps) <= np.sqrt(24) + 1e-9).all() and (
        (entropy(maps) >= -1e-9) & (entropy(maps) <= 1 + 1e-9)
    ).all()
    np.testing.assert_allclose(variation(factor * maps), variation(maps), atol=1e-9)
    np.testing.assert_allclose(entropy(maps), [stats.entropy(m.ravel()) / np.log(25) for m in maps], atol=1e-9)
    np.testing.assert_allclose(variation(maps), [stats.variation(m.ravel()) for m in maps], atol=1e-9)
    assert 0 <= evenness(maps).change <= 2 + 1e-9


@pytest.mark.slow
@given(arrays(np.float64, (4, 2, 3, 3), elements=st.floats(1e-3, 10)), arrays(np.bool_, (4, 2)))
def test_a_meter_adds_up_environments_side_by_side(maps: np.ndarray, follows: np.ndarray) -> None:
    meter = EvennessMeter()
    for now, follow in zip(maps, follows, strict=True):
        meter.add(now, follow)
    whole = normalised(maps.reshape(8, 3, 3)).reshape(maps.shape)
    steps = np.abs(np.diff(whole, axis=0)).mean((2, 3))[follows[1:]]
    found = meter.read()
    assert found is not None and found.maps == 8
    assert found.variation == pytest.approx(variation(maps.reshape(8, 3, 3)).mean())
    assert found.change == (pytest.approx(steps.mean()) if len(steps) else None)
    assert Evenness.from_dict(found.as_dict()) == found


def test_the_drawing_hides_what_the_grid_tells() -> None:
    """A position ten times as high as the others: little in the picture's correlation, and plain on the grid."""
    even, peak = np.ones((7, 7)), one_hot(base=1.0, high=10.0)
    drawn = SPARSE.render(torch.from_numpy(np.stack([even, peak]))[:, None].float(), (84, 84)).numpy()
    assert correlation(drawn[1], drawn[0]) > 0.85
    assert variation(peak[None])[0] > 1 and entropy(peak[None])[0] < 0.95


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.ones((7, 7)), r"are \(N, h, w\), not \(7, 7\)"),
        (np.ones((0, 7, 7)), r"are \(N, h, w\), not \(0, 7, 7\)"),
        (np.full((1, 2, 2), np.nan), "finite and not negative"),
        (-np.ones((1, 2, 2)), "finite and not negative"),
    ],
)
def test_what_is_no_map(maps: np.ndarray, message: str) -> None:
    with pytest.raises(FovealError, match=message):
        evenness(maps)


def test_nothing_was_added() -> None:
    assert EvennessMeter().read() is None
