"""A picture of what people and agents look at: one row per frame, one column per map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from foveal.errors import FovealError
from foveal.explanation.pictures import Picture, heat, sheet, write_picture
from foveal.gaze.atari_head import HEIGHT, WIDTH
from foveal.gaze.comparison import Example

HEADER = 18  # pixels
_LETTERS = WIDTH // 6 - 1  # that fit above a column, in Pillow's own font


def write_strip(out: str | Path, examples: Sequence[Example]) -> Path:
    """Write a PNG: frame, human gaze, then every map, over the frame in grey.

    Raises:
        FovealError: there is no example, or the file can't be written.
    """
    if not examples:
        raise FovealError("there is no picture to draw")
    titles = ["frame", "human gaze", *examples[0].maps]
    rows = [_row(example) for example in examples]
    picture = sheet([cell for row in rows for cell in row], len(titles))
    canvas = Image.new("RGB", (picture.shape[1], picture.shape[0] + HEADER))
    canvas.paste(Image.fromarray(picture), (0, HEADER))
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        draw.text((column * WIDTH + 3, 3), _fitting(title), fill="white")
    for row, example in enumerate(examples):
        draw.text((3, HEADER + (row + 1) * HEIGHT - 14), example.name, fill="white")
    return write_picture(out, np.asarray(canvas))


def _row(example: Example) -> list[Picture]:
    screen = Image.fromarray(example.screen).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    frame = np.asarray(screen.convert("RGB"))
    return [frame, *(heat(frame, values.astype(np.float32)) for values in (example.density, *example.maps.values()))]


def _fitting(title: str) -> str:
    """The end of a title, which tells maps of one agent apart."""
    return title if len(title) <= _LETTERS else "..." + title[3 - _LETTERS :]
