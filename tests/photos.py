"""Folders of images for tests of pictures and overlays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def photos(folder: Path, count: int, width: int = 40, height: int = 30) -> Path:
    """A folder of images, in subfolders and several formats, each of one colour of its own: (i, 255 - i, 7)."""
    for i in range(count):
        parent = folder / f"class_{i % 3}" / "deep"
        parent.mkdir(parents=True, exist_ok=True)
        pixels = np.broadcast_to(np.array([i, 255 - i, 7], np.uint8), (height, width, 3))
        Image.fromarray(pixels).save(parent / f"{i}.{('png', 'bmp', 'PNG')[i % 3]}")
    return folder
