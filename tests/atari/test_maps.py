"""Maps of Atari networks as pictures: receptive fields by gradients and by loops, scaling, films."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.atari.maps import OBSERVED, SCREEN, render_maps, resize_maps, scale_recording
from foveal.atari.video import overlay, write_attention_video
from foveal.errors import FovealError
from foveal.networks.attention import Rendering
from foveal.networks.encoders import EncoderChoice, build_encoder
from foveal.networks.encoders.atari import ATARI_ENCODERS, AtariEncoder
from foveal.pictures import video
from foveal.pictures.video import write_video

WITH_MAPS = [name for name in sorted(ATARI_ENCODERS) if name != "nature"]


def built(name: str) -> AtariEncoder:
    made = build_encoder((4, 84, 84), EncoderChoice(name), torch.float32)
    assert isinstance(made, AtariEncoder)
    return made


def random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


# --- receptive fields -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("sparse-fls", Rendering(36, 8, 0)),
        ("sparse-fls-norelu-pool", Rendering(36, 8, 0)),
        ("daqn", Rendering(36, 8, 0)),
        ("rs-ppo-no-pad", Rendering(36, 8, 0)),
        ("rs-ppo", Rendering(36, 8, 1)),  # a pixel of padding before the first convolution
        ("sparse-fls-h1", Rendering(8, 4, 0)),
        ("sparse-fls-x3", Rendering(8, 4, 0)),
        ("dense-fls", Rendering(13, 1, 6)),
    ],
)
def test_published_fields(name: str, published: Rendering) -> None:
    assert built(name).rendering == published


def seen(encoder: AtariEncoder, position: tuple[int, int]) -> Tensor:
    """(84, 84) the pixels on which the features that the map weighs depend, by the gradient of all-positive weights."""
    stages = list(encoder.stages)[: 1 + min(int(index) for index in encoder.attend)]
    for stage in stages:
        nn.init.ones_(stage[0].weight)
        nn.init.ones_(stage[0].bias)
    image = torch.ones(1, 4, *OBSERVED, requires_grad=True)
    features = nn.Sequential(*stages)(image)
    (gradient,) = torch.autograd.grad(features[0, :, position[0], position[1]].sum(), image)
    return gradient[0].sum(0) > 0


@pytest.mark.parametrize("name", WITH_MAPS)
def test_a_position_is_drawn_on_the_pixels_that_it_saw(name: str) -> None:
    encoder = built(name)
    side = {"dense-fls": 84, "dense-fls-norelu": 84, "sparse-fls-h1": 20, "sparse-fls-x3": 20}.get(name, 7)
    positions = [(0, 0), (0, side - 1), (side - 1, side - 1), (side // 2, side // 3), (side - 2, 1)]
    one = torch.zeros(len(positions), 1, side, side)
    for index, (y, x) in enumerate(positions):
        one[index, 0, y, x] = 2.5
    drawn = render_maps(one, encoder.rendering)
    for picture, position in zip(drawn, positions, strict=True):
        assert picture.equal(2.5 * seen(encoder, position))


@pytest.mark.parametrize("name", ["sparse-fls", "sparse-fls-h1", "rs-ppo", "dense-fls"])
def test_maps_are_sums_over_fields(name: str) -> None:
    """Against a loop over the pixels: what does a pixel get from the positions that see it?"""
    rendering = built(name).rendering
    assert rendering is not None
    side = {"dense-fls": 84, "sparse-fls-h1": 20}.get(name, 7)
    attention = random(2, 1, side, side)
    found = render_maps(attention, rendering).numpy()
    values = attention.numpy()
    starts = np.arange(side) * rendering.stride - rendering.padding
    for row, column in [(0, 0), (3, 83), (41, 20), (83, 83), (82, 5)]:
        rows = (starts <= row) & (row < starts + rendering.receptive_field)
        columns = (starts <= column) & (column < starts + rendering.receptive_field)
        expected = values[:, 0][:, rows][:, :, columns].sum((1, 2))
        np.testing.assert_allclose(found[:, row, column], expected, rtol=1e-5)


def test_the_screen_shows_the_same_map_larger() -> None:
    rendering = built("sparse-fls").rendering
    attention = random(2, 1, 7, 7)
    small, large = render_maps(attention, rendering), render_maps(attention, rendering, SCREEN)
    assert small.shape == (2, 84, 84) and large.shape == (2, 210, 160)
    assert large.equal(resize_maps(small, SCREEN))
    ramp = torch.arange(84.0).expand(1, 84, 84)
    wide = resize_maps(ramp, SCREEN)[0, 0]
    inner = (torch.arange(160.0) + 0.5) * 84 / 160 - 0.5  # where a pixel's middle falls
    torch.testing.assert_close(wide, inner.clamp(0, 83), rtol=0, atol=1e-4)


def test_a_constant_map_of_the_dense_network_is_brightest_where_all_fields_meet() -> None:
    drawn = render_maps(torch.ones(1, 1, 84, 84), built("dense-fls").rendering)[0]
    assert drawn[42, 42] == 13 * 13 and drawn[0, 0] == 7 * 7 and drawn[0, 42] == 7 * 13


def test_networks_without_maps_and_maps_without_shape_are_refused() -> None:
    with pytest.raises(FovealError, match=r"no attention.*sparse-fls"):
        render_maps(torch.ones(1, 1, 7, 7), built("nature").rendering)
    with pytest.raises(FovealError, match=r"shape \(N, 1, h, w\), not \(7, 7\)"):
        render_maps(torch.ones(7, 7), Rendering(36, 8, 0))


# --- scaling ----------------------------------------------------------------------------------------------------------


def test_one_scale_for_a_whole_recording() -> None:
    maps = torch.tensor([[[0.0, 2.0]], [[8.0, 1.0]], [[0.0, 0.0]]])
    assert scale_recording(maps).tolist() == [[[0.0, 0.25]], [[1.0, 0.125]], [[0.0, 0.0]]]
    assert scale_recording(torch.zeros(2, 3, 3)).equal(torch.zeros(2, 3, 3))


# --- films ------------------------------------------------------------------------------------------------------------


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
