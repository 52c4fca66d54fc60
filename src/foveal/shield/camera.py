"""Frames from files: a folder of pictures or a film, and masks that somebody drew for some of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from foveal.envs.wrappers import averaged
from foveal.errors import FovealError
from foveal.fovea.frames import FrameSet, in_random_order
from foveal.pictures.folder import SUFFIXES, UNREADABLE
from foveal.pictures.video import Picture, read_video

FEWEST = 20
PIECES = 20
"""Pieces that a film is divided into, in the place of episodes, so that whole ones can be kept back."""
DIGITS = 6
MASKS = (".png",)
DARK, BRIGHT = 64, 191
"""Levels up to which a mask is black, and from which it is white."""
GREY = 0.1
"""The share of grey pixels, which soft brushes leave at edges, that a mask may have."""


@dataclass(frozen=True)
class Camera:
    """Some frames of a folder or a film, in the order in which they were taken.

    Attributes:
        pixels: (N, 3, S, S) ``uint8``.
        names: of the N frames: those of files without their ending, or six digits that count a film's frames from 0.
        height, width: of the frames before they were resized, in pixels.
    """

    pixels: Tensor
    names: list[str]
    height: int
    width: int

    @property
    def pieces(self) -> Tensor:
        """(N,), the number of each frame's piece of the film."""
        return torch.arange(len(self.names)) * PIECES // len(self.names)

    def frame_set(self, masks: Tensor, seed: int) -> FrameSet:
        """With (N, S, S) masks, as what a shield learns from."""
        return in_random_order(self.pixels, masks, self.pieces, seed)


@dataclass(frozen=True)
class Drawn:
    """Masks that somebody drew.

    Attributes:
        frames: (K,), which of the camera's frames they are of.
        masks: (K, S, S) bool.
    """

    frames: Tensor
    masks: Tensor


def read_camera(source: str | Path, size: int, most: int, wanted: Collection[str] = ()) -> Camera:
    """Frames of a folder of pictures, sorted by name, or of a film.

    Args:
        source: folder or film.
        size: side that frames are resized to, each pixel the mean of the area that it covers.
        most: where there are more frames, so many, evenly apart.
        wanted: names of frames to keep whatever ``most`` says.

    Raises:
        FovealError: there is nothing, or too few frames, or frames of different sizes, or a file can't be read.
    """
    sides: set[tuple[int, int]] = set()
    kept: list[tuple[int, str, NDArray[np.uint8]]] = []
    apart, count = 1, 0
    for number, (name, picture) in enumerate(named_frames(source)):
        sides.add((picture.shape[0], picture.shape[1]))
        if len(sides) > 1:
            raise FovealError(f"the frames in {source} differ in size, {_sizes(sides)}: give frames of one camera")
        if number % apart == 0 or name in wanted:
            kept.append((number, name, averaged(picture.transpose(2, 0, 1), (size, size))))
        if len(kept) > 2 * most + len(wanted):  # so that a long film fits into memory
            apart *= 2
            kept = [frame for frame in kept if frame[0] % apart == 0 or frame[1] in wanted]
        count = number + 1
    if count < FEWEST:
        raise FovealError(f"{source} has {count} frames, too few to learn from: film a minute or more of the task")
    chosen = set(np.linspace(0, len(kept) - 1, min(most, len(kept))).round().astype(int).tolist())
    frames = {name: frame for place, (_, name, frame) in enumerate(kept) if place in chosen or name in wanted}
    ((height, width),) = sides
    return Camera(torch.from_numpy(np.stack(list(frames.values()))), list(frames), height, width)


def named_frames(source: str | Path) -> Iterator[tuple[str, Picture]]:
    """Names and (H, W, 3) pictures of a folder or a film, see ``Camera``.

    Raises:
        FovealError: there is nothing, or a file can't be read.
    """
    source = Path(source)
    if source.is_dir():
        files = _files(source, SUFFIXES)
        if not files:
            raise FovealError(f"{source} holds no pictures; expected files ending in {', '.join(SUFFIXES)}")
        return ((name, _opened(path.read_bytes(), path, "RGB")) for name, path in files.items())
    if not source.is_file():
        raise FovealError(f"there is no folder of frames and no film {source}")
    return ((f"{number:0{DIGITS}d}", picture) for number, picture in enumerate(read_video(source)))


