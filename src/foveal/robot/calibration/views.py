"""Views of the board on disk: a picture and a pose of the tool each, so that a calibration can be solved again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from foveal.errors import FovealError
from foveal.robot.cameras import Intrinsics

POSES = "poses.json"


@dataclass
class Views:
    """What a camera saw while the arm stood still in several poses.

    Attributes:
        pictures: (H, W, 3) ``uint8`` each.
        poses: (6,) each, of the tool in the base's frame: metres, then a rotation vector.
        intrinsics: as the camera reports them, or None.
    """

    pictures: list[NDArray[np.uint8]] = field(default_factory=list)
    poses: list[NDArray[np.float64]] = field(default_factory=list)
    intrinsics: Intrinsics | None = None

    def __len__(self) -> int:
        return len(self.poses)

    def save(self, folder: str | Path, since: int = 0) -> Path:
        """Write all of it.

        Args:
            folder: made where there is none.
            since: pictures before this one are there already.

        Raises:
            FovealError: the folder can't be written.
        """
        folder = Path(folder)
        intrinsics = None if self.intrinsics is None else dataclasses.asdict(self.intrinsics)
        text = json.dumps({"poses": [pose.tolist() for pose in self.poses], "intrinsics": intrinsics}, indent=1)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(since, len(self.pictures)):
                Image.fromarray(self.pictures[number]).save(folder / _name(number))
            (folder / POSES).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise FovealError(f"can't write the views {folder}: {error.strerror or error}") from error
        return folder


def load_views(folder: str | Path) -> Views:
    """What ``Views.save`` wrote.

    Raises:
        FovealError: there is none, or it is damaged.
    """
    folder = Path(folder)
    try:
        held = json.loads((folder / POSES).read_text(encoding="utf-8"))
        poses = [np.array(pose, np.float64) for pose in held["poses"]]
        intrinsics = None if held["intrinsics"] is None else Intrinsics.from_dict(held["intrinsics"])
        pictures = [np.asarray(Image.open(folder / _name(number)).convert("RGB")) for number in range(len(poses))]
    except (OSError, ValueError, KeyError, TypeError, UnidentifiedImageError) as error:
        raise FovealError(f"{folder} holds no views of a board: {error}") from error
    if any(pose.shape != (6,) for pose in poses):
        raise FovealError(f"{folder / POSES} holds poses that are not six numbers each")
    return Views(pictures, poses, intrinsics)


def _name(number: int) -> str:
    return f"view-{number:03d}.png"
