"""Recordings in LeRobot's layout: what is written is read back, agrees with the published schema, and trains skills."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foveal.errors import FovealError
from foveal.pictures.video import read_video
from foveal.robot import Step
from foveal.robot.lerobot import open_recording, to_demonstrations
from foveal.robot.lerobot_layout import PICTURE, RecordedEpisode, joined_statistics, statistics_of
from foveal.robot.lerobot_writing import DatasetWriter
from foveal.robot.recording import Recorder
from foveal.skills.minari import open_demos
from foveal.skills.view import View

SIDE = 36
ABOUT = {"task": "pick", "skills": ["reach", "lift"]}


def episode(steps: int, seed: int = 0, success: bool = True, task: str = "pick") -> RecordedEpisode:
    """Whose pictures get brighter, so that each can be told from its neighbours."""
    random = np.random.default_rng(seed)
    return RecordedEpisode(
        state=random.normal(size=(steps, 14)).astype(np.float32),
        action=random.uniform(-1.0, 1.0, (steps, 4)).astype(np.float32),
        rgb=np.arange(steps, dtype=np.uint8)[:, None, None, None].repeat(SIDE, 1).repeat(SIDE, 2).repeat(3, 3) * 12,
        depth=random.integers(400, 1500, (steps, SIDE, SIDE)).astype(np.uint16),
        skill=np.repeat([0, 1], [steps // 2, steps - steps // 2]).astype(np.int64),
        success=success,
        task=task,
    )


EPISODES = [episode(12), episode(9, 1, success=False), episode(7, 2, task="put it down")]


@pytest.fixture(params=[True, False], ids=["films", "png"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three episodes, of which the last was recorded another day."""
    folder = tmp_path / "recorded"
    writer = DatasetWriter(folder, 10, ABOUT, films=request.param)
    for one in EPISODES[:2]:
        writer.add(one)
    DatasetWriter(folder, 10, ABOUT, films=request.param).add(EPISODES[2])
    return folder


@pytest.mark.slow
def test_what_was_recorded_is_read_back(recording: Path) -> None:
    read = list(open_recording(recording))

    assert open_recording(recording).about == ABOUT
    for one, again in zip(EPISODES, read, strict=True):
        for name in ("state", "action", "depth", "skill"):
            assert np.array_equal(getattr(one, name), getattr(again, name)), name
            assert getattr(one, name).dtype == getattr(again, name).dtype
        assert (one.success, one.task) == (again.success, again.task)
        assert one.rgb is not None and again.rgb is not None
        assert np.abs(again.rgb.astype(int) - one.rgb).max() <= 3  # and neighbours differ by 12


def column_type(schema: Any, name: str) -> str:
    return str(schema.field(name).type)


@pytest.mark.slow
def test_the_schema_is_that_of_lerobot(recording: Path) -> None:
    """Names, types and values as LeRobot 0.4.4 writes them (``LeRobotDatasetMetadata``, ``DEFAULT_FEATURES``)."""
    info = json.loads((recording / "meta/info.json").read_text())
    films = info["features"][PICTURE]["dtype"] == "video"
    assert set(info) == {
        *("codebase_version", "robot_type", "total_episodes", "total_frames", "total_tasks", "chunks_size", "fps"),
        *("data_files_size_in_mb", "video_files_size_in_mb", "splits", "data_path", "video_path", "features"),
    }
    assert info["codebase_version"] == "v3.0" and info["splits"] == {"train": "0:3"} and info["fps"] == 10
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 28, 2)
    assert (info["video_path"] is not None) == films
    assert info["features"]["observation.state"]["shape"] == [14] and len(info["features"]["action"]["names"]) == 4
    for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        assert info["features"][name]["shape"] == [1]

    rows = pq.read_table(recording / "data/chunk-000/file-001.parquet")
    assert rows.column_names == [name for name, one in info["features"].items() if one["dtype"] != "video"]
    assert column_type(rows.schema, "timestamp") == "float" and column_type(rows.schema, "index") == "int64"
    assert (
        "fixed_size_list" in column_type(rows.schema, "action") and column_type(rows.schema, "next.success") == "bool"
    )
    assert rows["index"].to_pylist() == list(range(12, 21)) and rows["frame_index"].to_pylist() == list(range(9))
    assert rows["timestamp"].to_pylist() == pytest.approx(np.arange(9) / 10)
    assert rows["episode_index"].to_pylist() == [1] * 9
    if not films:
        assert rows.schema.field(PICTURE).type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])

    table = pq.read_table(recording / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["length"] for row in table] == [12, 9, 7]
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in table] == [(0, 12), (12, 21), (21, 28)]
    assert [row["tasks"] for row in table] == [["pick"], ["pick"], ["put it down"]]
    assert [row["data/file_index"] for row in table] == [0, 1, 2]
    assert all(row["meta/episodes/chunk_index"] == 0 for row in table)
    assert (f"videos/{PICTURE}/to_timestamp" in table[0]) == films
    if films:
        assert table[1][f"videos/{PICTURE}/to_timestamp"] == pytest.approx(0.9)
        film = recording / info["video_path"].format(video_key=PICTURE, chunk_index=0, file_index=1)
        assert len(list(read_video(film))) == 9

    tasks = pq.read_table(recording / "meta/tasks.parquet")
    described = json.loads(tasks.schema.metadata[b"pandas"])
    assert described["index_columns"] == ["__index_level_0__"]
    assert tasks["task_index"].to_pylist() == [0, 1] and tasks["__index_level_0__"].to_pylist() == [
        "pick",
        "put it down",
    ]