def read_masks(source: str | Path) -> dict[str, Picture]:
    """Masks by the name of their frame: (H, W) ``uint8``, 0 or 255.

    Args:
        source: a folder of PNG files, or a zip file of such, as ``foveal shield draw`` has it downloaded.

    Raises:
        FovealError: there is none, or one is grey, or black or white all over.
    """
    found = {name: _opened(data, where, "L") for name, (data, where) in _mask_files(Path(source)).items()}
    for name, mask in found.items():
        _check_black_and_white(mask, f"the mask {name} in {source}")
    return {name: np.where(mask > DARK, 255, 0).astype(np.uint8) for name, mask in found.items()}


def drawn_for(camera: Camera, masks: Mapping[str, Picture]) -> Drawn:
    """Masks in the size of a camera's frames.

    Raises:
        FovealError: one is of no frame, or has another shape than the frames.
    """
    places = {name: place for place, name in enumerate(camera.names)}
    if missing := [name for name in masks if name not in places]:
        raise FovealError(
            f"the mask {missing[0]} is of no frame: masks are named as their frames, here {camera.names[0]} to "
            f"{camera.names[-1]}"
        )
    size = tuple(camera.pixels.shape[-2:])
    for name, mask in masks.items():
        height, width = mask.shape
        if abs(height * camera.width - width * camera.height) > max(camera.width, camera.height):
            raise FovealError(
                f"the mask {name} is {width} x {height}, and frames are {camera.width} x {camera.height}: a mask must "
                "have its frame's shape, in any size"
            )
    small = [averaged(mask, size) for mask in masks.values()]  # type: ignore[arg-type]
    return Drawn(torch.tensor([places[name] for name in masks]), torch.from_numpy(np.stack(small) > 127))


def _files(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    """By name without the ending, sorted; hidden files are left out."""
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in endings and path.name[0] != "."]
    found = {path.stem: path for path in paths}
    if len(found) < len(paths):
        raise FovealError(f"{folder} holds files that differ in their ending alone: keep one of each name")
    return found


def _mask_files(source: Path) -> dict[str, tuple[bytes, Path]]:
    if source.is_dir():
        found = {name: (path.read_bytes(), path) for name, path in _files(source, MASKS).items()}
    elif source.is_file():
        try:
            with zipfile.ZipFile(source) as packed:
                inside = [Path(name) for name in packed.namelist() if Path(name).suffix.lower() in MASKS]
                found = {path.stem: (packed.read(path.as_posix()), source / path) for path in sorted(inside)}
        except zipfile.BadZipFile as error:
            raise FovealError(f"{source} is no zip file of masks: {error}") from error
    else:
        raise FovealError(f"there is no folder of masks and no zip file {source}")
    if not found:
        raise FovealError(f"{source} holds no masks; expected PNG files named as their frames")
    return found


def _opened(data: bytes, where: Path, mode: str) -> Picture:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert(mode))
    except UNREADABLE as error:
        raise FovealError(f"can't read the picture {where}: {error}") from error


def _check_black_and_white(mask: Picture, what: str) -> None:
    if float(((mask > DARK) & (mask < BRIGHT)).mean()) > GREY:
        raise FovealError(f"{what} is grey: a mask is white where the task is, black elsewhere")
    if mask.max() <= DARK or mask.min() > DARK:
        color = "black" if mask.max() <= DARK else "white"
        raise FovealError(f"{what} is {color} all over: paint the task's pixels white, and leave the rest black")


def _sizes(sides: set[tuple[int, int]]) -> str:
    return " and ".join(f"{width} x {height}" for height, width in sorted(sides))
