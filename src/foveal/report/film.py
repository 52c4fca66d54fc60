"""Films of an episode beside the maps that explain it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.atari.video import write_attention_video
from foveal.errors import FovealError
from foveal.report.attention import BUILT_IN, Attention
from foveal.report.pictures import BRIGHTEST, Picture

HEIGHT = 420
"""Pixels that a film is high at least: every pixel of a frame becomes a square."""


def write_film(
    path: str | Path, frames: Iterable[Picture], maps: Sequence[NDArray[np.float32]], levels: Sequence[float], side: int
) -> Path:
    """An mp4 of frames, and beside them one map after another over the frame in grey.

    Args:
        path: the film.
        frames: (H, W, 3) each.
        maps: (N, h, w) each, not negative.
        levels: the strength in each that gets the brightest colour: see ``brightest``.
        side: the height H of a frame.

    Raises:
        FovealError: the film can't be written.
    """
    scaled = [torch.from_numpy(strengths / level) for strengths, level in zip(maps, levels, strict=True)]
    return write_attention_video(path, frames, *scaled, zoom=-(-HEIGHT // side))


def film_of(path: str | Path, episode: Sequence[Attention]) -> Path:
    """The film of an episode all of whose steps were looked at."""
    frames = [moment.frame for moment in episode[0].moments]
    maps = [np.stack([moment.strength for moment in attention.moments]) for attention in episode]
    levels = [brightest(a.saliency, strengths) for a, strengths in zip(episode, maps, strict=True)]
    return write_film(path, frames, maps, levels, len(frames[0]))


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
