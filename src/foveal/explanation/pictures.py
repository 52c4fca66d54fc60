"""Frames, heat maps and masks as pictures inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from foveal.atari.maps import resize_maps
from foveal.evaluation.insides import BUILT_IN
from foveal.pictures.writing import written_whole

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""

BRIGHTEST = 0.995
"""Quantile of a map that gets the brightest colour; the few pixels above it would darken all the others."""

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# Nine colours of "inferno" (Smith and van der Walt, CC0): even steps in lightness, so it also reads in grey.
_ANCHORS = np.array(
    [
        (0, 0, 4),
        (31, 12, 72),
        (85, 15, 109),
        (136, 34, 106),
        (186, 54, 85),
        (227, 89, 51),
        (249, 140, 10),
        (249, 201, 50),
        (252, 255, 164),
    ],
    dtype=np.float32,
)


Palette: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Values in [0, 1], (...), to colours in [0, 255], (..., 3)."""


def colors(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 3) colours in [0, 255] of values in [0, 1]."""
    position = np.clip(strength, 0, 1) * (len(_ANCHORS) - 1)
    lower = np.minimum(position.astype(int), len(_ANCHORS) - 2)
    share = (position - lower)[..., None]
    mixed: NDArray[np.float32] = _ANCHORS[lower] * (1 - share) + _ANCHORS[lower + 1] * share
    return mixed


def brightest(saliency: str, strengths: NDArray[np.float32]) -> float:
    """The strength that gets the brightest colour in a whole recording, so that pictures can be compared.

    A built-in map's is its largest value, as in "Free-Lunch Saliency"; a gradient's is the 99.5 % quantile, because the
    few pixels above it would darken all others.

    Args:
        saliency: name of the map.
        strengths: (N, h, w), not negative.
    """
    largest = float(strengths.max())
    level = largest if saliency == BUILT_IN else float(np.quantile(strengths, BRIGHTEST))
    return level or largest or 1.0


def resized(maps: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """(N, h, w) -> (N, H, W) by bilinear interpolation."""
    larger: NDArray[np.float32] = resize_maps(torch.from_numpy(maps), (size[0], size[1])).numpy()
    return larger


def heat(
    frame: Picture, strength: NDArray[np.float32], brightest: float | None = None, palette: Palette = colors
) -> Picture:
    """A saliency map over its frame in grey.

    Args:
        frame: (H, W, 3).
        strength: (H, W), not negative, any scale.
        brightest: strength that gets the brightest colour; by default the picture's own 99.5 % quantile.
        palette: colours of the map.
    """
    top = brightest or float(np.quantile(strength, BRIGHTEST)) or float(strength.max()) or 1.0
    level = np.clip(strength / top, 0, 1)[..., None]  # (H, W, 1)
    grey = (frame.astype(np.float32) @ _LUMA)[..., None] * 0.75  # (H, W, 1)
    opacity = np.sqrt(level)
    return _bytes(grey * (1 - opacity) + palette(level[..., 0]) * opacity)


def masked(frame: Picture, mask: NDArray[np.bool_]) -> Picture:
    """What the mask keeps, in colour; the rest is left as a dark shadow to show where one is.

    Args:
        frame: (H, W, 3).
        mask: (H, W).
    """
    shadow = (frame.astype(np.float32) @ _LUMA)[..., None] * 0.16 + 12  # (H, W, 1)
    return _bytes(np.where(mask[..., None], frame.astype(np.float32), shadow))


def sheet(pictures: Sequence[Picture], columns: int) -> Picture:
    """Equal pictures in rows of ``columns``, the last row filled up with black."""
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    whole = np.zeros((rows * height, columns * width, 3), np.uint8)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        whole[row * height : (row + 1) * height, column * width : (column + 1) * width] = picture
    return whole


def write_picture(path: str | Path, picture: Picture) -> Path:
    """Write a png file, whole or not at all.

    Raises:
        FovealError: it can't be written.
    """
    path = Path(path)
    with written_whole(path, "the picture ") as partial:
        partial.write_bytes(encoded(picture, "png", optimize=True))
    return path


def png(picture: Picture) -> str:
    """A data URI, without loss."""
    return _uri(picture, "png", optimize=True)


def webp(picture: Picture) -> str:
    """A data URI of at most 256 colours, for the many pictures of a player.

    As small as lossy compression, which would halve the resolution of colour and so blur single pixels of a mask.
    """
    reduced = Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE).convert("RGB")
    return _uri(np.asarray(reduced), "webp", lossless=True, quality=80, method=4)


def lossy_webp(picture: Picture, quality: int) -> str:
    """A data URI with loss, for what no palette makes small, such as noise.

    Args:
        picture: (H, W, 3).
        quality: from 0 to 100.
    """
    return _uri(picture, "webp", quality=quality, method=4)


def _bytes(values: NDArray[np.float32]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def encoded(picture: Picture, kind: str, **options: int | bool) -> bytes:
    """The content of a file of some kind."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def _uri(picture: Picture, kind: str, **options: int | bool) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(encoded(picture, kind, **options)).decode()}"
