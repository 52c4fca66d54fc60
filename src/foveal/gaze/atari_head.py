"""Reader of Atari-HEAD: what people looked at while they played (Zhang et al. 2020; Zenodo record 3451402, CC-BY-4.0).

A trial is a text file with a row per frame, and beside it an archive of the frames as PNGs. Archives are read from
start to end as they are, never unpacked to the disk.
"""

from __future__ import annotations

import csv
import io
import math
import re
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from foveal.errors import FovealError
from foveal.registry import nearest

T = TypeVar("T")

HEIGHT, WIDTH = 210, 160
METADATA = "meta_data.csv"
ARCHIVE = ".tar.bz2"
FIRST_COLUMN = "frame_id"
FIXED_COLUMNS = 6
"""frame_id, episode_id, score, duration(ms), unclipped_reward, action; then x, y, x, y, ... or ``null``."""
HIGHSCORE = "_highscore"

Pixels = NDArray[np.int32]
"""(n,) places on the screen, one per gaze sample, as y * WIDTH + x."""
Frame = NDArray[np.uint8]
"""(HEIGHT, WIDTH, 3) RGB."""


@dataclass(frozen=True)
class Trial:
    """One recording of one person's play.

    Attributes:
        name: of the recording.
        game: as the data set calls it, without the mark of its record runs.
        frames: the archive, or the folder, of pictures.
        names: frame number -> name of its picture without ``.png``. Numbers count the emulator's frames, from 1.
        gaze: frame number -> gaze samples on the screen; empty where there are none.
        episodes: frame number -> episode, for those that the recording tells.
        outside: gaze samples that were discarded because they lie outside the screen.
        summary: whether the gaze samples were made from a summary (``foveal.gaze.atari_head_summary``), not measured.
        averaged: whether the emulator blended consecutive frames into the pictures; None where nobody says.
        rounded: whether gaze was rounded to the nearest pixel, see ``foveal.gaze.protocols``.
    """

    name: str
    game: str
    frames: Path
    names: Mapping[int, str]
    gaze: Mapping[int, Pixels]
    episodes: Mapping[int, str]
    outside: int = 0
    summary: bool = False
    averaged: bool | None = None
    rounded: bool = False


@dataclass(frozen=True)
class Metadata:
    """What ``meta_data.csv`` says of a trial."""

    game: str
    averaged: bool | None


@dataclass(frozen=True)
class TrialFiles:
    """Where a trial is, before it is read."""

    text: Path
    game: str
    averaged: bool | None

    def read(self, *, rounded: bool = False) -> Trial:
        """The trial.

        Raises:
            FovealError: as ``read_trial``.
        """
        return read_trial(self.text, self.game, self.averaged, rounded=rounded)


def find_trials(folder: str | Path, game: str | None = None) -> list[TrialFiles]:
    """The trials in a folder and its subfolders, in the order of their numbers.

    Args:
        folder: Atari-HEAD or part of it: files ``<number>_<name>.txt`` and ``<number>_<name>.tar.bz2`` side by side.
        game: this one only. Needed where there is no ``meta_data.csv``, in the folder or the one above it, to say.

    Raises:
        FovealError: no folder, no trial in it, none of the game, a trial without its frames, or the metadata is
            broken or leaves out a trial.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FovealError(f"no folder {folder}: --data names a folder of Atari-HEAD")
    texts = sorted((path for path in folder.rglob("*.txt") if _number(path) is not None), key=lambda p: (_number(p), p))
    if not texts:
        raise FovealError(
            f"no trials in {folder}: Atari-HEAD has files <number>_<name>.txt beside <number>_<name>{ARCHIVE}; "
            "unzip its games there"
        )
    place = next((path for path in (folder / METADATA, folder.parent / METADATA) if path.is_file()), None)
    known = read_metadata(place) if place is not None else {}
    found = [_files(text, known, game) for text in texts]
    chosen = found if game is None else [files for files in found if game_key(files.game) == game_key(game)]
    if not chosen:
        games = sorted({files.game for files in found})
        raise FovealError(f"no trial of {game} in {folder}: {nearest(str(game), games)}")
    for files in chosen:
        if not archive_of(files.text).is_file():
            raise FovealError(
                f"the frames of {files.text} are missing: there is no {archive_of(files.text).name} beside it"
            )
    return chosen


def game_key(name: str) -> str:
    """What a game's names have in common: ``ms_pacman``, ``MsPacman``, ``atari/ms-pacman`` are all ``mspacman``."""
    return re.sub(r"[^a-z0-9]", "", name.rpartition("/")[2].lower().removesuffix(HIGHSCORE))


