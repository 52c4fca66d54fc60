"""Observations with changed pictures: each frame once, in stacks too, and of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from foveal.auditing.blindness import REPLACEMENTS, replacement
from foveal.auditing.cameras import cameras_of
from foveal.auditing.changing import Changed, Squared, changed_by
from foveal.corruptions import CorruptionOptions
from foveal.corruptions.streams import change_names, knows_the_task, stream

SIDE = 20


class Counting:
    """Gives every frame that it is shown a number of its own, and knows how many there were."""

    def begin(self, draws: torch.Generator) -> None:
        self.calls = 0

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        self.calls += 1
        return torch.full_like(frame, 100 + self.calls)


def cameras(*shape: int) -> Any:
    return cameras_of(spaces.Box(0, 255, shape, np.uint8))


def frame(value: int) -> np.ndarray[Any, Any]:
    return np.full((SIDE, SIDE, 3), value, np.uint8)


def stacked(*values: int) -> np.ndarray[Any, Any]:
    return np.concatenate([frame(value) for value in values], 2)


def told(observation: np.ndarray[Any, Any]) -> list[int]:
    """The value of every frame of a stack."""
    return observation[0, 0, ::3].tolist()


def test_a_frame_in_a_stack_is_changed_once_when_it_comes() -> None:
    counting = Counting()
    changed = Changed(cameras(SIDE, SIDE, 9), [counting])
    changed.begin([0])
    assert told(changed(stacked(1, 1, 1))) == [101, 101, 101]  # a reset fills the stack with one frame
    assert told(changed(stacked(1, 1, 2))) == [101, 101, 102]
    assert told(changed(stacked(1, 2, 3))) == [101, 102, 103]
    assert told(changed(stacked(3, 4, 5))) == [103, 104, 105]  # two frames came at once
    assert counting.calls == 5
    assert told(changed(stacked(7, 8, 9))) == [106, 107, 108]  # a stack that has nothing of the one before


def test_a_stack_that_begins_with_black_frames_has_these_changed_too() -> None:
    changed = Changed(cameras(SIDE, SIDE, 9), [Counting()])
    changed.begin([0])
    assert told(changed(stacked(0, 0, 5))) == [101, 101, 102]


def test_other_entries_stay_as_they_are_and_cameras_draw_each_their_own() -> None:
    picture = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
    space = spaces.Dict({"a": picture, "b": picture, "speed": spaces.Box(-1, 1, (2,))})
    changed = changed_by("noise", 5, cameras_of(space))
    observation = {"a": frame(100), "b": frame(100), "speed": np.ones(2)}
    changed.begin([1, 2])
    seen = changed(observation)
    assert seen["speed"] is observation["speed"]
    assert not np.array_equal(seen["a"], observation["a"])
    assert not np.array_equal(seen["a"], seen["b"])
    changed.begin([1, 2])
    assert np.array_equal(changed(observation)["b"], seen["b"])
    changed.begin([1, 3])
    assert not np.array_equal(changed(observation)["b"], seen["b"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in change_names() if not knows_the_task(name)])
@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (20, 20)])
def test_every_change_takes_frames_of_any_shape(name: str, shape: tuple[int, int]) -> None:
    change = Squared(name, 3, *shape)
    change.begin(torch.Generator().manual_seed(0))
    for value in (40, 90):
        seen = change.next(torch.full((3, *shape), value, dtype=torch.uint8))
        assert seen.shape == (3, *shape) and seen.dtype == torch.uint8


def test_what_is_square_already_is_changed_as_the_change_alone_would() -> None:
    picture = torch.randint(0, 256, (3, SIDE, SIDE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    mine, plain = Squared("blur", 4, SIDE, SIDE), stream("blur", 4, CorruptionOptions(SIDE))
    mine.begin(torch.Generator().manual_seed(0))
    plain.begin(torch.Generator().manual_seed(0))
    assert mine.next(picture).equal(plain.next(picture))


@pytest.mark.slow
def test_a_mask_keeps_its_place_where_frames_are_not_square() -> None:
    change = Squared("background", 5, 12, 20)
    change.begin(torch.Generator().manual_seed(0))
    mask = torch.zeros(12, 20, dtype=torch.bool)
    mask[3:7, 5:9] = True
    seen = change.next(torch.full((3, 12, 20), 77, dtype=torch.uint8), mask)
    assert seen[:, mask].eq(77).all()
    assert seen[:, ~mask].ne(77).float().mean() > 0.9


# --- cameras that tell nothing ----------------------------------------------------------------------------------------


def blind(name: str, films: Any = None) -> Changed:
    changed = replacement(name, cameras(SIDE, SIDE, 3), films or [{(): np.zeros((4, 3, SIDE, SIDE), np.uint8)}])
    changed.begin([0])
    return changed


def test_replacements_tell_nothing_of_the_present() -> None:
    for name in ("blind: noise", "blind: blank", "blind: elsewhere"):
        one, other = blind(name), blind(name)
        assert np.array_equal(one(frame(10)), other(frame(240)))
    still = blind("blind: still")
    assert [int(still(frame(value))[0, 0, 0]) for value in (10, 20, 30)] == [10, 10, 10]


def test_noise_is_uniform_and_another_in_every_frame() -> None:
    noise = blind("blind: noise")
    first, second = noise(frame(0)), noise(frame(0))
    assert not np.array_equal(first, second)
    assert first.mean() == pytest.approx(127.5, abs=8) and first.std() == pytest.approx(73.9, abs=6)


def test_frames_of_elsewhere_begin_in_the_middle_and_come_again() -> None:
    film = np.stack([np.full((3, SIDE, SIDE), value, np.uint8) for value in (1, 2, 3, 4)])
    elsewhere = blind("blind: elsewhere", [{(): film}])
    assert [int(elsewhere(frame(9))[0, 0, 0]) for _ in range(5)] == [3, 4, 1, 2, 3]


def test_all_replacements_are_told_of() -> None:
    assert all(name.startswith("blind: ") and what for name, what in REPLACEMENTS.items())
