"""Films of an episode beside the maps that explain it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from foveal.atari.maps import resize_maps
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides
from foveal.evaluation.recording import Recording, Sight
from foveal.explanation.attention import Lens, batches
from foveal.explanation.panels import beneath, map_name
from foveal.explanation.pictures import Picture, brightest, heat
from foveal.pictures.video import write_video
from foveal.progress import watched

HEIGHT = 420
"""Pixels that a film is high at least: every pixel of a frame becomes a square."""

FRAMES_PER_SECOND = 15
"""Of an agent that sees every fourth of the console's 60 frames a second, shown at the speed of the game."""

TITLE_HEIGHT = 20
"""Pixels of the line of titles."""

_FAINT, _STRONG = np.array([200, 30, 0], np.float32), np.array([255, 240, 90], np.float32)


def film(path: str | Path, lens: Lens, recording: Recording, *, progress: bool = False) -> Path:
    """An mp4 of every step of an episode as it is seen, and beside it one map after another over that in grey.

    Pictures are never in memory at once: a long game's are of gigabytes.

    Args:
        path: the film.
        lens: which maps.
        recording: the episode.
        progress: show bars.

    Raises:
        FovealError: the film can't be written.
    """
    sights, length = recording.sights, len(recording.sights)
    maps: dict[str, NDArray[np.float32]] = {}
    start = 0
    for batch in batches(watched(sights, length, "look", visible=progress)):
        for name in lens.names:
            strengths = lens.strengths(name, batch)
            if name not in maps:
                maps[name] = np.empty((length, *strengths.shape[1:]), np.float32)
            maps[name][start : start + len(batch)] = strengths
        start += len(batch)
    for name, strengths in maps.items():
        strengths /= brightest(name, strengths)  # in place, for the same reason
    seen = (_seen(lens.insides, sight) for sight in watched(sights, length, "film", visible=progress))
    titles = [recording.words.picture, *lens.insides.views]
    for name in map(map_name, maps):
        titles += [name, *(f"{name} on {view}" for view in beneath(lens.insides))]
    rows = _side_by_side(seen, [torch.from_numpy(strengths) for strengths in maps.values()])
    return write_views(path, ([row] for row in rows), [titles])


Seen: TypeAlias = tuple[Sequence[Picture], Sequence[Picture]]
"""Pictures of a moment, and those that maps are drawn over."""


def _seen(insides: Insides, sight: Sight) -> Seen:
    views = {name: view.draw(sight.observation) for name, view in insides.views.items()}
    return [sight.picture, *views.values()], [sight.picture, *(views[name] for name in beneath(insides))]


def write_attention_video(
    path: str | Path,
    frames: Iterable[Picture],
    *maps: Tensor,
    fps: int = FRAMES_PER_SECOND,
    zoom: int = 2,
    titles: Sequence[str] = (),
) -> Path:
    """An mp4 of the game on the left, and beside it in grey with what the agent looks at in colour.

    Args:
        path: the film.
        frames: one (H, W, 3) ``uint8`` picture for each map; they need not be in memory at once.
        maps: (N, h, w) in [0, 1], scaled over the recording; resized to the frames. Several stand side by side.
        fps: frames a second.
        zoom: every pixel becomes a square of so many pixels.
        titles: what stands in a line above the game and above each map; by default there is no such line.

    Returns:
        The path.

    Raises:
        FovealError: frames and maps differ in number, or titles and views do, a frame has another shape than the first,
            or the film can't be written.
    """
    if titles and len(titles) != 1 + len(maps):
        raise FovealError(f"a film of {1 + len(maps)} views wants as many titles, not {len(titles)}")
    rows = _side_by_side((([frame], [frame]) for frame in frames), maps)
    return write_video(path, (_laid_out([row], [titles], zoom) for row in rows), fps=fps)


def write_views(
    path: str | Path, moments: Iterable[Sequence[Sequence[Picture]]], titles: Sequence[Sequence[str]]
) -> Path:
    """An mp4 of rows of pictures beside each other, with a line of titles above each row.

    Args:
        path: the film.
        moments: rows of (H, W, 3) pictures, all of one size within a row, and in all moments the same.
        titles: as many rows of names.

    Raises:
        FovealError: a picture has another shape than before, or the film can't be written.
    """
    zooms = ((moment, -(-HEIGHT // sum(row[0].shape[0] for row in moment))) for moment in moments)
    return write_video(path, (_laid_out(moment, titles, zoom) for moment, zoom in zooms), fps=FRAMES_PER_SECOND)


def _laid_out(moment: Sequence[Sequence[Picture]], titles: Sequence[Sequence[str]], zoom: int) -> Picture:
    """Rows of pictures, each below its titles; every pixel is a square of so many."""
    rows = [np.concatenate(row, axis=1).repeat(zoom, axis=0).repeat(zoom, axis=1) for row in moment]
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    lines = [_line(tuple(names), width) for names in titles]
    return np.concatenate([part for line, row in zip(lines, rows, strict=True) for part in (line, row)])


def overlay(frame: Picture, strength: NDArray[np.float32]) -> Picture:
    """A frame in grey beneath a map in colour.

    Args:
        frame: (H, W, 3).
        strength: (H, W) in [0, 1]; 0 leaves the grey, 1 is bright yellow.
    """
    return heat(frame, strength, 1.0, lambda level: _FAINT + (_STRONG - _FAINT) * level[..., None])


@lru_cache(maxsize=8)
def _line(titles: tuple[str, ...], width: int) -> Picture:
    """(TITLE_HEIGHT, width, 3), or nothing of that width without titles."""
    canvas = Image.new("RGB", (width, TITLE_HEIGHT if titles else 0))
    draw = ImageDraw.Draw(canvas)
    for index, title in enumerate(titles):
        draw.text((index * width // len(titles) + 6, 4), title, fill="white")
    return np.asarray(canvas)


def _side_by_side(moments: Iterable[Seen], maps: Sequence[Tensor]) -> Iterator[list[Picture]]:
    for seen, *looks in zip_longest(moments, *maps):
        if seen is None or any(attention is None for attention in looks):
            raise FovealError(
                f"a film wants one map for every frame: there are {len(maps[0])} maps, and not as many frames"
            )
        shown, below = seen
        size = below[0].shape[:2]
        strengths = [resize_maps(attention[None], size)[0].float().cpu().numpy() for attention in looks]  # (H, W)
        yield [*shown, *(overlay(frame, strength) for strength in strengths for frame in below)]
