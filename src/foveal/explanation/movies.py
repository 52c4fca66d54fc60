"""Films of an episode beside the maps that explain it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.atari.video import write_attention_video
from foveal.errors import FovealError
from foveal.evaluation.recording import Recording, Sight
from foveal.explanation.attention import AT_ONCE, Lens, brightest
from foveal.explanation.panels import map_name
from foveal.progress import watched

HEIGHT = 420
"""Pixels that a film is high at least: every pixel of a frame becomes a square."""


def film(path: str | Path, lens: Lens, recording: Recording, *, progress: bool = False) -> Path:
    """An mp4 of every step of an episode, and beside it one map after another over the frame in grey.

    Pictures are never in memory at once: a long game's are of gigabytes.

    Args:
        path: the film.
        lens: which maps.
        recording: the episode.
        progress: show bars.

    Raises:
        FovealError: the film can't be written.
    """
    sights, length = recording.sights, len(recording.sights)
    maps: dict[str, NDArray[np.float32]] = {}
    start = side = 0
    for batch in _batches(watched(sights, length, "look", visible=progress)):
        side = batch[0].picture.shape[0]
        for name in lens.names:
            strengths = lens.strengths(name, batch)
            if name not in maps:
                maps[name] = np.empty((length, *strengths.shape[1:]), np.float32)
            maps[name][start : start + len(batch)] = strengths
        start += len(batch)
    for name, strengths in maps.items():
        strengths /= brightest(name, strengths)  # in place, for the same reason
    pictures = (sight.picture for sight in watched(sights, length, "film", visible=progress))
    titles = [recording.words.picture, *map(map_name, maps)]
    scaled = map(torch.from_numpy, maps.values())
    return write_attention_video(path, pictures, *scaled, zoom=-(-HEIGHT // side), titles=titles)


def check_film(path: str | Path) -> None:
    """Refuse a name that no film can have.

    Raises:
        FovealError: it does not end in .mp4.
    """
    if Path(path).suffix != ".mp4":
        raise FovealError(f"a film is an mp4 file: call it {Path(path).with_suffix('.mp4')}, not {path}")


def _batches(sights: Iterable[Sight]) -> Iterator[list[Sight]]:
    sights = iter(sights)
    while batch := list(islice(sights, AT_ONCE)):
        yield batch
