"""Films: frames and maps come back from the file, titles stand above them, and what can't be written is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.explanation.movies import overlay, write_attention_video
from foveal.pictures import video
from foveal.pictures.video import write_video


def read(path: Path) -> tuple[NDArray[np.uint8], Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        return frames, (stream.codec_context.name, stream.average_rate)


def blocks(count: int = 6, height: int = 210, width: int = 160) -> NDArray[np.uint8]:
    """A grey square that moves over blue."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[..., 2] = 120
    for index in range(count):
        frames[index, 40:80, 10 * index : 10 * index + 40] = 190
    return frames


@pytest.mark.parametrize(("codecs", "codec"), [(video.CODECS, None), (video.CODECS[1:], "mpeg4")])
def test_a_film_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codecs: Any, codec: str | None) -> None:
    monkeypatch.setattr(video, "CODECS", codecs)
    frames, maps = blocks(), torch.zeros(6, 84, 84)
    maps[3, 42:, :] = 1
    path = write_attention_video(tmp_path / "new" / "film.mp4", iter(frames), maps, fps=12, zoom=1)
    found, (name, rate) = read(path)
    assert name == codec or (codec is None and name in {"h264", "mpeg4"})
    assert rate == 12 and found.shape == (6, 210, 320, 3)
    assert [p.name for p in path.parent.iterdir()] == ["film.mp4"]

    def error(ours: Any, theirs: Any) -> float:
        return float(np.abs(ours.astype(float) - theirs.astype(float)).mean())

    for index in range(6):
        game = found[index, :, :160]
        assert error(game, frames[index]) < 2
        assert index == 0 or error(game, frames[index - 1]) > 2  # so they are in order
    grey = found[:, :, 160:].astype(int)
    assert np.ptp(grey[0], axis=-1).mean() < 12  # no colour where there is nothing
    red, green, blue = grey[3, 130:].reshape(-1, 3).mean(0)
    assert red > 230 and green > 210 and blue < 130  # bright yellow
    assert np.ptp(grey[3, :90], axis=-1).mean() < 12


def test_pixels_become_squares_and_odd_sides_even(tmp_path: Path) -> None:
    frames = blocks(2, 85, 51)
    found, _ = read(write_attention_video(tmp_path / "a.mp4", frames, torch.zeros(2, 84, 84), zoom=3))
    assert found.shape == (2, 256, 306, 3)
    found, _ = read(write_video(tmp_path / "b.mp4", frames, fps=15))
    assert found.shape == (2, 86, 52, 3)


def test_colour_grows_with_the_map() -> None:
    frame = np.full((1, 3, 3), 100, np.uint8)
    nothing, some, all_of_it = overlay(frame, np.array([[0.0, 0.5, 1.0]], np.float32))[0].astype(int)
    assert nothing.tolist() == [75, 75, 75] and all_of_it.tolist() == [255, 240, 90]
    assert nothing[0] < some[0] < all_of_it[0]


@pytest.mark.parametrize("count", [2, 4])
def test_films_want_a_map_for_each_frame(tmp_path: Path, count: int) -> None:
    with pytest.raises(FovealError, match="one map for every frame: there are 3 maps"):
        write_attention_video(tmp_path / "film.mp4", blocks(count), torch.zeros(3, 84, 84))
    assert list(tmp_path.iterdir()) == []


def test_titles_stand_above_their_views(tmp_path: Path) -> None:
    titles = ["game", "", "map"]
    maps = [torch.zeros(2, 84, 84)] * 2
    found, _ = read(write_attention_video(tmp_path / "a.mp4", blocks(2), *maps, zoom=1, titles=titles))
    height, width = blocks(2)[0].shape[:2]
    assert found[0].shape == (20 + height, 3 * width, 3)
    assert [line.max() > 150 for line in np.split(found[0][:18], 3, axis=1)] == [True, False, True]
    with pytest.raises(FovealError, match="a film of 3 views wants as many titles, not 2"):
        write_attention_video(tmp_path / "b.mp4", blocks(2), *maps, titles=titles[:2])
    assert not (tmp_path / "b.mp4").exists()


def test_films_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FovealError, match="at least one picture"):
        write_video(tmp_path / "film.mp4", [], fps=15)
    with pytest.raises(FovealError, match=r"one shape: \(210, 160, 3\), not \(84, 84, 3\)"):
        write_video(tmp_path / "film.mp4", [blocks(1)[0], blocks(1, 84, 84)[0]], fps=15)
    (tmp_path / "file").touch()
    with pytest.raises(FovealError, match=r"can't write the film .*film\.mp4"):
        write_video(tmp_path / "file" / "film.mp4", blocks(1), fps=15)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(FovealError, match=r"can't write the film .*folder\.mp4"):
        write_video(tmp_path / "folder.mp4", blocks(1), fps=15)
    monkeypatch.setattr(video, "CODECS", (("no-such-codec", {}),))
    with pytest.raises(FovealError, match="can write neither of no-such-codec"):
        write_video(tmp_path / "film.mp4", blocks(1), fps=15)
    assert {p.name for p in tmp_path.iterdir()} == {"file", "folder.mp4"}