def test_statistics_are_those_of_the_numbers(recording: Path) -> None:
    stats = json.loads((recording / "meta/stats.json").read_text())
    states = np.concatenate([one.state for one in EPISODES]).astype(np.float64)

    assert stats["observation.state"]["mean"] == pytest.approx(states.mean(0))
    assert stats["observation.state"]["std"] == pytest.approx(states.std(0))
    assert stats["observation.state"]["min"] == pytest.approx(states.min(0))
    assert stats["action"]["count"] == [28]
    assert np.shape(stats[PICTURE]["mean"]) == (3, 1, 1) and stats[PICTURE]["max"][0][0][0] == pytest.approx(132 / 255)
    assert set(stats["action"]) == {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}


def test_statistics_of_parts_are_those_of_the_whole() -> None:
    random = np.random.default_rng(0)
    parts = [random.normal(size=(count, 3)) * count for count in (5, 17, 40)]

    joined, whole = joined_statistics([statistics_of(part) for part in parts]), statistics_of(np.concatenate(parts))

    for name in ("min", "max", "mean", "std", "count"):
        assert joined[name] == pytest.approx(whole[name])


@pytest.mark.slow
def test_a_recording_becomes_demonstrations(recording: Path, tmp_path: Path) -> None:
    made = to_demonstrations(recording, tmp_path / "demos", View(24, SIDE))

    assert (made.episodes, made.steps) == (3, 11 + 8 + 6)
    assert open_demos(tmp_path / "demos").about == {
        **ABOUT,
        "size": 24,
        "render": SIDE,
        "camera": 0,
        "source": "recording",
    }
    for one, demo in zip(EPISODES, made, strict=True):
        assert one.depth is not None
        assert np.array_equal(demo.depth, View(24, SIDE).cut(one.depth))
        assert np.array_equal(demo.actions, one.action[:-1]) and np.array_equal(demo.advice, one.action[:-1])
        assert np.array_equal(demo.vector, one.state) and np.array_equal(demo.skill, one.skill[:-1])
        assert (demo.terminated, demo.truncated) == (one.success, not one.success)
        assert demo.rewards[-1] == float(one.success) and not demo.rewards[:-1].any()


def test_an_episode_within_a_shared_file_is_found(tmp_path: Path) -> None:
    """As LeRobot itself writes: several episodes in one file of rows and in one film."""
    DatasetWriter(tmp_path / "a", 10, {}).add(EPISODES[0])
    rows = pq.read_table(tmp_path / "a/data/chunk-000/file-000.parquet")
    numbers = pa.array([0] * 5 + [1] * 7)
    shared = rows.set_column(rows.column_names.index("episode_index"), "episode_index", numbers)
    pq.write_table(shared, tmp_path / "a/data/chunk-000/file-000.parquet")
    path = tmp_path / "a/meta/episodes/chunk-000/file-000.parquet"
    first = pq.read_table(path).to_pylist()[0]
    second = {**first, "episode_index": 1, "length": 7, f"videos/{PICTURE}/from_timestamp": 0.5}
    pq.write_table(pa.Table.from_pylist([second, {**first, "length": 5}]), path)

    one, other = open_recording(tmp_path / "a")

    assert EPISODES[0].rgb is not None and one.rgb is not None and other.rgb is not None
    assert np.array_equal(one.action, EPISODES[0].action[:5]) and np.array_equal(other.action, EPISODES[0].action[5:])
    assert np.abs(other.rgb.astype(int) - EPISODES[0].rgb[5:]).max() <= 3 and len(one.rgb) == 5


