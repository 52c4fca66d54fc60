"""Recorded episodes as a LeRobotDataset, version 3.0, without LeRobot; see ``lerobot_layout``."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.errors import FovealError
from foveal.evaluation.results import write_text
from foveal.pictures.video import has_encoder, write_video
from foveal.robot import lerobot_layout as layout
from foveal.robot.lerobot_layout import PICTURE, RecordedEpisode
from foveal.robot.optional import optional

WHAT = "recording"
EXTRA = "lerobot"


class DatasetWriter:
    """A data set that grows by an episode at a time; each is complete on the disk when ``add`` returns.

    Args:
        folder: a new one, or a data set of this writer's to go on with.
        fps: frames a second.
        about: task and skills by their names in foveal; JSON values.
        films: write pictures as films, where FFmpeg has an encoder and their sides are even; else as PNG.

    Raises:
        FovealError: the extra is missing, or the folder holds something else.
    """

    def __init__(self, folder: str | Path, fps: int, about: Mapping[str, Any], films: bool = True) -> None:
        self._arrow, self._parquet = optional("pyarrow", EXTRA, WHAT), optional("pyarrow.parquet", EXTRA, WHAT)
        self.folder, self._fps, self._about, self._films = Path(folder), fps, dict(about), films and has_encoder()
        self._rows: list[dict[str, Any]] = []
        self._tasks: list[str] = []
        self._features: dict[str, Any] = {}
        if (self.folder / layout.INFO).is_file():
            self._go_on()
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise FovealError(f"{self.folder} exists and holds no recording: choose a new folder")

    @property
    def episodes(self) -> int:
        """How many there are."""
        return len(self._rows)

    def add(self, episode: RecordedEpisode) -> None:
        """Append an episode.

        Raises:
            FovealError: it has no step, or other columns than those before.
        """
        if not len(episode):
            raise FovealError("this episode has no step, so there is nothing to record")
        if episode.task not in self._tasks:
            self._tasks.append(episode.task)
        number, start = len(self._rows), sum(row["length"] for row in self._rows)
        chunk, file = divmod(number, layout.CHUNK)
        film = self._write_film(episode, chunk, file)
        features = layout.features_of(episode, film)
        if self._features and _columns(features) != _columns(self._features):
            raise FovealError(
                f"{self.folder} was recorded with other pictures than this episode: record into a new folder"
            )
        self._features = self._features or features
        columns = self._columns(episode, number, start)
        self._write_rows(self.folder / layout.DATA.format(chunk_index=chunk, file_index=file), columns)
        self._rows.append(self._row(episode, number, start, columns))
        self._write_meta()

    def _go_on(self) -> None:
        info = json.loads((self.folder / layout.INFO).read_text(encoding="utf-8"))
        if info.get("codebase_version") != layout.VERSION or info.get("fps") != self._fps:
            raise FovealError(f"{self.folder} holds another kind of recording: choose a new folder")
        self._features = info["features"]
        self._rows = self._parquet.read_table(self.folder / layout.EPISODES).to_pylist()
        tasks = self._parquet.read_table(self.folder / layout.TASKS).to_pylist()
        self._tasks = [row["__index_level_0__"] for row in sorted(tasks, key=lambda row: row["task_index"])]
        if any(
            row["data/file_index"] + layout.CHUNK * row["data/chunk_index"] != n for n, row in enumerate(self._rows)
        ):
            raise FovealError(f"{self.folder} was written by another program: record into a new folder")

    def _write_film(self, episode: RecordedEpisode, chunk: int, file: int) -> dict[str, Any] | None:
        """What LeRobot wants to know of the film, None where there is none."""
        if episode.rgb is None or not self._films or any(side % 2 for side in episode.rgb.shape[1:3]):
            return None
        path = self.folder / layout.VIDEO.format(video_key=PICTURE, chunk_index=chunk, file_index=file)
        write_video(path, episode.rgb, fps=self._fps)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            codec, pixels = stream.codec.canonical_name, stream.pix_fmt
        height, width = episode.rgb.shape[1:3]
        return {
            "video.height": height,
            "video.width": width,
            "video.codec": codec,
            "video.pix_fmt": pixels,
            "video.is_depth_map": False,
            "video.fps": self._fps,
            "video.channels": 3,
            "has_audio": False,
        }

    def _columns(self, episode: RecordedEpisode, number: int, start: int) -> dict[str, NDArray[Any]]:
        """(T, ...) each; films are not among them."""
        steps = np.arange(len(episode))
        columns: dict[str, NDArray[Any]] = {layout.STATE: episode.state, layout.ACTION: episode.action}
        if episode.depth is not None:
            columns[layout.DEPTH] = episode.depth
        if episode.rgb is not None:
            columns[PICTURE] = episode.rgb
        return columns | {
            layout.SKILL: episode.skill,
            layout.SUCCESS: (steps == len(steps) - 1) & episode.success,
            "timestamp": (steps / self._fps).astype(np.float32),
            "frame_index": steps,
            "episode_index": np.full(len(steps), number),
            "index": start + steps,
            "task_index": np.full(len(steps), self._tasks.index(episode.task)),
        }

    def _write_rows(self, path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
        named = {name: feature for name, feature in self._features.items() if feature["dtype"] != "video"}
        arrays = [self._array(columns[name], feature["dtype"]) for name, feature in named.items()]
        self._write(path, self._arrow.table(arrays, names=list(named)))

    def _array(self, values: NDArray[Any], dtype: str) -> Any:
        """A column of Parquet: numbers, lists of numbers, lists of rows, or PNG pictures."""
        arrow = self._arrow
        if dtype == "image":
            kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
            return arrow.array([{"bytes": _png(picture), "path": None} for picture in values], kind)
        array = arrow.array(values.ravel(), getattr(arrow, "bool_" if dtype == "bool" else dtype)())
        for length in reversed(values.shape[1:]):
            array = arrow.FixedSizeListArray.from_arrays(array, length)
        return array if values.ndim < 3 else array.cast(arrow.list_(arrow.list_(getattr(arrow, dtype)())))

    def _row(
        self, episode: RecordedEpisode, number: int, start: int, columns: Mapping[str, NDArray[Any]]
    ) -> dict[str, Any]:
        """Where the episode lies, and its statistics."""
        chunk, file = divmod(number, layout.CHUNK)
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": [episode.task],
            "length": len(episode),
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": start,
            "dataset_to_index": start + len(episode),
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        if self._features.get(PICTURE, {}).get("dtype") == "video":
            place = {"chunk_index": chunk, "file_index": file, "from_timestamp": 0.0}
            place |= {"to_timestamp": len(episode) / self._fps}
            row |= {f"videos/{PICTURE}/{name}": value for name, value in place.items()}
        for name, values in columns.items():
            if name != layout.DEPTH:
                numbers = values if values.ndim > 1 else values[:, None]
                row |= {f"stats/{name}/{which}": value for which, value in layout.statistics_of(numbers).items()}
        return row

    def _write_meta(self) -> None:
        lengths = [row["length"] for row in self._rows]
        self._write(self.folder / layout.EPISODES, self._arrow.Table.from_pylist(self._rows))
        self._write(self.folder / layout.TASKS, self._task_table())
        names = sorted({name.split("/")[1] for name in self._rows[0] if name.startswith("stats/")})
        which = (*layout.QUANTILES, "min", "max", "mean", "std", "count")
        parts = {name: [{w: row[f"stats/{name}/{w}"] for w in which} for row in self._rows] for name in names}
        self._write_json(layout.STATS, {name: layout.joined_statistics(part) for name, part in parts.items()})
        self._write_json(layout.OURS, self._about)
        self._write_json(layout.INFO, layout.info_of(self._features, self._fps, lengths, len(self._tasks)))

    def _task_table(self) -> Any:
        """Task in words -> number, with what pandas needs to read the words as the index."""
        table = self._arrow.table({"task_index": list(range(len(self._tasks))), "__index_level_0__": self._tasks})
        known = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
        columns = [
            known | {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
            known | {"field_name": "__index_level_0__"},
        ]
        described = {"index_columns": ["__index_level_0__"], "column_indexes": [known], "columns": columns}
        return table.replace_schema_metadata({"pandas": json.dumps(described)})

    def _write(self, path: Path, table: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        self._parquet.write_table(table, partial, compression="snappy")
        partial.replace(path)

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        write_text(self.folder / name, json.dumps(value, indent=4) + "\n")


def _png(picture: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    return data.getvalue()


def _columns(features: Mapping[str, Any]) -> dict[str, tuple[str, list[int]]]:
    return {name: (feature["dtype"], list(feature["shape"])) for name, feature in features.items()}
