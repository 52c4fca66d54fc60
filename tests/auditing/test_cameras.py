"""Where pictures are in observations, and that reading one and writing it back changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from foveal.auditing.cameras import Camera, cameras_of, check_sees, described
from foveal.errors import FovealError

BYTES = {"low": 0, "high": 255, "dtype": np.uint8}


def box(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


def only(space: spaces.Space[Any]) -> Camera:
    (camera,) = cameras_of(space)
    return camera


@pytest.mark.parametrize(
    ("shape", "frames", "colors", "size"),
    [
        ((40, 50, 3), 1, 3, (40, 50)),
        ((3, 40, 50), 1, 3, (40, 50)),
        ((40, 50, 9), 3, 3, (40, 50)),
        ((9, 40, 50), 3, 3, (40, 50)),
        ((4, 40, 50), 4, 1, (40, 50)),
        ((40, 50, 1), 1, 1, (40, 50)),
        ((40, 50), 1, 1, (40, 50)),
        ((4, 40, 50, 3), 4, 3, (40, 50)),
        ((4, 3, 40, 50), 4, 3, (40, 50)),
        ((4, 40, 50, 1), 4, 1, (40, 50)),
    ],
)
def test_every_layout_is_known_and_comes_back_as_it_was(
    shape: tuple[int, ...], frames: int, colors: int, size: tuple[int, int]
) -> None:
    camera = only(box(*shape))
    assert (camera.frames, camera.colors, camera.height, camera.width) == (frames, colors, *size)
    observation = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    read = camera.read(observation)
    assert read.shape == (frames, 3, *size) and read.dtype == np.uint8
    assert np.array_equal(camera.written(read), observation)


def test_frames_are_read_oldest_first() -> None:
    observation = np.zeros((20, 20, 6), np.uint8)
    observation[..., 3:] = 9
    assert only(box(20, 20, 6)).read(observation)[:, 0, 0, 0].tolist() == [0, 9]


def test_floats_between_bounds_come_back_within_a_level() -> None:
    camera = only(spaces.Box(-1.0, 1.0, (3, 20, 20), np.float32))
    observation = np.random.default_rng(0).uniform(-1, 1, (3, 20, 20)).astype(np.float32)
    written = camera.written(camera.read(observation))
    assert written.dtype == np.float32
    assert np.abs(written - observation).max() <= 1 / 255 + 1e-6


def test_a_grey_picture_is_made_grey_by_luma_where_a_change_has_coloured_it() -> None:
    camera = only(box(20, 20))
    frames = np.zeros((1, 3, 20, 20), np.uint8)
    frames[0, 0] = 200
    assert camera.written(frames)[0, 0] == round(0.299 * 200)


def test_pictures_are_found_at_any_depth_and_vectors_are_not_taken_for_them() -> None:
    space = spaces.Dict(
        {"pixels": spaces.Dict({"top": box(20, 30, 3)}), "agent_pos": spaces.Box(-1, 1, (7,)), "grid": box(5, 5)}
    )
    assert [camera.path for camera in cameras_of(space)] == [("pixels", "top")]
    unbounded = spaces.Box(-np.inf, np.inf, (3, 20, 20), np.float32)
    assert cameras_of(unbounded) == ()


def test_an_environment_without_a_picture_is_refused() -> None:
    with pytest.raises(FovealError, match=r"Pole has no picture among its observations, float32 \(4,\)"):
        check_sees(spaces.Box(-1, 1, (4,)), "Pole")


def test_spaces_are_told_in_words() -> None:
    space = spaces.Dict({"image": box(8, 8, 3), "n": spaces.Discrete(4)})
    assert described(space) == "{image: uint8 (8, 8, 3), n: Discrete(4)}"
