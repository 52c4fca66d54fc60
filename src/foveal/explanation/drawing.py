"""The page of ``foveal shield draw``: frames that differ, to paint masks on."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path

from foveal.envs.wrappers import averaged
from foveal.explanation.page import TEMPLATES, write_page
from foveal.explanation.pictures import Picture, png
from foveal.shield.camera import named_frames, read_camera
from foveal.shield.different import COARSE, different

LARGEST = 640
"""Side in pixels that frames are reduced to where they are larger."""
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
        script=_resource("draw.js"),
        style=f"{TEMPLATES.globals['style']}\n{_resource('draw.css')}",
    )


def _reduced(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    share = min(1.0, LARGEST / max(height, width))
    size = (max(1, round(share * height)), max(1, round(share * width)))
    return averaged(picture.transpose(2, 0, 1), size).transpose(1, 2, 0)


def _resource(name: str) -> str:
    return files("foveal.explanation").joinpath(name).read_text(encoding="utf-8")
