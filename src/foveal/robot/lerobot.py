"""LeRobotDatasets, version 3.0, read without LeRobot, and as demonstrations that skills are cloned from."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.errors import FovealError
from foveal.pictures.video import read_video
from foveal.robot import lerobot_layout as layout
from foveal.robot.lerobot_layout import DEPTH, PICTURE, RecordedEpisode
from foveal.robot.optional import optional
from foveal.skills.minari import DemoFolder, DemoWriter, Episode, open_demos
from foveal.skills.view import View

WHAT = "reading a recording"
EXTRA = "lerobot"
_NEEDED = (layout.STATE, layout.ACTION)


@dataclass(frozen=True)
class RecordedFolder:
    """A data set on disk.

    Attributes:
        folder: as given.
        info: of ``info.json``.
        about: task and skills by their names in foveal; empty where somebody else recorded it.
    """

    folder: Path
    info: dict[str, Any]
    about: dict[str, Any]

    def __len__(self) -> int:
        return int(self.info["total_episodes"])

    def __iter__(self) -> Iterator[RecordedEpisode]:
        parquet = optional("pyarrow.parquet", EXTRA, WHAT)
        rows = [
            row
            for path in sorted((self.folder / "meta" / "episodes").glob("*/*.parquet"))
            for row in parquet.read_table(path).to_pylist()
        ]
        for row in sorted(rows, key=lambda row: int(row["episode_index"])):
            yield self._episode(parquet, row)

    def _episode(self, parquet: Any, row: dict[str, Any]) -> RecordedEpisode:
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        path = self.folder / self.info["data_path"].format(**place)
        try:
            table = parquet.read_table(path, filters=[("episode_index", "=", row["episode_index"])])
        except OSError as error:
            raise FovealError(f"can't read {path}: {error}") from error
        columns = {name: table[name] for name in table.column_names}
        steps, success = table.num_rows, columns.get(layout.SUCCESS)
        skill = columns.get(layout.SKILL)
        return RecordedEpisode(
            state=_numbers(columns[layout.STATE], np.float32),
            action=_numbers(columns[layout.ACTION], np.float32),
            rgb=self._pictures(columns, row),
            depth=_numbers(columns[DEPTH], np.uint16) if DEPTH in columns else None,
            skill=np.zeros(steps, np.int64) if skill is None else _numbers(skill, np.int64),
            success=success is not None and any(success.to_pylist()),
            task=str(row["tasks"][0]),
        )

    def _pictures(self, columns: dict[str, Any], row: dict[str, Any]) -> NDArray[np.uint8] | None:
        if PICTURE in columns:
            stored = [Image.open(io.BytesIO(entry["bytes"])).convert("RGB") for entry in columns[PICTURE].to_pylist()]
            return np.stack([np.asarray(picture) for picture in stored])
        if PICTURE not in self.info["features"]:
            return None
        place = {name: row[f"videos/{PICTURE}/{name}"] for name in ("chunk_index", "file_index")}
        path = self.folder / self.info["video_path"].format(video_key=PICTURE, **place)
        first = round(row[f"videos/{PICTURE}/from_timestamp"] * self.info["fps"])
        return np.stack(list(itertools.islice(read_video(path), first, first + int(row["length"]))))


def open_recording(folder: str | Path) -> RecordedFolder:
    """A data set that ``foveal arm record`` or LeRobot wrote.

    Raises:
        FovealError: the extra is missing, or the folder holds no such thing.
    """
    optional("pyarrow.parquet", EXTRA, WHAT)
    folder = Path(folder)
    try:
        info = json.loads((folder / layout.INFO).read_text(encoding="utf-8"))
        ours = folder / layout.OURS
        about = json.loads(ours.read_text(encoding="utf-8")) if ours.is_file() else {}
    except (OSError, ValueError) as error:
        raise FovealError(f"{folder} holds no recording: can't read {layout.INFO} ({error})") from error
    version = str(info.get("codebase_version", "none"))
    if not version.startswith("v3."):
        raise FovealError(f"{folder} is of LeRobot's layout {version}; convert it to {layout.VERSION} with LeRobot")
    if missing := [name for name in _NEEDED if name not in info["features"]]:
        raise FovealError(f"{folder} has no column {missing[0]}")
    return RecordedFolder(folder, info, about)


def to_demonstrations(folder: str | Path, out: str | Path, view: View | None = None) -> DemoFolder:
    """A recording as demonstrations, which ``foveal skills train`` takes.

    An episode of T frames gives T - 1 steps: the last frame shows what the last of them led to.

    Args:
        folder: of the recording; it must have depth, state and actions as foveal records them.
        out: a new folder.
        view: which part of the frames skills see; by default all of it.

    Raises:
        FovealError: an extra is missing, there is no depth, shapes differ from foveal's, or the folder exists.
    """
    source = open_recording(folder)
    features = source.info["features"]
    if DEPTH not in features:
        raise FovealError(f"{folder} has no column {DEPTH}, and skills see depth: record with a depth camera")
    for name, wanted in ((layout.STATE, [14]), (layout.ACTION, [4])):
        if list(features[name]["shape"]) != wanted:
            raise FovealError(f"{name} of {folder} has shape {features[name]['shape']}; skills take {wanted}")
    height, width = features[DEPTH]["shape"]
    view = View(height, height) if view is None else view
    if (height, width) != (view.render, view.render):
        raise FovealError(
            f"depth of {folder} is {width} x {height} pixels, and skills' frames are cut from "
            f"{view.render} x {view.render}"
        )
    about = {**source.about, "size": view.size, "render": view.render, "camera": view.camera, "source": "recording"}
    writer = DemoWriter(out, about)
    for number, episode in enumerate(source):
        if len(episode) < 2:
            raise FovealError(f"episode {number} of {folder} has {len(episode)} frame, too few for a step")
        writer.add(_demonstration(episode, view))
    return open_demos(out)


def _demonstration(episode: RecordedEpisode, view: View) -> Episode:
    assert episode.depth is not None
    steps = len(episode) - 1
    return Episode(
        depth=view.cut(episode.depth),
        vector=episode.state,
        actions=episode.action[:steps],
        rewards=np.where(np.arange(steps) == steps - 1, float(episode.success), 0.0),
        terminated=episode.success,
        truncated=not episode.success,
        skill=episode.skill[:steps],
        advice=episode.action[:steps],
        things=None,
        seed=None,
    )


def _numbers(column: Any, dtype: Any) -> NDArray[Any]:
    """(T, ...) of a column of numbers or of lists of numbers, all of one shape."""
    values = column.combine_chunks()
    shape = [len(values)]
    while hasattr(values, "flatten") and hasattr(values.type, "value_type"):
        inner = values.flatten()
        shape.append(len(inner) // max(len(values), 1))
        values = inner
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype).reshape(shape)
