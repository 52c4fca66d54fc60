"""LeRobotDataset of version 3, read without LeRobot: Parquet, MP4 and ``meta/`` (the extra ``lerobot``).

``meta/info.json`` has the features and where files are; ``meta/episodes/`` says for every episode which rows of which
Parquet file and which seconds of which film are its. Pictures are in films, or as PNG within the rows.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foveal.errors import FovealError
from foveal.pictures.video import read_video

INFO, EPISODES = Path("meta") / "info.json", Path("meta") / "episodes"
VERSION = "v3"
OBSERVED = "observation."
FILM, PICTURE = "video", "image"

Seen = dict[str, Any]


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a LeRobotDataset, of whatever version."""
    return (folder / INFO).is_file()


def read_episodes(folder: Path, most: int, length: int) -> Iterator[tuple[Seen, ...]]:
    """Consecutive observations from the middle of some episodes: (H, W, 3) pictures and vectors by the set's names.

    Args:
        folder: of the data set.
        most: episodes, evenly apart.
        length: observations of each, at most.

    Raises:
        FovealError: the extra is missing, the version is another, or something can't be read.
    """
    info = _info(folder)
    features = {name: about for name, about in info["features"].items() if name.startswith(OBSERVED)}
    if not any(about["dtype"] in (FILM, PICTURE) for about in features.values()):
        raise FovealError(f"{folder} has no pictures among its features, {', '.join(info['features'])}")
    episodes = _episodes(folder)
    chosen = np.linspace(0, len(episodes) - 1, min(most, len(episodes))).round().astype(int)
    for place in chosen.tolist():
        yield _episode(folder, info, features, episodes[place], length)


def _episode(
    folder: Path, info: Mapping[str, Any], features: Mapping[str, Any], episode: Mapping[str, Any], length: int
) -> tuple[Seen, ...]:
    count = int(episode["length"])
    first = max(0, count - length) // 2
    rows = _rows(folder, info, features, episode)[first : first + length]
    columns: dict[str, list[Any]] = {}
    for name, about in features.items():
        if about["dtype"] == FILM:
            columns[name] = _film(folder, info, name, episode, first, len(rows))
        elif about["dtype"] == PICTURE:
            columns[name] = [_decoded(row[name]) for row in rows]
        else:
            columns[name] = [np.asarray(row[name], np.float32) for row in rows]
    return tuple(dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def _rows(
    folder: Path, info: Mapping[str, Any], features: Mapping[str, Any], episode: Mapping[str, Any]
) -> list[dict[str, Any]]:
    place = {"chunk_index": episode["data/chunk_index"], "file_index": episode["data/file_index"]}
    names = [name for name, about in features.items() if about["dtype"] != FILM]
    path = folder / info["data_path"].format(**place)
    rows = _parquet(path, ["episode_index", "frame_index", *names])
    mine = [row for row in rows if row["episode_index"] == episode["episode_index"]]
    return sorted(mine, key=lambda row: int(row["frame_index"]))


def _film(
    folder: Path, info: Mapping[str, Any], name: str, episode: Mapping[str, Any], first: int, count: int
) -> list[Any]:
    """Frames of one camera; films hold episodes one after the other."""
    where = f"videos/{name}"
    place = {"chunk_index": episode[f"{where}/chunk_index"], "file_index": episode[f"{where}/file_index"]}
    path = folder / info["video_path"].format(video_key=name, **place)
    start = round(float(episode[f"{where}/from_timestamp"]) * float(info["fps"])) + first
    frames = list(itertools.islice(read_video(path), start, start + count))
    if len(frames) < count:
        raise FovealError(f"the film {path} ends before episode {episode['episode_index']} does")
    return frames


def _info(folder: Path) -> dict[str, Any]:
    try:
        info: dict[str, Any] = json.loads((folder / INFO).read_text(encoding="utf-8"))
        version = str(info["codebase_version"])
    except (OSError, ValueError, KeyError) as error:
        raise FovealError(f"can't read {folder / INFO}: {error}") from error
    if not version.startswith(VERSION):
        raise FovealError(
            f"{folder} is a LeRobotDataset of version {version}, and foveal reads {VERSION}: LeRobot's own script "
            "converts it"
        )
    if missing := [name for name in ("data_path", "features", "fps") if name not in info]:
        raise FovealError(f"{folder / INFO} has no {missing[0]}")
    return info


def _episodes(folder: Path) -> Sequence[Mapping[str, Any]]:
    files = sorted((folder / EPISODES).rglob("*.parquet"))
    episodes = [row for path in files for row in _parquet(path)]
    if not episodes:
        raise FovealError(f"{folder} has no episodes in {EPISODES}")
    return sorted(episodes, key=lambda row: int(row["episode_index"]))


def _parquet(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise FovealError("data sets of LeRobot need pyarrow: pip install 'foveal[lerobot]'") from error
    try:
        names = None if columns is None else list(columns)
        rows: list[dict[str, Any]] = parquet.read_table(path, columns=names).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise FovealError(f"can't read {path}: {error}") from error
    return rows


def _decoded(held: Any) -> Any:
    """A picture within a row: its bytes, alone or in a dict."""
    data = held["bytes"] if isinstance(held, Mapping) else held
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
