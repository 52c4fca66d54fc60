"""Recorded frames in the place of an environment: a folder of pictures, a film, or a data set of LeRobot's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.auditing.cameras import GREY, LUMA, cameras_of
from foveal.auditing.lerobot_dataset import is_dataset, read_episodes
from foveal.envs.wrappers import averaged
from foveal.errors import FovealError
from foveal.shield.camera import named_frames

PIECES, LENGTH = 20, 20
"""Pieces of consecutive frames, and frames of each, at most."""


@dataclass(frozen=True)
class Recording:
    """Pieces of consecutive observations.

    Attributes:
        name: where they are from.
        space: of an observation.
        pieces: at least one, of at least one observation each.
    """

    name: str
    space: spaces.Space[Any]
    pieces: tuple[tuple[Any, ...], ...]

    @property
    def frames(self) -> int:
        """How many observations there are."""
        return sum(map(len, self.pieces))


def read_recording(
    source: str | Path, wanted: spaces.Space[Any] | None, image_size: int | None = None, camera: str | None = None
) -> Recording:
    """What was recorded.

    Args:
        source: folder of pictures, film, or the folder of a LeRobotDataset of version 3.
        wanted: the policy's observation space, where it says one: pictures get its size.
        image_size: side that pictures are resized to, where it does not.
        camera: which picture of a data set, where the policy sees one alone.

    Raises:
        FovealError: there is nothing, or it can't be read, or the policy sees something else.
    """
    if is_dataset(Path(source)):
        pieces = tuple(read_episodes(Path(source), PIECES, LENGTH))
    else:
        if camera is not None:
            raise FovealError("a folder of pictures and a film have one camera: leave --camera out")
        pieces = tuple(_pieces(source))
    size = _size(wanted, image_size)
    shaped = tuple(tuple(_shaped(seen, wanted, size, camera) for seen in piece) for piece in pieces)
    if not shaped or not shaped[0]:
        raise FovealError(f"{source} has no frames")
    return Recording(str(source), _space(shaped[0][0]), shaped)


def _pieces(source: str | Path) -> Iterator[tuple[dict[str, Any], ...]]:
    """Consecutive frames, evenly apart; no others are kept, so that a long film fits into memory."""
    count = sum(1 for _ in named_frames(source))
    length = max(1, min(LENGTH, count // PIECES))
    starts = np.linspace(0, count - length, min(PIECES, count)).round().astype(int)
    begun = list(dict.fromkeys(starts.tolist()))
    chosen = {start + step for start in begun for step in range(length)}
    kept = {place: {"image": picture} for place, (_, picture) in enumerate(named_frames(source)) if place in chosen}
    return (tuple(kept[start + step] for step in range(length)) for start in begun)


def _shaped(
    seen: Mapping[str, Any], wanted: spaces.Space[Any] | None, size: tuple[int, int, bool] | None, camera: str | None
) -> Any:
    """One observation: a dict, or the picture alone where the policy sees that or there is nothing else."""
    pictures = {name: entry for name, entry in seen.items() if _is_picture(entry)}
    entries = {name: _resized(entry, size) if name in pictures else entry for name, entry in seen.items()}
    alone = isinstance(wanted, spaces.Box) or (wanted is None and set(seen) == {"image"})
    if not alone and camera is None:
        return entries
    if camera is None and len(pictures) > 1:
        raise FovealError(f"this policy sees one picture, and there are {', '.join(pictures)}: name one, --camera")
    if camera is not None and camera not in pictures:
        raise FovealError(f"there is no picture {camera!r}, but {', '.join(pictures)}")
    return entries[camera or next(iter(pictures))]


def _is_picture(entry: Any) -> bool:
    return isinstance(entry, np.ndarray) and entry.dtype == np.uint8 and entry.ndim == 3


def _size(wanted: spaces.Space[Any] | None, image_size: int | None) -> tuple[int, int, bool] | None:
    """Height, width, and whether pictures are grey; None to leave them as they are."""
    known = () if wanted is None else cameras_of(wanted)
    if known:
        return known[0].height, known[0].width, known[0].colors == GREY
    return None if image_size is None else (image_size, image_size, False)


def _resized(picture: NDArray[np.uint8], size: tuple[int, int, bool] | None) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W, 1), each pixel the mean of the area that it covers."""
    if size is None:
        return picture
    height, width, grey = size
    small = averaged(np.ascontiguousarray(picture.transpose(2, 0, 1)), (height, width)).transpose(1, 2, 0)
    return np.rint(small @ LUMA)[..., None].astype(np.uint8) if grey else small


def _space(seen: Any) -> spaces.Space[Any]:
    if isinstance(seen, Mapping):
        return spaces.Dict({name: _space(entry) for name, entry in seen.items()})
    array = np.asarray(seen)
    if array.dtype == np.uint8:
        return spaces.Box(0, 255, array.shape, np.uint8)
    return spaces.Box(-np.inf, np.inf, array.shape, np.float32)
