"""Picture sources by name."""

from __future__ import annotations

from pathlib import Path

from foveal.pictures.block import PictureSource
from foveal.pictures.folder import FolderPictures
from foveal.pictures.generated import GeneratedPictures

GENERATED = "generated"


def open_source(name: str | Path, side: int, seed: int) -> PictureSource:
    """``"generated"`` pictures, or those of the folder of that name, at ``side`` pixels.

    Raises:
        FovealError: the folder is missing or holds no image.
    """
    if str(name) == GENERATED:
        return GeneratedPictures(side, seed)
    return FolderPictures(Path(name), side, seed)
