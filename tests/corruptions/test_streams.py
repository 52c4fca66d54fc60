"""Changes that remember: a contract that all keep, and closed forms."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from foveal.corruptions import CORRUPTIONS, SEVERITIES, CorruptionOptions, corrupted
from foveal.corruptions.streams import STREAMS, Stream, change_names, knows_the_task, stream
from foveal.corruptions.streams.switching import AMONG, Switching
from foveal.errors import FovealError

SIZE = 12
OPTIONS = CorruptionOptions(SIZE, picture_count=16)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(count: int) -> list[Tensor]:
    """Frames whose every pixel is their number."""
    return [torch.full((3, SIZE, SIZE), number, dtype=torch.uint8) for number in range(count)]


def passed(change: Stream, frames: list[Tensor], seed: int = 0) -> list[Tensor]:
    change.begin(draws(seed))
    return [change.next(frame).clone() for frame in frames]


def numbers(change: Stream, count: int, seed: int = 0) -> list[int]:
    """Which frame is shown at every step."""
    return [int(frame[0, 0, 0]) for frame in passed(change, numbered(count), seed)]


# --- the contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STREAMS.names())
def test_an_episode_is_a_function_of_its_seed_and_forgets_those_before(name: str) -> None:
    change = stream(name, 4, OPTIONS)
    first = passed(change, numbered(60), 1)
    passed(change, numbered(9), 2)
    again = passed(change, numbered(60), 1)
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert all(frame.shape == (3, SIZE, SIZE) and frame.dtype == torch.uint8 for frame in first)


@pytest.mark.parametrize("name", STREAMS.names())
def test_what_is_remembered_can_be_saved(name: str) -> None:
    here, there = stream(name, 4, OPTIONS), stream(name, 4, OPTIONS)
    frames, generator = numbered(80), draws(3)
    here.begin(generator)
    for frame in frames[:40]:
        here.next(frame)
    copy = torch.Generator()
    copy.set_state(generator.get_state())
    there.load_state(here.state(), copy)
    assert all(here.next(frame).equal(there.next(frame)) for frame in frames[40:])


@pytest.mark.parametrize("name", STREAMS.names())
def test_a_state_is_arrays_and_json_also_before_the_first_episode(name: str) -> None:
    state = stream(name, 1, OPTIONS).state()
    json.dumps(state, default=np.ndarray.tolist)


@pytest.mark.parametrize("name", change_names())
@pytest.mark.parametrize("severity", [0, 6])
def test_a_severity_out_of_range_is_refused(name: str, severity: int) -> None:
    with pytest.raises(FovealError, match="from 1 to 5"):
        stream(name, severity, OPTIONS)


def test_an_unknown_change_names_the_nearest() -> None:
    with pytest.raises(FovealError, match="unknown change 'frozn': did you mean 'frozen'"):
        stream("frozn", 1, OPTIONS)


def test_names_are_those_of_both_kinds_and_masks_are_asked_for() -> None:
    assert set(change_names()) == {*CORRUPTIONS.names(), *STREAMS.names()}
    assert knows_the_task("background") and not knows_the_task("noise") and not knows_the_task("frozen")


# --- closed forms -----------------------------------------------------------------------------------------------------


def test_a_corruption_as_a_stream_is_that_corruption_step_by_step() -> None:
    frames = numbered(5)
    shown = passed(stream("occluder", 4, OPTIONS), frames, seed=5)
    corruption, generator = CORRUPTIONS.get("occluder")(OPTIONS), draws(5)
    drawn = corruption.draw(1, generator)
    for time, frame in enumerate(frames):
        assert shown[time].equal(corrupted(corruption, frame[None], 4, drawn, generator, time)[0])


def test_delayed_frames_come_later_by_the_strength() -> None:
    for severity, late in zip(SEVERITIES, (1, 2, 4, 7, 12), strict=True):
        expected = [max(0, now - late) for now in range(30)]
        assert numbers(stream("delayed", severity, OPTIONS), 30) == expected


def test_of_dropped_frames_the_last_that_came_stays() -> None:
    shown = numbers(stream("dropped", 3, OPTIONS), 250)
    assert shown[0] == 0
    came = [now for now in range(1, 250) if shown[now] == now]
    assert all(shown[now] in (now, shown[now - 1]) for now in range(1, 250))
    assert len(came) == pytest.approx(125, abs=25)  # three standard deviations of Binomial(249, 1/2)


def test_a_frozen_camera_hangs_for_as_long_as_the_strength_says() -> None:
    shown = numbers(stream("frozen", 2, OPTIONS), 250)
    stood = [len(list(group)) - 1 for _, group in itertools.groupby(shown)]  # steps without a new frame
    assert set(stood[:-1]) == {0, 5, 10}  # ten where it hangs again at once
    assert 5 < stood.count(5) < 20


@pytest.mark.slow
def test_a_mixture_stays_with_each_part_and_changes_it_by_the_pixels_of_that_alone() -> None:
    change: Any = stream("switching", 2, OPTIONS)
    assert isinstance(change, Switching)
    grey = [torch.full((3, SIZE, SIZE), 120, dtype=torch.uint8)] * 4000
    change.begin(draws(0))
    active = []
    for frame in grey:
        active.append(change.active)
        shown = change.next(frame)
        if active[-1] == 0:
            assert shown.equal(frame)
    shares = np.bincount(active, minlength=len(AMONG) + 1) / len(active)
    assert shares.min() > 0.03 and shares.max() < 0.2  # 1 / 11 each, of some 200 stays
    stays = 1 + int((np.diff(active) != 0).sum())
    assert len(active) / stays == pytest.approx(1 / (0.05 * 10 / 11), rel=0.25)
