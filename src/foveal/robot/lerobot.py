"""LeRobotDatasets, version 3.0, read without LeRobot, and as demonstrations that skills are cloned from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.pictures.lerobot import LeRobotDataset, decoded
from foveal.robot import lerobot_layout as layout
from foveal.robot.lerobot_layout import DEPTH, PICTURE, RecordedEpisode
from foveal.skills.minari import DemoFolder, DemoWriter, Episode, open_demos
from foveal.skills.view import View

_NEEDED = (layout.STATE, layout.ACTION)


@dataclass(frozen=True)
class RecordedFolder:
    """Episodes of an arm on disk.

    Attributes:
        source: the data set.
        about: task and skills by their names in foveal; empty where somebody else recorded it.
    """

    source: LeRobotDataset
    about: dict[str, Any]

    def __iter__(self) -> Iterator[RecordedEpisode]:
        return map(self._episode, self.source.episodes())

    def _episode(self, row: Mapping[str, Any]) -> RecordedEpisode:
        table = self.source.table(row)
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

    def _pictures(self, columns: Mapping[str, Any], row: Mapping[str, Any]) -> NDArray[np.uint8] | None:
        if PICTURE in columns:
            return np.stack([decoded(entry) for entry in columns[PICTURE].to_pylist()])
        if PICTURE not in self.source.features:
            return None
        return np.stack(self.source.film(PICTURE, row, 0, int(row["length"])))


def open_recording(folder: str | Path) -> RecordedFolder:
    """A data set that ``foveal arm record`` or LeRobot wrote.

    Raises:
        FovealError: the extra is missing, or the folder holds no such thing.
    """
    source = LeRobotDataset.open(Path(folder))
    ours = source.folder / layout.OURS
    try:
        about = json.loads(ours.read_text(encoding="utf-8")) if ours.is_file() else {}
    except (OSError, ValueError) as error:
        raise FovealError(f"can't read {ours}: {error}") from error
    if missing := [name for name in _NEEDED if name not in source.features]:
        raise FovealError(f"{folder} has no column {missing[0]}")
    return RecordedFolder(source, about)


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
    recorded = open_recording(folder)
    features = recorded.source.features
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
    about = {**recorded.about, "size": view.size, "render": view.render, "camera": view.camera, "source": "recording"}
    writer = DemoWriter(out, about)
    for number, episode in enumerate(recorded):
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
