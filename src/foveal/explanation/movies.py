"""Films of an episode beside the maps that explain it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.atari.video import write_attention_video
from foveal.errors import FovealError
from foveal.explanation.attention import BUILT_IN, Attention
from foveal.explanation.panels import map_name
from foveal.explanation.pictures import BRIGHTEST, Picture

HEIGHT = 420
"""Pixels that a film is high at least: every pixel of a frame becomes a square."""


def write_film(
    path: str | Path, frames: Iterable[Picture], maps: Mapping[str, NDArray[np.float32]], side: int, *, first: str
) -> Path:
    """An mp4 of frames, and beside them one map after another over the frame in grey, each under its name.

    Args:
        path: the film.
        frames: (H, W, 3) each.
        maps: name -> (N, h, w), not negative; they are divided by what is brightest in them, in place.
        side: the height H of a frame.
        first: what the frames are called.

    Raises:
        FovealError: the film can't be written.
    """
    for name, strengths in maps.items():
        strengths /= brightest(name, strengths)  # in place, since a long game's maps are of gigabytes
    titles = [first, *map(map_name, maps)]
    scaled = map(torch.from_numpy, maps.values())
    return write_attention_video(path, frames, *scaled, zoom=-(-HEIGHT // side), titles=titles)


def film_of(path: str | Path, episode: Sequence[Attention]) -> Path:
    """The film of an episode all of whose steps were looked at."""
    frames = [moment.frame for moment in episode[0].moments]
    maps = {a.saliency: np.stack([moment.strength for moment in a.moments]) for a in episode}
    return write_film(path, frames, maps, len(frames[0]), first="frame")


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


def check_film(path: str | Path) -> None:
    """Refuse a name that no film can have.

    Raises:
        FovealError: it does not end in .mp4.
    """
    if Path(path).suffix != ".mp4":
        raise FovealError(f"a film is an mp4 file: call it {Path(path).with_suffix('.mp4')}, not {path}")
