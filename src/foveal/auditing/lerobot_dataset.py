"""Observations of a LeRobotDataset, as a policy is shown them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foveal.errors import FovealError
from foveal.pictures.lerobot import FILM, PICTURE, LeRobotDataset, decoded, is_dataset

__all__ = ["is_dataset", "read_episodes"]

OBSERVED = "observation."

Seen = dict[str, Any]


def read_episodes(folder: Path, most: int, length: int) -> Iterator[tuple[Seen, ...]]:
    """Consecutive observations from the middle of some episodes: (H, W, 3) pictures and vectors by the set's names.

    Args:
        folder: of the data set.
        most: episodes, evenly apart.
        length: observations of each, at most.

    Raises:
        FovealError: the extra is missing, the version is another, or something can't be read.
    """
    source = LeRobotDataset.open(folder)
    features = {name: about["dtype"] for name, about in source.features.items() if name.startswith(OBSERVED)}
    if not {FILM, PICTURE} & set(features.values()):
        raise FovealError(f"{folder} has no pictures among its features, {', '.join(source.features)}")
    episodes = source.episodes()
    chosen = np.linspace(0, len(episodes) - 1, min(most, len(episodes))).round().astype(int)
    for place in chosen.tolist():
        yield _episode(source, features, episodes[place], length)


def _episode(
    source: LeRobotDataset, features: Mapping[str, str], episode: Mapping[str, Any], length: int
) -> tuple[Seen, ...]:
    first = max(0, int(episode["length"]) - length) // 2
    stored = [name for name, dtype in features.items() if dtype != FILM]
    rows = source.table(episode, stored).slice(first, length).to_pylist()
    columns: dict[str, list[Any]] = {}
    for name, dtype in features.items():
        if dtype == FILM:
            columns[name] = list(source.film(name, episode, first, len(rows)))
        elif dtype == PICTURE:
            columns[name] = [decoded(row[name]) for row in rows]
        else:
            columns[name] = [np.asarray(row[name], np.float32) for row in rows]
    return tuple(dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
