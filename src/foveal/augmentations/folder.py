"""Pictures out of a folder of photographs, decoded one by one as they are asked for."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.errors import FovealError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# What Pillow raises on a file that is no image, is cut short, or unpacks to an absurd size.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
MOST_FAILURES = 1000


class FolderPictures:
    """Random crops of the images in a folder, in an order shuffled by the seed.

    Only names are read up front, so a folder of millions of files costs seconds and no decoding. Each picture is a
    window of 8 to 100 % of the image's area with an aspect of 3/4 to 4/3, resized to a square and mirrored half of
    the time: what DMC-GB does to Places365 for its overlays.

    Args:
        folder: searched at any depth for jpg, jpeg, png, webp and bmp files; hidden files are left out.
        size: side of the pictures in pixels.
        seed: of the order and the crops.

    Raises:
        FovealError: the folder is missing or holds no such file; when drawing, that nothing can be decoded.
    """

    def __init__(self, folder: Path, size: int, seed: int) -> None:
        self.name = str(folder)
        self.folder = folder
        self.size = size
        self.seed = seed
        self.files = _image_files(folder)
        self.order = np.random.default_rng(seed).permutation(len(self.files))
        self._unreadable: set[int] = set()

    def draw(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pictures of these indices: (n, 3, size, size)."""
        pictures = np.empty((len(indices), 3, self.size, self.size), np.uint8)
        for row, index in enumerate(indices.tolist()):
            pictures[row] = self._picture(index)
        return pictures

    def _picture(self, index: int) -> NDArray[np.uint8]:
        """Picture ``index``: of file ``index`` in the shuffled order, or of the next one that can be decoded."""
        rng = np.random.default_rng([self.seed, index])
        for attempt in range(min(len(self.files), MOST_FAILURES)):
            file = int(self.order[(index + attempt) % len(self.files)])
            if file in self._unreadable:
                continue
            try:
                return _random_window(self.folder / self.files[file], self.size, rng)
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


def _random_window(path: Path, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(3, size, size) out of one image file."""
    with Image.open(path) as image:
        image.draft("RGB", (4 * size, 4 * size))  # lets the decoder of large JPEGs work at a fraction of their size
        box = _random_box(image.width, image.height, rng)
        window = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(window).transpose(2, 0, 1)  # (3, size, size)
    return pixels[:, :, ::-1] if rng.random() < 0.5 else pixels


def _random_box(width: int, height: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a window whose area and aspect are random, clipped to the image."""
    area = width * height * rng.uniform(0.08, 1.0)
    aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    across = float(min(np.sqrt(area * aspect), width))
    down = float(min(np.sqrt(area / aspect), height))
    left, top = rng.uniform(0.0, width - across), rng.uniform(0.0, height - down)
    # Sums of floats may end a hair outside of the image, which Pillow refuses.
    return left, top, min(left + across, width), min(top + down, height)