def test_odd_pictures_and_none_at_all(tmp_path: Path) -> None:
    assert EPISODES[0].rgb is not None
    odd = replace(EPISODES[0], rgb=EPISODES[0].rgb[:, :35, :35])  # a film would add a line
    DatasetWriter(tmp_path / "odd", 10, {}).add(odd)
    assert np.array_equal(next(iter(open_recording(tmp_path / "odd"))).rgb, odd.rgb)
    DatasetWriter(tmp_path / "blind", 10, {}).add(replace(odd, rgb=None))
    assert next(iter(open_recording(tmp_path / "blind"))).rgb is None


@pytest.mark.slow
@pytest.mark.parametrize("case", ["exists", "others", "empty", "film", "version", "missing", "depth", "shape", "cut"])
def test_what_can_t_be_written_or_read(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "recorded"
    DatasetWriter(folder, 10, {}).add(EPISODES[0])
    info = json.loads((folder / "meta/info.json").read_text())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    blind = replace(EPISODES[0], depth=None)
    cases: dict[str, tuple[Any, str]] = {
        "exists": (lambda: DatasetWriter(tmp_path / "mine", 10, {}), "holds no recording"),
        "others": (lambda: DatasetWriter(folder, 30, {}), "another kind of recording"),
        "empty": (lambda: DatasetWriter(folder, 10, {}).add(episode(0)), "no step"),
        "film": (lambda: DatasetWriter(folder, 10, {}).add(blind), "other pictures"),
        "version": (lambda: open_recording(folder), "version v2.1, and foveal reads v3"),
        "missing": (lambda: open_recording(tmp_path / "mine"), "is no LeRobotDataset"),
        "depth": (lambda: to_demonstrations(tmp_path / "blind", tmp_path / "out"), "record with a depth camera"),
        "shape": (lambda: to_demonstrations(folder, tmp_path / "out"), r"has shape \[7\]; skills take \[4\]"),
        "cut": (lambda: to_demonstrations(folder, tmp_path / "out", View(24, 40)), "cut from 40 x 40"),
    }
    if case == "version":
        info["codebase_version"] = "v2.1"
    if case == "shape":
        info["features"]["action"]["shape"] = [7]
    (folder / "meta/info.json").write_text(json.dumps(info))
    DatasetWriter(tmp_path / "blind", 10, {}).add(blind)
    act, message = cases[case]
    with pytest.raises(FovealError, match=message):
        act()


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for needs in (lambda: DatasetWriter(tmp_path, 10, {}), lambda: open_recording(tmp_path)):
        with pytest.raises(FovealError, match=r'pip install "foveal\[lerobot\]"'):
            needs()


def test_the_recorder_keeps_what_was_done_beside_what_was_seen() -> None:
    class Shows:
        skill = 0

        def __call__(self, observation: Any) -> Any:
            self.skill += 1
            return [1.0, 1.0, 1.0, 1.0]

    recorder = Recorder(Shows(), scale=0.2)
    for number in range(3):
        buffer = np.full((4, 4), 1.0 + number, np.float32)
        recorder({"vector": np.full(14, number, np.float32), "depth": buffer})
        buffer[:] = 0.0  # a camera may use it again
        velocity = np.array([0.1, 0.0, -0.05]) * number  # what the limits left
        if number < 2:  # the last decision was never carried out
            recorder.on_step(Step(number, np.zeros(3), np.ones(3), velocity, number > 0, 0.0))

    made = recorder.episode("pick", True)

    assert len(made) == 2 and made.rgb is None and made.depth is not None
    assert made.action == pytest.approx(np.array([[0.0, 0.0, 0.0, -1.0], [0.5, 0.0, -0.25, 1.0]]))
    assert made.state[:, 0].tolist() == [0.0, 1.0] and made.depth[:, 0, 0].tolist() == [1000, 2000]
    assert made.skill.tolist() == [1, 2] and recorder.skill == 3
