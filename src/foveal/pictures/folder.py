"""Pictures out of a folder of photographs, decoded as they are asked for."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.errors import FovealError
from foveal.pictures.block import BLOCK, Block, empty_block

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# Pillow's errors for a file that is no image, is cut short, or unpacks to an absurd size.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
MOST_FAILURES = 1000


class FolderPictures:
    """The images in a folder, uncropped, each once before any comes again, in an order shuffled by the seed.

    Only names are read at first, which takes seconds for millions of files. Pictures are reduced with a Lanczos filter:
    of the usual filters it is the one after which a crop, resized once more, is nearest to a crop of the file.

    Args:
        folder: searched at any depth for jpg, jpeg, png, webp and bmp files; hidden files are left out.
        side: of the pictures in pixels. Images that are not square are squeezed, and blocks have their aspects.
        seed: of the order.

    Raises:
        FovealError: the folder is missing or has no such file; while drawing, that no image can be decoded.
    """

    def __init__(self, folder: Path, side: int, seed: int) -> None:
        self.name = str(folder)
        self.folder = folder
        self.side = side
        self.files = _image_files(folder)
        self.distinct: int | None = len(self.files)
        self.order = np.random.default_rng(seed).permutation(len(self.files))
        self._unreadable: set[int] = set()

    def block(self, number: int) -> Block:
        """Pictures ``BLOCK * number`` and on."""
        block = empty_block(self.side)
        for row in range(BLOCK):
            block.pixels[row], block.aspects[row] = self._picture(BLOCK * number + row)
        return block

    def _picture(self, index: int) -> tuple[NDArray[np.uint8], float]:
        """Picture ``index``: that of file ``index`` in the shuffled order, or of the next one that can be decoded."""
        for attempt in range(min(len(self.files), MOST_FAILURES)):
            file = int(self.order[(index + attempt) % len(self.files)])
            if file in self._unreadable:
                continue
            try:
                return _reduced(self.folder / self.files[file], self.side)
            except UNREADABLE as error:
                self._skip(file, error)
        raise FovealError(
            f"none of {min(len(self.files), MOST_FAILURES)} image files in {self.folder} can be decoded "
            f"(one of them is {self.files[0]}); expected ordinary jpg, png, webp or bmp images"
        )

    def _skip(self, file: int, error: Exception) -> None:
        if not self._unreadable:
            warnings.warn(
                f"skipping image files that cannot be decoded, the first is {self.folder / self.files[file]}: {error}",
                stacklevel=2,
            )
        self._unreadable.add(file)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture, (H, W, 3) RGB.

    Raises:
        FovealError: it can't be decoded.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except UNREADABLE as error:
        raise FovealError(f"{path} can't be decoded ({error}): copy it again") from error


def _image_files(folder: Path) -> list[str]:
    """Paths relative to the folder, in an order that does not depend on the file system."""
    if not folder.is_dir():
        raise FovealError(
            f"there is no folder of pictures {folder}; pass the path of a folder that holds images, or 'generated'"
        )
    files: list[str] = []
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        inside = os.path.relpath(parent, folder)
        prefix = "" if inside == "." else inside + os.sep
        images = [name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
        files.extend(prefix + name for name in sorted(images))
    if not files:
        raise FovealError(
            f"the folder {folder} holds no image at any depth; expected files ending in {', '.join(SUFFIXES)}, "
            "such as Places365's folder of training images"
        )
    return files


def _reduced(path: Path, side: int) -> tuple[NDArray[np.uint8], float]:
    """One image file as (side, 3, side), and its aspect."""
    with Image.open(path) as image:
        aspect = image.width / image.height
        image.draft("RGB", (2 * side, 2 * side))  # large JPEGs are decoded at a fraction of their size
        small = image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small).transpose(0, 2, 1), aspect
