"""Observations and actions between environments and policies: what fits is brought over, what doesn't is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from foveal.auditing.fitting import FIRST, ZEROS, Fit, as_action, check_actions
from foveal.errors import FovealError


def box(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


def picture(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (20, 24, 3), np.uint8)


def test_channels_are_brought_to_the_front() -> None:
    fit = Fit(box(20, 24, 3), box(3, 20, 24))
    assert np.array_equal(fit(picture(0)), picture(0).transpose(2, 0, 1))


@pytest.mark.parametrize("fill", [ZEROS, FIRST])
def test_frames_are_stacked_as_deep_as_the_policy_wants_newest_last(fill: str) -> None:
    fit = Fit(box(20, 24, 3), box(9, 20, 24), fill)
    for _ in range(2):  # a second episode begins as the first did
        fit.reset()
        first = fit(picture(0))
        assert np.array_equal(first[6:], picture(0).transpose(2, 0, 1))
        older = np.zeros_like(first[:6]) if fill == ZEROS else np.concatenate([first[6:], first[6:]])
        assert np.array_equal(first[:6], older)
        second = fit(picture(1))
        assert np.array_equal(second[3:6], first[6:])
        assert np.array_equal(second[6:], picture(1).transpose(2, 0, 1))


def test_stacking_is_stable_baselines3s() -> None:
    from stable_baselines3.common.vec_env.stacked_observations import StackedObservations

    theirs: Any = StackedObservations(1, 4, box(20, 24, 3), "last")
    fit = Fit(box(20, 24, 3), box(20, 24, 12), ZEROS)
    assert np.array_equal(fit(picture(0)), theirs.reset(picture(0)[None])[0])
    for seed in range(1, 7):
        expected, _ = theirs.update(picture(seed)[None], np.array([False]), [{}])
        assert np.array_equal(fit(picture(seed)), expected[0])


def test_what_says_nothing_is_given_what_there_is() -> None:
    observation = picture(0)
    assert Fit(box(20, 24, 3), None)(observation) is observation


def test_entries_of_dicts_are_fitted_each() -> None:
    vector = spaces.Box(-1, 1, (2,))
    fit = Fit(spaces.Dict({"eye": box(20, 24, 3), "at": vector}), spaces.Dict({"eye": box(3, 20, 24), "at": vector}))
    at = np.ones(2)
    seen = fit({"eye": picture(0), "at": at})
    assert seen["at"] is at and seen["eye"].shape == (3, 20, 24)


@pytest.mark.parametrize(
    ("given", "wanted", "said"),
    [
        (box(20, 24, 3), box(3, 84, 84), r"uint8 \(3, 84, 84\).*uint8 \(20, 24, 3\).*size.*ResizeObservation"),
        (box(20, 24, 3), box(4, 20, 24), "grey"),
        (box(20, 24, 6), box(9, 20, 24), "stacked 2 deep"),
        (box(20, 24, 3), spaces.Dict({"eye": box(20, 24, 3)}), "pictures are eye"),
        (spaces.Dict({"eye": box(20, 24, 3)}), box(20, 24, 3), "a picture alone"),
        (
            spaces.Dict({"eye": box(20, 24, 3), "at": spaces.Box(-1, 1, (2,))}),
            spaces.Dict({"eye": box(20, 24, 3), "at": spaces.Box(-1, 1, (3,))}),
            "at differs",
        ),
    ],
)
def test_observations_that_do_not_fit_are_named(given: Any, wanted: Any, said: str) -> None:
    with pytest.raises(FovealError, match=said):
        Fit(given, wanted)


def test_actions_that_do_not_fit_are_named() -> None:
    check_actions(spaces.Discrete(3), spaces.Discrete(3))
    check_actions(spaces.Discrete(3), None)
    check_actions(spaces.Box(-1, 1, (2,)), spaces.Box(-2, 2, (2,)))
    with pytest.raises(FovealError, match=r"Discrete\(4\).*Discrete\(3\)"):
        check_actions(spaces.Discrete(3), spaces.Discrete(4))
    with pytest.raises(FovealError, match=r"float32 \(2,\).*Discrete\(3\)"):
        check_actions(spaces.Discrete(3), spaces.Box(-1, 1, (2,)))


def test_outputs_become_actions() -> None:
    box_of_two = spaces.Box(-1, 1, (2,))
    assert as_action(torch.tensor([[0.5, -0.5]]), box_of_two).tolist() == [0.5, -0.5]
    assert as_action([0.5, -0.5], box_of_two).dtype == np.float32
    assert as_action([3.0, -3.0], box_of_two).tolist() == [1.0, -1.0]
    assert as_action(2, spaces.Discrete(3)) == as_action(np.array([2]), spaces.Discrete(3)) == 2
    assert as_action(torch.tensor([[0.0, 3.0, 1.0]]), spaces.Discrete(3)) == 1
    assert as_action(np.array([0.0, 3.0]), spaces.Discrete(2, start=5)) == 6


@pytest.mark.parametrize(
    ("output", "space", "said"),
    [
        (np.zeros(3), spaces.Box(-1, 1, (2,)), r"shape \(3,\).*float32 \(2,\)"),
        (np.zeros(4), spaces.Discrete(3), r"shape \(4,\).*Discrete\(3\)"),
        (0.5, spaces.Discrete(3), r"float64 of shape \(\).*Discrete\(3\)"),
        (7, spaces.Discrete(3), r"chose action 7.*Discrete\(3\)"),
    ],
)
def test_outputs_that_are_no_actions_are_named(output: Any, space: Any, said: str) -> None:
    with pytest.raises(FovealError, match=said):
        as_action(output, space)