def archive_of(text: Path) -> Path:
    """The archive of frames that belongs to a trial's text file."""
    return text.with_name(text.name.removesuffix(".txt") + ARCHIVE)


def read_metadata(path: Path) -> dict[int, Metadata]:
    """Game and rendering by number of the trial, from either version of the file.

    Version 4 has columns ``GameName``, ``trial_id`` and ``frame_averaging``; the older one ``Game`` and
    ``TrialNumber``.

    Raises:
        FovealError: it can't be read, the header is neither version's, or a line is broken (with its number).
    """
    rows = list(csv.reader(io.StringIO(text_of(path)), skipinitialspace=True))
    header = [cell.strip().lstrip("\ufeff") for cell in rows[0]] if rows else []
    if {"GameName", "trial_id"} <= set(header):
        game, number = header.index("GameName"), header.index("trial_id")
    elif {"Game", "TrialNumber"} <= set(header):
        game, number = header.index("Game"), header.index("TrialNumber")
    else:
        raise FovealError(
            f"{path}: line 1 is neither header of Atari-HEAD's metadata ('GameName,trial_id,...' in version 4, "
            f"'TrialNumber,NumberOfFrames,Game' before), but {','.join(header)[:80]!r}"
        )
    blending = header.index("frame_averaging") if "frame_averaging" in header else None
    found = {}
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if (
            len(row) <= max(game, number)
            or not row[game].strip()
            or not re.fullmatch(r"\d+(\.0)?", row[number].strip())
        ):
            raise FovealError(f"{path}: line {line} names no game and number of a trial: {','.join(row)[:80]!r}")
        cell = row[blending].strip().lower() if blending is not None and len(row) > blending else ""
        name = row[game].strip().removesuffix(HIGHSCORE)
        found[int(float(row[number]))] = Metadata(name, {"true": True, "false": False}.get(cell))
    return found


def read_trial(text: Path, game: str, averaged: bool | None = None, *, rounded: bool = False) -> Trial:
    """A trial's gaze. Samples outside the screen are discarded and counted.

    Args:
        text: the trial's ``.txt``.
        game: the game's name.
        averaged, rounded: see ``Trial``.

    Raises:
        FovealError: the file can't be read, has another header, or a line is broken; the message has the line's number.
    """
    lines = text_of(text).splitlines()
    if not lines or lines[0].split(",")[0].strip().lstrip("\ufeff") != FIRST_COLUMN:
        raise FovealError(f"{text}: line 1 is no header of an Atari-HEAD trial, which begins with {FIRST_COLUMN!r}")
    rows = [(number, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    names, gaze, outside = gathered(text, rows, _row, rounded=rounded)
    begun = ([cell.strip() for cell in line.split(",", 2)] for _, line in rows)
    episodes = {number_of(name): episode for name, episode, _ in begun if episode != "null"}
    name, frames = text.name.removesuffix(".txt"), archive_of(text)
    return Trial(name, game, frames, names, gaze, episodes, outside=outside, averaged=averaged, rounded=rounded)


def gathered(
    path: Path,
    rows: Iterable[tuple[int, T]],
    read: Callable[[T], tuple[str, NDArray[np.float64]]],
    *,
    rounded: bool,
) -> tuple[dict[int, str], dict[int, Pixels], int]:
    """Names of frames and the gaze on them by their numbers, and how many samples lie outside the screen.

    Args:
        path: of the file.
        rows: numbers of lines, and what stands there.
        read: gives the name of a line's frame and (n, 2) gaze samples.
        rounded: see ``Trial``.

    Raises:
        FovealError: a line is broken, or the second of its frame; the message has the line's number.
    """
    names: dict[int, str] = {}
    gaze: dict[int, Pixels] = {}
    outside = 0
    for line, row in rows:
        try:
            name, points = read(row)
            number = number_of(name)
        except (ValueError, TypeError) as error:
            raise FovealError(f"{path}: line {line} is broken: {error}; download the file again") from None
        if number in names:
            raise FovealError(f"{path}: line {line} is a second row for frame {number}; download the file again")
        names[number] = name
        gaze[number] = on_screen(points, rounded=rounded)
        outside += len(points) - len(gaze[number])
    return names, gaze, outside


def on_screen(points: NDArray[np.float64], *, rounded: bool = False) -> Pixels:
    """The pixels that gaze samples fall on, without those outside the screen.

    Args:
        points: (n, 2) x in [0, WIDTH) and y in [0, HEIGHT), from the upper left corner.
        rounded: to the nearest whole number, ties to the even one, instead of down.
    """
    x, y = (np.rint(points) if rounded else np.floor(points)).T
    inside = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)
    return (y[inside] * WIDTH + x[inside]).astype(np.int32)


def read_frames(trial: Trial, wanted: Collection[int]) -> Iterator[tuple[int, Frame]]:
    """The pictures of these frame numbers, in whatever order the archive has them; those that it lacks do not come.

    Raises:
        FovealError: the archive is damaged, or a picture is, or has another size.
    """
    numbers = {trial.names[number]: number for number in wanted}
    contents = _folder_contents(trial.frames, numbers) if trial.frames.is_dir() else _archive_contents(trial.frames)
    for name, content in contents:
        number = numbers.get(name)
        if number is not None:
            yield number, _decode(content, f"{name}.png of {trial.frames}")


def _row(line: str) -> tuple[str, NDArray[np.float64]]:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) < FIXED_COLUMNS:
        raise ValueError(f"it has {len(cells)} fields, and at least {FIXED_COLUMNS} are needed")
    return cells[0], _points(cells[FIXED_COLUMNS:])


