"""SARFA against its formula written plainly, and on values whose reasons are known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.sarfa import sarfa, specific
from small_networks import SIDE

numbers = st.lists(st.floats(-3, 3), min_size=3, max_size=3)


def plainly(before: list[float], after: list[float], action: int) -> float:
    def probabilities(values: list[float]) -> list[float]:
        whole = sum(math.exp(value) for value in values)
        return [math.exp(value) / whole for value in values]

    fall = probabilities(before)[action] - probabilities(after)[action]
    old, new = (probabilities([v for i, v in enumerate(values) if i != action]) for values in (before, after))
    alike = 1 / (1 + sum(p * math.log(p / q) for p, q in zip(old, new, strict=True)))
    return 2 * alike * fall / (alike + fall) if fall > 0 else 0.0


@given(numbers, numbers, st.integers(0, 2))
def test_the_formula(before: list[float], after: list[float], action: int) -> None:
    found = specific(torch.tensor([before]), torch.tensor([after]), torch.tensor([action]))
    assert float(found) == pytest.approx(plainly(before, after, action), abs=1e-5)


def spots() -> Tensor:
    obs = torch.zeros(1, 3, SIDE, SIDE)
    obs[:, :, 5, 5] = obs[:, :, 18, 18] = 240.0
    return obs


def values(x: Tensor) -> Tensor:
    """The first spot is for action 0 alone; the second for all actions alike."""
    here, there = x[:, 0, 5, 5] / 60, x[:, 0, 18, 18] / 10
    return torch.stack([here + there, there, 0.5 + there], 1)


def test_it_finds_what_is_for_this_action_and_not_what_is_for_all() -> None:
    found = sarfa(values, spots(), stride=3)[0, 0]
    assert found.shape == (SIDE, SIDE) and 0.3 < found.max() <= 1 and found.min() >= 0
    assert found.argmax() // SIDE in range(3, 8) and found.argmax() % SIDE in range(3, 8)
    assert found[14:, 14:].max() < 0.05


def test_another_action_has_other_reasons() -> None:
    assert sarfa(values, spots(), action=torch.tensor([1]), stride=3).max() < 0.05


def test_one_value_alone_is_refused() -> None:
    with pytest.raises(FovealError, match="values of all"):
        sarfa(lambda x: x.mean((1, 2, 3)), spots())
    with pytest.raises(FovealError, match="at least 1 pixel"):
        sarfa(values, spots(), stride=0)
