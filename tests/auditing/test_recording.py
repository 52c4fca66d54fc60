"""Frames in the place of an environment: folders, films, data sets of LeRobot's; and how actions drift on them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from gymnasium import spaces
from PIL import Image
from pyarrow import parquet

import foveal
from foveal.auditing.adapters import LeRobotPolicy
from foveal.auditing.conditions import CLEAN, Condition
from foveal.auditing.drift import drifted, usual_distance
from foveal.auditing.lerobot_dataset import read_episodes
from foveal.auditing.recording import read_recording
from foveal.errors import FovealError
from foveal.pictures.video import write_video
from small_policies import SIDE, Sides, guessing, looking

COUNT = 60


def scenes(count: int = COUNT, seed: int = 0) -> list[Any]:
    """Pictures of ``Sides``."""
    env = Sides()
    frames = [env.reset(seed=seed)[0]]
    frames += [env.step(0)[0] for _ in range(count - 1)]
    return frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "frames"
    place.mkdir()
    for number, picture in enumerate(scenes()):
        Image.fromarray(picture).save(place / f"{number:04d}.png")
    return place


def kept(policy: Any, frames: Any, **options: Any) -> foveal.Audit:
    changes = options.pop("changes", ["hue", "delayed"])
    return foveal.audit(
        policy, out=None, frames=frames, changes=changes, severities=[1], maps=(), progress=False, **options
    )


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_folder_becomes_pieces_of_consecutive_frames(folder: Path) -> None:
    recording = read_recording(folder, None)
    assert len(recording.pieces) == 20 and recording.frames == 60
    assert recording.space == spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
    for place, piece in enumerate(recording.pieces):
        assert all(np.array_equal(seen, scenes()[3 * place + step]) for step, seen in enumerate(piece))


@pytest.mark.slow
def test_a_film_is_read_as_a_folder_is(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", scenes(40), fps=10)
    recording = read_recording(film, None)
    assert recording.frames == 40
    first = recording.pieces[0][0]
    assert np.abs(first.astype(int) - scenes()[0]).mean() < 4


def test_pictures_get_the_size_that_the_policy_sees(folder: Path) -> None:
    wanted = spaces.Box(0, 255, (9, 18, 18), np.uint8)
    seen = read_recording(folder, wanted).pieces[0][0]
    assert seen.shape == (18, 18, 3)
    blocks = scenes()[0].reshape(18, 2, 18, 2, 3).astype(float).mean((1, 3))
    assert np.abs(seen - blocks).max() <= 0.5
    assert read_recording(folder, spaces.Box(0, 255, (4, 18, 18), np.uint8)).pieces[0][0].shape == (18, 18, 1)
    assert read_recording(folder, None, image_size=12).pieces[0][0].shape == (12, 12, 3)


def test_nothing_to_read_and_cameras_where_there_is_one_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="no folder of frames and no film"):
        read_recording(tmp_path / "nowhere", None)
    with pytest.raises(FovealError, match="leave --camera out"):
        read_recording(folder, None, camera="top")


# --- LeRobotDataset ---------------------------------------------------------------------------------------------------

LENGTHS = (12, 30, 8)
FPS = 10


def write_dataset(folder: Path, *, pictures: str = "video", version: str = "v3.0") -> Path:
    """Three episodes in one Parquet file and, one after the other, in one film of each camera."""
    frames = scenes(sum(LENGTHS))
    features: dict[str, Any] = {
        "observation.images.top": {"dtype": pictures, "shape": [SIDE, SIDE, 3]},
        "observation.state": {"dtype": "float32", "shape": [2]},
        "action": {"dtype": "float32", "shape": [1]},
    }
    info = {
        "codebase_version": version,
        "fps": FPS,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": features,
    }
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    rows: dict[str, list[Any]] = {"episode_index": [], "frame_index": [], "observation.state": [], "action": []}
    episodes: list[dict[str, Any]] = []
    for episode, length in enumerate(LENGTHS):
        start = len(rows["episode_index"])
        rows["episode_index"] += [episode] * length
        rows["frame_index"] += range(length)
        rows["observation.state"] += [[float(episode), float(step)] for step in range(length)]
        rows["action"] += [[0.0]] * length
        where = {
            "chunk_index": 0,
            "file_index": 0,
            "from_timestamp": start / FPS,
            "to_timestamp": (start + length) / FPS,
        }
        told = {f"videos/observation.images.top/{name}": value for name, value in where.items()}
        place = {"data/chunk_index": 0, "data/file_index": 0}
        episodes.append({"episode_index": episode, "length": length, **place, **(told if pictures == "video" else {})})
    if pictures == "image":
        rows["observation.images.top"] = [{"bytes": png(frame), "path": None} for frame in frames]
    else:
        film = folder / "videos" / "observation.images.top" / "chunk-000" / "file-000.mp4"
        film.parent.mkdir(parents=True)
        write_video(film, frames, fps=FPS)
    for path, table in (("data", pa.table(rows)), ("meta/episodes", pa.Table.from_pylist(episodes))):
        (folder / path / "chunk-000").mkdir(parents=True)
        parquet.write_table(table, folder / path / "chunk-000" / "file-000.parquet")
    return folder


def png(frame: Any) -> bytes:
    held = io.BytesIO()
    Image.fromarray(frame).save(held, "png")
    return held.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("pictures", ["video", "image"])
def test_a_data_set_gives_the_middle_of_its_episodes(pictures: str, tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", pictures=pictures)
    episodes = list(read_episodes(tmp_path / "set", most=20, length=10))
    assert [len(episode) for episode in episodes] == [10, 10, 8]
    frames = scenes(sum(LENGTHS))
    first = {0: 1, 1: 12 + 10, 2: 42}  # of the set's frames
    for number, episode in enumerate(episodes):
        for step, seen in enumerate(episode):
            expected = frames[first[number] + step]
            assert np.abs(seen["observation.images.top"].astype(int) - expected).mean() < 6
            assert seen["observation.state"].tolist() == [number, first[number] - sum(LENGTHS[:number]) + step]
            assert set(seen) == {"observation.images.top", "observation.state"}


def test_of_many_episodes_some_are_taken_evenly(tmp_path: Path) -> None:
    write_dataset(tmp_path / "set")
    assert [episode[0]["observation.state"][0] for episode in read_episodes(tmp_path / "set", 2, 3)] == [0.0, 2.0]


@pytest.mark.slow
def test_what_a_policy_sees_of_a_data_set_is_what_it_asks_for(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set")
    whole = read_recording(folder, None)
    assert isinstance(whole.space, spaces.Dict) and set(whole.space) == {"observation.images.top", "observation.state"}
    alone = read_recording(folder, spaces.Box(0, 255, (3, 18, 18), np.uint8))
    assert alone.space.shape == (18, 18, 3)
    assert read_recording(folder, None, camera="observation.images.top").space.shape == (SIDE, SIDE, 3)
    with pytest.raises(FovealError, match="there is no picture 'wrist'"):
        read_recording(folder, None, camera="wrist")


def test_data_sets_that_cant_be_read_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write_dataset(tmp_path / "old", version="v2.1")
    with pytest.raises(FovealError, match=r"version v2\.1, and foveal reads v3"):
        read_recording(old, None)
    torn = write_dataset(tmp_path / "torn")
    (torn / "data" / "chunk-000" / "file-000.parquet").write_bytes(b"nonsense")
    with pytest.raises(FovealError, match=r"can't read .*file-000\.parquet"):
        read_recording(torn, None)
    whole = write_dataset(tmp_path / "whole")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(FovealError, match=r'pip install "foveal\[lerobot\]"'):
        read_recording(whole, None)


# --- drift ------------------------------------------------------------------------------------------------------------


def test_drift_is_in_units_of_the_usual_distance() -> None:
    clean = [np.array([[0.0], [0.0]]), np.array([[4.0], [4.0]])]  # deviation 2, so the usual distance is 2
    assert usual_distance(clean, np.array([2.0]), discrete=False) == 2.0
    moved = [np.array([[1.0], [1.0]]), np.array([[4.0], [8.0]])]
    point = drifted(Condition("hue", 1), moved, clean, discrete=False)
    assert point.values == (0.25, 0.5)
    assert drifted(Condition(CLEAN), clean, clean, discrete=False).mean == 0.0


def test_drift_of_choices_is_how_many_are_others() -> None:
    clean = [np.array([[0.0], [1.0]]), np.array([[0.0], [0.0]])]  # usually half of them differ
    moved = [np.array([[1.0], [1.0]]), np.array([[0.0], [0.0]])]
    assert drifted(Condition("hue", 1), moved, clean, discrete=True).values == (1.0, 0.0)


def test_a_policy_that_never_moves_does_not_drift() -> None:
    clean = [np.ones((3, 1)), np.ones((3, 1))]
    assert drifted(Condition("hue", 1), clean, clean, discrete=True).mean == 0.0


@pytest.mark.slow
def test_a_policy_that_looks_drifts_where_its_frames_come_late(folder: Path) -> None:
    found = kept(looking, folder)
    assert found.measure == "action drift" and found.unit == "pieces" and found.chance is None
    assert found.verdict == "looks"
    delayed, hue = found.curves()
    assert delayed.change == "delayed" and delayed.points[0].mean > 0.2
    assert hue.points[0].mean == 0.0 and hue.points[0].kept == 1.0
    assert "no return was measured" in found.summary[2]


@pytest.mark.slow
def test_a_policy_that_never_looks_is_blind_on_frames_too(folder: Path) -> None:
    found = kept(guessing, folder)
    assert found.verdict == "blind" and "blind to its camera" in found.summary[0]


@pytest.mark.slow
def test_numbers_of_a_bare_network_are_choices_where_that_is_said(folder: Path) -> None:
    def values(observation: Any) -> Any:
        return np.array([0.0, 0.001 * observation.mean() + 5.0 * looking(observation) - 2.0])

    assert kept(values, folder, discrete=True, changes=["contrast"]).points[0].mean == 0.0
    assert kept(values, folder, changes=["brightness"]).points[0].mean > 0.0


@pytest.mark.slow
def test_a_policy_of_lerobots_is_shown_a_data_set(tmp_path: Path) -> None:
    class State:
        """Acts by its joints alone."""

        def reset(self) -> None: ...

        def select_action(self, batch: Any) -> Any:
            assert set(batch) == {"observation.images.top", "observation.state"}
            return batch["observation.state"]

    found = kept(LeRobotPolicy(State()), write_dataset(tmp_path / "set"))
    assert {point.mean for point in found.blind} == {0.0}
    assert found.verdict == "unclear"  # three pieces are too few to say
