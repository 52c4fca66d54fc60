"""Masks on pictures: the page of ``foveal shield draw``, to paint them on, and a sheet of those that were found."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
from PIL import Image

from foveal.envs.wrappers import averaged
from foveal.explanation.page import TEMPLATES, resource, write_page
from foveal.explanation.pictures import Picture, masked, png, sheet
from foveal.fovea.frames import FrameSet
from foveal.shield.camera import named_frames, read_camera
from foveal.shield.different import COARSE, different

LARGEST = 640
"""Side in pixels that frames are reduced to where they are larger."""
COLUMNS = 6
LEAST_SHOWN = 160
"""Side in pixels that frames of a sheet are enlarged to by whole numbers, or a little less."""
COMPARED = 2000
"""Frames, evenly apart, that are chosen among at most."""


def drawing_page(path: str | Path, source: str | Path, count: int = 10) -> Path:
    """Write a page on which masks are painted, which holds ``count`` frames that differ.

    Args:
        path: the page.
        source: a folder of pictures, or a film.
        count: how many.

    Returns:
        The absolute path.

    Raises:
        FovealError: there are no frames, or the page can't be written.
    """
    camera = read_camera(source, COARSE, COMPARED)
    chosen = {camera.names[place] for place in different(camera.pixels, count)}
    shown = [
        {"name": name, "source": png(_reduced(picture))} for name, picture in named_frames(source) if name in chosen
    ]
    return write_page(
        path,
        "draw.html.j2",
        title="Masks for a shield",
        frames=shown,
        command=f"foveal shield train --frames {shlex.quote(str(source))} --masks masks.zip",
        config={"frames": str(source), "height": camera.height, "width": camera.width, "chosen": sorted(chosen)},
        script=resource("draw.js"),
        style=f"{TEMPLATES.globals['style']}\n{resource('draw.css')}",
    )


def write_sheet(path: Path, frames: FrameSet, count: int = 12) -> Path:
    """A PNG of some frames that differ, each above the same with all but its mask darkened.

    Args:
        path: the file, in a folder that exists.
        frames: with their masks.
        count: how many.

    Returns:
        The path.
    """
    pairs = []
    for place in sorted(different(frames.pixels, count)):
        frame = frames.pixels[place].permute(1, 2, 0).numpy()
        pairs.append(np.concatenate([frame, masked(frame, frames.masks[place].numpy())]))
    whole = Image.fromarray(sheet(pairs, COLUMNS))
    zoom = max(1, LEAST_SHOWN // frames.pixels.shape[-1])
    whole.resize((zoom * whole.width, zoom * whole.height), Image.Resampling.NEAREST).save(path)
    return path


def _reduced(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    share = min(1.0, LARGEST / max(height, width))
    size = (max(1, round(share * height)), max(1, round(share * width)))
    return averaged(picture.transpose(2, 0, 1), size).transpose(1, 2, 0)