def number_of(frame: str) -> int:
    """The number in a frame's name.

    Raises:
        ValueError: it is no such name; the message says so.
    """
    match = re.fullmatch(r".+_(\d+)", frame)
    if match is None:
        raise ValueError(f"{frame!r} is no name of a frame, <trial>_<number>")
    return int(match[1])


def _points(cells: list[str]) -> NDArray[np.float64]:
    while cells and cells[-1] == "":
        cells = cells[:-1]
    if not cells or cells == ["null"]:
        return np.empty((0, 2))
    if len(cells) % 2:
        raise ValueError(f"{len(cells)} gaze coordinates are no pairs of x and y")
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        raise ValueError("a gaze coordinate is no number") from None
    if not all(map(math.isfinite, values)):
        raise ValueError("a gaze coordinate is not finite")
    return np.array(values).reshape(-1, 2)


def _archive_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name without ``.png`` and content of every picture, in one pass over the archive."""
    try:
        with tarfile.open(path, "r|bz2") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() and member.name.endswith(".png") else None
                if file is not None:
                    yield Path(member.name).stem, file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise FovealError(f"{path} is damaged ({error}); download it again") from error


def _folder_contents(folder: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        path = folder / f"{name}.png"
        if path.is_file():
            yield name, path.read_bytes()


def _decode(content: bytes, what: str) -> Frame:
    try:
        with Image.open(io.BytesIO(content), formats=["png"]) as image:
            frame = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise FovealError(f"{what} is no PNG: {error}") from error
    if frame.shape != (HEIGHT, WIDTH, 3):
        raise FovealError(f"{what} is {frame.shape[1]} x {frame.shape[0]} pixels, not Atari's {WIDTH} x {HEIGHT}")
    return frame


def _files(text: Path, known: Mapping[int, Metadata], game: str | None) -> TrialFiles:
    entry = known.get(_number(text) or 0)
    if entry is not None:
        return TrialFiles(text, entry.game, entry.averaged)
    if game is None:
        raise FovealError(
            f"which game {text.name} is of stands in no {METADATA}: add it to the folder, or say --game NAME"
        )
    return TrialFiles(text, game, None)


def _number(text: Path) -> int | None:
    match = re.match(r"(\d+)_", text.name)
    return int(match[1]) if match else None


def text_of(path: Path) -> str:
    """All of a file.

    Raises:
        FovealError: it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FovealError(f"cannot read {path}: {error.strerror}") from error
