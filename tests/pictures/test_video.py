"""Films: read from the middle, they give what is read from the start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foveal.pictures.video import read_video, write_video


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 pictures of noise that moves, with whole pictures now and then."""
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, (np.roll(noise, step, axis=0) for step in range(300)), fps=10)


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 1, 2, 249, 250, 251, 299, 300, 400])
def test_a_film_is_read_from_any_picture_on(film: Path, first: int) -> None:
    whole, rest = list(read_video(film)), list(read_video(film, first))
    assert len(whole) == 300 and len(rest) == max(0, 300 - first)
    for one, other in zip(whole[first:], rest, strict=True):
        assert np.array_equal(one, other)
