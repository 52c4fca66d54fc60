"""LeRobotDatasets of version 3, read without LeRobot: Parquet, MP4 and ``meta/`` (the extra ``lerobot``).

Hugging Face, "LeRobotDataset v3.0". ``meta/info.json`` has the features and where files are; ``meta/episodes/`` says
for every episode which rows of which Parquet file and which seconds of which film are its. Pictures are in films, or as
PNG within the rows.
"""

from __future__ import annotations

import importlib
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.errors import FovealError, require
from foveal.pictures.video import read_video

INFO, EPISODES = Path("meta") / "info.json", Path("meta") / "episodes"
VERSION = "v3"
FILM, PICTURE = "video", "image"
"""Types of features that are pictures."""
EPISODE, FRAME = "episode_index", "frame_index"
_NEEDED = ("data_path", "features", "fps")


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a LeRobotDataset, of whatever version."""
    return (folder / INFO).is_file()


@dataclass(frozen=True)
class LeRobotDataset:
    """A data set on disk.

    Attributes:
        folder: as given.
        info: of ``meta/info.json``.
    """

    folder: Path
    info: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> LeRobotDataset:
        """A folder that LeRobot or ``foveal arm record`` wrote.

        Raises:
            FovealError: the extra is missing, the version is another, or the folder holds no such thing.
        """
        _parquet()
        try:
            info = json.loads((folder / INFO).read_text(encoding="utf-8"))
            version = str(info["codebase_version"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FovealError(f"{folder} is no LeRobotDataset: can't read {folder / INFO}: {error}") from error
        if not version.startswith(VERSION):
            raise FovealError(
                f"{folder} is a LeRobotDataset of version {version}, and foveal reads {VERSION}: LeRobot's own script "
                "converts it"
            )
        if missing := [name for name in _NEEDED if name not in info]:
            raise FovealError(f"{folder / INFO} has no {missing[0]}")
        return cls(folder, info)

    @property
    def features(self) -> Mapping[str, Any]:
        """Name -> its ``dtype`` and ``shape``."""
        features: Mapping[str, Any] = self.info["features"]
        return features

    def episodes(self) -> Sequence[Mapping[str, Any]]:
        """What ``meta/episodes/`` says of each, in their order.

        Raises:
            FovealError: there is none, or a file can't be read.
        """
        files = sorted((self.folder / EPISODES).rglob("*.parquet"))
        found = [row for path in files for row in _read(path).to_pylist()]
        if not found:
            raise FovealError(f"{self.folder} has no episodes in {EPISODES}")
        return sorted(found, key=lambda row: int(row[EPISODE]))

    def table(self, episode: Mapping[str, Any], names: Sequence[str] | None = None) -> Any:
        """The rows of an episode in their order, as a table of PyArrow's.

        Args:
            episode: one of ``episodes()``.
            names: of features; all by default.

        Raises:
            FovealError: the file can't be read.
        """
        place = {name: episode[f"data/{name}"] for name in ("chunk_index", "file_index")}
        path = self.folder / self.info["data_path"].format(**place)
        columns = None if names is None else [EPISODE, FRAME, *names]
        return _read(path, columns, [(EPISODE, "=", episode[EPISODE])]).sort_by(FRAME)

    def film(self, name: str, episode: Mapping[str, Any], first: int, count: int) -> list[NDArray[np.uint8]]:
        """Frames (H, W, 3) of one camera; films hold episodes one after the other.

        Args:
            name: of the feature.
            episode: one of ``episodes()``.
            first: frame of the episode.
            count: of frames.

        Raises:
            FovealError: the film can't be read, or ends before.
        """
        place = {part: episode[f"videos/{name}/{part}"] for part in ("chunk_index", "file_index")}
        path = self.folder / self.info["video_path"].format(video_key=name, **place)
        start = round(float(episode[f"videos/{name}/from_timestamp"]) * float(self.info["fps"])) + first
        frames = list(itertools.islice(read_video(path, start), count))
        if len(frames) < count:
            raise FovealError(f"the film {path} ends before episode {episode[EPISODE]} does")
        return frames


def decoded(held: Any) -> NDArray[np.uint8]:
    """A picture within a row, (H, W, 3): its bytes, alone or in a dict."""
    data = held["bytes"] if isinstance(held, Mapping) else held
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _read(path: Path, columns: Sequence[str] | None = None, filters: Any = None) -> Any:
    pyarrow = importlib.import_module("pyarrow")
    try:
        return _parquet().read_table(path, columns=None if columns is None else list(columns), filters=filters)
    except (OSError, pyarrow.ArrowException) as error:
        raise FovealError(f"can't read {path}: {error}") from error


def _parquet() -> Any:
    require("pyarrow.parquet", 'data sets of LeRobot need the extra "lerobot": pip install "foveal[lerobot]"')
    return importlib.import_module("pyarrow.parquet")
