"""Files that appear once they are complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from foveal.errors import FovealError
from foveal.pictures.writing import written_whole


def test_a_file_appears_when_its_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "new" / "film.mp4"
    with written_whole(path) as partial:
        partial.write_bytes(b"film")
        assert not path.exists()
    assert path.read_bytes() == b"film" and list(path.parent.iterdir()) == [path]


def write_half(path: Path, error: type[BaseException]) -> None:
    with written_whole(path) as partial:
        partial.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_fails_leaves_nothing_and_harms_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"earlier")
    with pytest.raises(error):
        write_half(path, error)
    assert path.read_bytes() == b"earlier" and list(tmp_path.iterdir()) == [path]


def test_a_place_that_cant_be_written_costs_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(FovealError, match=r"can't write the film .*film\.mp4: "),
        written_whole(tmp_path / "file" / "film.mp4", "the film "),
    ):
        pass
