"""Frames that come too late or not at all: a bad link, a busy driver, a camera that hangs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.corruptions.streams.base import STREAMS, Stream, as_array, as_frame

FREEZES = 0.05
"""How likely a camera freezes in an agent step in which it is not frozen."""


@STREAMS.register("dropped")
class Dropped(Stream):
    """Single frames are lost, and the last one that came stays; the strength is how likely each is lost.

    The first frame of an episode always comes.
    """

    levels = (0.1, 0.25, 0.5, 0.75, 0.9)
    _shown: Tensor | None = None

    def begin(self, draws: torch.Generator) -> None:
        self.draws, self._shown = draws, None

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        lost = float(torch.rand((), generator=self.draws)) < self.strength
        if self._shown is None or not lost:
            self._shown = frame.clone()
        return self._shown

    def state(self) -> dict[str, Any]:
        return {"shown": as_array(self._shown)}

    def load_state(self, state: dict[str, Any], draws: torch.Generator) -> None:
        self.draws, self._shown = draws, as_frame(state["shown"])


@STREAMS.register("frozen")
class Frozen(Stream):
    """The camera hangs now and then, with probability 0.05 a step; the strength is for how many steps."""

    levels = (2.0, 5.0, 10.0, 20.0, 40.0)
    _shown: Tensor | None = None
    _left = 0

    def begin(self, draws: torch.Generator) -> None:
        self.draws, self._shown, self._left = draws, None, 0

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        starts = float(torch.rand((), generator=self.draws)) < FREEZES
        if self._shown is not None and self._left == 0 and starts:
            self._left = int(self.strength)
        if self._shown is None or self._left == 0:
            self._shown = frame.clone()
        else:
            self._left -= 1
        return self._shown

    def state(self) -> dict[str, Any]:
        return {"shown": as_array(self._shown), "left": self._left}

    def load_state(self, state: dict[str, Any], draws: torch.Generator) -> None:
        self.draws, self._shown, self._left = draws, as_frame(state["shown"]), int(state["left"])


@STREAMS.register("delayed")
class Delayed(Stream):
    """Every frame comes late; the strength is by how many steps. Until then the first one stands."""

    levels = (1.0, 2.0, 4.0, 7.0, 12.0)
    _waiting: tuple[Tensor, ...] = ()

    def begin(self, draws: torch.Generator) -> None:
        self.draws, self._waiting = draws, ()

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        self._waiting = (*self._waiting, frame.clone())[-int(self.strength) - 1 :]
        return self._waiting[0]

    def state(self) -> dict[str, Any]:
        return {"waiting": np.stack(self._waiting) if self._waiting else None}

    def load_state(self, state: dict[str, Any], draws: torch.Generator) -> None:
        self.draws = draws
        waiting = as_frame(state["waiting"])
        self._waiting = () if waiting is None else tuple(waiting)
