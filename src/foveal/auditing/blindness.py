"""The test of blindness: a camera that tells nothing. A policy that still succeeds does not look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from foveal.auditing.cameras import Camera, Frames
from foveal.auditing.changing import Changed, Passes

GREY = 127

Film = Mapping[tuple[str, ...], Frames]
"""Frames of one episode, (T, 3, H, W), by the path of their camera."""


class Noise:
    """Every pixel is drawn anew in every frame."""

    def begin(self, draws: torch.Generator) -> None:
        self._draws = draws

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        """Uniform from 0 to 255."""
        return torch.randint(0, 256, frame.shape, generator=self._draws, dtype=torch.uint8)


class Blank:
    """All grey."""

    def begin(self, draws: torch.Generator) -> None:
        """A new episode."""

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        return torch.full_like(frame, GREY)


class Still:
    """An episode's first frame, for ever."""

    def begin(self, draws: torch.Generator) -> None:
        self._first: Tensor | None = None

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        if self._first is None:
            self._first = frame.clone()
        return self._first


class Elsewhere:
    """Frames of another episode, from its middle on and then from its beginning: so that not even the time is right.

    Args:
        films: (T, 3, H, W) frames of some episodes of this camera; one is drawn for each episode.
    """

    def __init__(self, films: Sequence[Frames]) -> None:
        self._films = [torch.from_numpy(film) for film in films]

    def begin(self, draws: torch.Generator) -> None:
        self._film = self._films[int(torch.randint(len(self._films), (), generator=draws))]
        self._place = len(self._film) // 2

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        self._place += 1
        return self._film[(self._place - 1) % len(self._film)]


REPLACEMENTS = {
    "blind: noise": "the camera shows noise",
    "blind: blank": "the camera shows grey",
    "blind: still": "the camera shows the episode's first frame for ever",
    "blind: elsewhere": "the camera shows frames of other episodes",
}
"""Name -> what happens."""


def replacement(name: str, cameras: Sequence[Camera], films: Sequence[Film]) -> Changed:
    """A camera that tells nothing.

    Args:
        name: one of ``REPLACEMENTS``.
        cameras: of the observations.
        films: of other episodes.
    """
    return Changed(cameras, [_made(name, [film[camera.path] for film in films]) for camera in cameras])


def _made(name: str, films: Sequence[Frames]) -> Passes:
    if name == "blind: elsewhere":
        return Elsewhere(films)
    kinds: dict[str, type[Passes]] = {"blind: noise": Noise, "blind: blank": Blank, "blind: still": Still}
    return kinds[name]()
