"""Moving backgrounds: which frame of which video lies behind which observation, and where videos come from."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from foveal.envs import PixelEnv, make
from foveal.envs.perturbations import benchmark_files
from foveal.envs.perturbations.benchmark_files import VideoFolder, decoded
from foveal.envs.perturbations.generated_videos import FRAMES, LAYERS, GeneratedVideos, _layers, generated_video
from foveal.envs.perturbations.video import VideoBackground, green_key
from foveal.errors import FovealError

SIZE = 32


def write_video(file: Path, frames: np.ndarray) -> None:
    """Frames (T, H, W, 3) as a small mp4."""
    file.parent.mkdir(exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture
def flat_videos(tmp_path: Path) -> Path:
    """``video_easy`` of three videos of one colour a frame, which tells the video and the frame."""
    for number, length in [(0, 4), (2, 3), (10, 5)]:
        frames = np.zeros((length, 48, 48, 3), np.uint8)
        frames[..., 0] = frames[..., 2] = (40 + 20 * number + 5 * np.arange(length))[:, None, None]
        write_video(tmp_path / "video_easy" / f"video{number}.mp4", frames)
    return tmp_path


def cheap(perturbation: str | None, **options: Any) -> PixelEnv:
    settings = {"image_size": SIZE, "quality": "draft", "seed": 0, "action_repeat": 10, **options}
    return make("dmc/cartpole-swingup", perturbation=perturbation, **settings)


def red(observation: np.ndarray) -> list[int]:
    """The red of a corner of the sky in each of the three stacked frames."""
    return [int(observation[3 * frame, 1, 1]) for frame in range(3)]


@pytest.mark.slow
def test_videos_in_order_from_the_second_one_a_frame_a_step(flat_videos: Path) -> None:
    env = cheap("video_easy", data=flat_videos)
    files = [VideoFolder(flat_videos / "video_easy", SIZE).frames(i)[:, 0, 1, 1].astype(int).tolist() for i in range(3)]
    assert [len(f) for f in files] == [4, 3, 5]  # sorted by number, not by letter
    for video in (1, 2, 0, 1):
        shown, frames = red(env.reset()[0]), files[video]
        assert shown == [frames[0]] * 3
        for step in range(1, 7):
            shown = [*shown[1:], frames[step % len(frames)]]
            assert red(env.step(np.zeros(1))[0]) == shown
    assert env.reset(seed=0)[0][0, 1, 1] == files[1][0]  # a seed begins anew
    assert (env.spec_info.perturbation_items, env.spec_info.perturbation_complete) == (3, False)
    assert env.spec_info.perturbation_source == "dmc-gb"
    env.close()


@pytest.mark.slow
def test_the_background_lies_exactly_where_the_key_is() -> None:
    env = cheap("video_hard", quality="exact", image_size=48)
    env.reset()
    layer = env.inner
    assert isinstance(layer, VideoBackground)
    for step in range(1, 4):
        observation = env.step(np.ones(1))[0][-3:]
        rendered = layer.unwrapped._frame()  # type: ignore[attr-defined]
        key, video = green_key(rendered), generated_video((_crc("video_hard"), 1), 48)
        assert 0.5 < key.mean() < 1.0
        assert np.array_equal(observation, np.where(key, video[step], rendered))
    assert not (key & env.agent_mask()).mean() > 0.02
    env.close()


def _crc(name: str) -> int:
    import zlib

    return zlib.crc32(name.encode())


@pytest.mark.slow
def test_easy_keeps_the_floor_and_hard_does_not() -> None:
    plain, easy, hard = (cheap(name).reset()[0][-3:] for name in (None, "video_easy", "video_hard"))
    floor = np.s_[:, SIZE - 6 :, :]
    sky = np.s_[:, :6, :]
    assert np.abs(plain[floor].astype(int) - easy[floor]).max() < 12  # but for reflections of the sky
    assert np.abs(plain[floor].astype(int) - hard[floor]).mean() > 12
    for changed in (easy, hard):
        assert np.abs(plain[sky].astype(int) - changed[sky]).mean() > 12


@pytest.mark.slow
def test_frames_are_resized_as_the_benchmark_does(dmcgb: Path) -> None:
    file = dmcgb / "video_hard" / "video1.mp4"
    frames = decoded(file, 84)
    assert frames.shape == (500, 3, 84, 84)
    with av.open(str(file)) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24")
    picture = torch.from_numpy(np.moveaxis(first, -1, 0).copy()).float()[None] / 255.0
    expected = (interpolate(picture, size=(84, 84), mode="bilinear", align_corners=False) * 255.0).byte()[0].numpy()
    # Within one: the two memory layouts round differently before the truncation.
    assert np.abs(frames[0].astype(int) - expected).max() <= 1
    assert (frames[0] != expected).mean() < 0.1
    corner = _bilinear(first, 84, 17, 40)
    assert np.abs(frames[0, :, 17, 40] - corner).max() <= 1


def _bilinear(frame: np.ndarray, size: int, row: int, column: int) -> np.ndarray:
    """One pixel by the formula: centres at (i + 1/2) * scale - 1/2."""
    scale = frame.shape[0] / size
    y, x = (row + 0.5) * scale - 0.5, (column + 0.5) * scale - 0.5
    i, j, fy, fx = int(y), int(x), y % 1, x % 1
    block = frame[i : i + 2, j : j + 2].astype(float)
    return np.einsum("i,j,ijc->c", [1 - fy, fy], [1 - fx, fx], block)


@pytest.mark.slow
def test_the_benchmarks_folder(dmcgb: Path) -> None:
    env = cheap("video_easy", data=dmcgb)
    assert env.spec_info.perturbation_source == "dmc-gb"
    assert env.spec_info.perturbation_complete is (env.spec_info.perturbation_items == 10)
    observation = env.reset()[0][-3:]
    key = green_key(env.inner.unwrapped._frame())  # type: ignore[attr-defined]
    video = decoded(dmcgb / "video_easy" / "video1.mp4", SIZE)
    assert np.array_equal(observation[:, key], video[0][:, key])
    env.close()


def test_a_video_is_decoded_once_as_long_as_it_stays_the_same(
    flat_videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = flat_videos / "video_easy" / "video0.mp4"
    one = decoded(file, SIZE)
    assert decoded(file, SIZE) is one
    assert not one.flags.writeable
    assert decoded(file, 16).shape == (4, 3, 16, 16)
    assert benchmark_files._decode.cache_info().maxsize == benchmark_files.CACHED_VIDEOS
    monkeypatch.setattr(benchmark_files, "_decode", lru_cache(2)(benchmark_files._decode.__wrapped__))
    one = decoded(file, SIZE)
    for number in (2, 10):
        decoded(flat_videos / "video_easy" / f"video{number}.mp4", SIZE)
    assert decoded(file, SIZE) is not one  # older ones make room
    write_video(file, np.full((2, 48, 48, 3), 200, np.uint8))
    assert decoded(file, SIZE).shape[0] == 2


@pytest.mark.slow
def test_a_damaged_video_is_named(flat_videos: Path) -> None:
    file = flat_videos / "video_easy" / "video2.mp4"
    whole = file.read_bytes()
    env = cheap("video_easy", data=flat_videos)
    for content in (b"", b"not a video", whole[: len(whole) // 3]):
        file.write_bytes(content)
        with pytest.raises(FovealError, match=r"video2\.mp4 can't be decoded"):
            env.reset(seed=0)
        with pytest.raises(FovealError, match=r"video2\.mp4 can't be decoded"):
            cheap("video_easy", data=flat_videos)  # told before anything begins
    file.unlink()
    with pytest.raises(FovealError, match=r"can't read .*video2\.mp4"):
        env.reset(seed=0)
    env.close()


@pytest.mark.parametrize("missing", ["folder", "files"])
def test_a_folder_without_videos_is_named(missing: str, tmp_path: Path) -> None:
    if missing == "files":
        (tmp_path / "video_hard").mkdir()
        (tmp_path / "video_hard" / "video_one.mp4").touch()
    with pytest.raises(FovealError, match=r"video_hard holds no video0\.mp4"):
        cheap("video_hard", data=tmp_path)


@pytest.mark.slow
def test_generated_videos_are_many_and_always_the_same() -> None:
    easy, hard = GeneratedVideos("video_easy", 10, SIZE), GeneratedVideos("video_hard", 100, SIZE)
    assert (len(easy), len(hard)) == (10, 100)
    videos = [easy.frames(0), easy.frames(1), hard.frames(0), hard.frames(1)]
    for video in videos:
        assert video.shape == (FRAMES, 3, SIZE, SIZE)
        assert video.dtype == np.uint8
    for i, one in enumerate(videos):
        for two in videos[:i]:
            assert np.abs(one[0].astype(int) - two[0]).mean() > 15
    generated_video.cache_clear()
    assert np.array_equal(easy.frames(0), videos[0])
    info = cheap("video_hard").spec_info
    assert (info.perturbation_source, info.perturbation_items, info.perturbation_complete) == ("generated", 100, True)


@pytest.mark.slow
def test_generated_videos_move_smoothly_and_look_natural() -> None:
    for index in range(3):
        video = generated_video((5, index), 64).astype(float)
        step = np.abs(np.diff(video, axis=0)).mean()
        far = np.abs(video[100:] - video[:-100]).mean()
        assert 0.2 < step < far / 3
        assert video.std(axis=(2, 3)).mean() > 20
        # Natural pictures have amplitude spectra near 1/f: fit the slope over middle frequencies.
        gray = video[::50].mean(axis=1) * np.outer(np.hanning(64), np.hanning(64))
        amplitude = np.abs(np.fft.fft2(gray - gray.mean(axis=(1, 2), keepdims=True))).mean(axis=0)
        frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
        band = (frequency > 0.05) & (frequency < 0.4)
        slope = np.polyfit(np.log(frequency[band]), np.log(amplitude[band]), 1)[0]
        assert -2.0 < slope < -0.7


def test_layers_of_generated_videos_fit_together_at_opposite_borders() -> None:
    layers = _layers(np.random.default_rng(0), 96)
    assert layers.shape == (LAYERS, 4, 96, 96) and layers.dtype == np.float32
    assert (layers[0, 3] == 1.0).all() and all(0.1 < cover.mean() < 0.9 for cover in layers[1:, 3])
    for axis in (2, 3):
        steps = np.abs(layers - np.roll(layers, 1, axis)).mean((0, 1, 5 - axis))  # (96,), the first over the border
        assert steps[0] < 1.5 * steps.mean()
