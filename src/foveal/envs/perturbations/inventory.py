"""What of the benchmarks' data is in a folder, and whether every file can be read."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from foveal.envs.perturbations.benchmark_files import VideoFolder, decoded, read_colors
from foveal.envs.perturbations.colors import BENCHMARK_COLORS
from foveal.envs.perturbations.sky_films import TRAINING_FILMS, WITHIN, DavisFilms
from foveal.envs.perturbations.video import VideoEasy, VideoHard
from foveal.errors import FovealError
from foveal.pictures.folder import SUFFIXES, read_picture

PLACES = ("places365_standard", "places365_standard/train", "places365", "data_large")
"""Folders in which Places365 is where DMC-GB and its own archives put it."""
PLACES_IMAGES = 1_803_460
"""Of Places365-Standard's training set."""
SAMPLE = 200
"""Pictures of Places that are decoded, at even distances; all of them would take an hour."""
SMALL = 8
"""Side in pixels to which videos are decoded: it's enough to see whether they can be."""

Watch = Callable[[Iterable[Path], int, str], Iterable[Path]]
"""Gives back the files as they come, with their number and what they are: a progress bar."""


@dataclass(frozen=True)
class Finding:
    """One part of the data.

    Attributes:
        name: of its file or folder.
        unit: what is counted.
        found: how many there are and can be read.
        wanted: how many the benchmark has.
        broken: what can't be read, a line each.
        used_by: conditions, or what else needs it.
    """

    name: str
    unit: str
    found: int
    wanted: int
    used_by: str
    broken: tuple[str, ...] = field(default=())

    @property
    def state(self) -> str:
        """broken, missing, part or whole."""
        if self.broken:
            return "broken"
        if self.found == 0:
            return "missing"
        return "whole" if self.found >= self.wanted else "part"


def inventory(folder: Path, watch: Watch) -> list[Finding]:
    """Every part of the data that foveal knows, with every file of it opened and decoded, Places' but for a sample.

    Args:
        folder: DMC-GB's, or one that holds it beside DAVIS and Places.
        watch: for a progress bar.

    Raises:
        FovealError: there is no such folder.
    """
    if not folder.is_dir():
        raise FovealError(f"there is no folder {folder}")
    colors = [_colors(folder, name) for name in ("color_easy", "color_hard")]
    videos = [_videos(folder, kind.name, kind.benchmark_videos, watch) for kind in (VideoEasy, VideoHard)]
    return [*colors, *videos, _davis(folder, watch), _places(folder, watch)]


def _colors(folder: Path, name: str) -> Finding:
    file = folder / f"{name}.pt"
    found = 0
    broken: tuple[str, ...] = ()
    if file.exists():
        try:
            found = len(read_colors(file))
        except FovealError as error:
            broken = (str(error),)
    return Finding(file.name, "sets of colours", found, BENCHMARK_COLORS, name, broken)


def _videos(folder: Path, name: str, wanted: int, watch: Watch) -> Finding:
    place = folder / name
    files = VideoFolder(place, SMALL).files if any(place.glob("video*.mp4")) else []
    broken = tuple(_unreadable(files, lambda file: decoded(file, SMALL), watch, name))
    return Finding(f"{name}/", "videos", len(files) - len(broken), wanted, name, broken)


def _davis(folder: Path, watch: Watch) -> Finding:
    name, used_by = "DAVIS/JPEGImages/480p/", "distracting_cs"
    if not any((folder / part / film).is_dir() for part in WITHIN for film in TRAINING_FILMS):
        return Finding(name, "films", 0, len(TRAINING_FILMS), used_by)
    try:
        films = DavisFilms(folder, len(TRAINING_FILMS))
    except FovealError as error:
        return Finding(name, "films", 0, len(TRAINING_FILMS), used_by, (str(error),))
    files = list(itertools.chain.from_iterable(films.films))
    broken = tuple(_unreadable(files, read_picture, watch, "DAVIS"))
    return Finding(name, "films", len(films), len(TRAINING_FILMS), used_by, broken)


def _places(folder: Path, watch: Watch) -> Finding:
    used_by = f"overlays (training.overlays), {SAMPLE} decoded"
    place = next((folder / part for part in PLACES if (folder / part).is_dir()), None)
    if place is None:
        return Finding(f"{PLACES[0]}/", "pictures", 0, PLACES_IMAGES, used_by)
    files = sorted(_pictures(place))
    broken = tuple(_unreadable(files[:: max(1, len(files) // SAMPLE)], read_picture, watch, "Places"))
    return Finding(f"{place.relative_to(folder)}/", "pictures", len(files), PLACES_IMAGES, used_by, broken)


def _pictures(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names if name.lower().endswith(SUFFIXES))


def _unreadable(files: list[Path], read: Callable[[Path], object], watch: Watch, what: str) -> Iterator[str]:
    """What is wrong with those files that can't be read."""
    for file in watch(files, len(files), what):
        try:
            read(file)
        except FovealError as error:
            yield str(error)
