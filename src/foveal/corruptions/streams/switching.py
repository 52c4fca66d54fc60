"""Conditions that change within an episode: a Markov chain chooses among corruptions, one at a time, and none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from foveal.corruptions.base import CorruptionOptions
from foveal.corruptions.streams.base import STREAMS, Corrupting, Stream

AMONG = ("blur", "brightness", "fog", "jpeg", "low_light", "noise", "occluder", "shadow", "shift", "tint")
"""Those that need no mask, and not all of a kind."""


@STREAMS.register("switching")
class Switching(Stream):
    """One corruption after another, now and then none; each step another is drawn with probability 0.05.

    The strength is the severity of each. All of them, and the frame as it is, are equally likely.
    """

    levels = (1.0, 2.0, 3.0, 4.0, 5.0)
    switches = 0.05
    active = 0

    def __init__(self, options: CorruptionOptions, severity: int) -> None:
        super().__init__(options, severity)
        self.parts: list[Corrupting | None] = [None, *(Corrupting(name, options, severity) for name in AMONG)]

    def begin(self, draws: torch.Generator) -> None:
        self.draws = draws
        self._choose()

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        part = self.parts[self.active]
        shown = frame if part is None else part.next(frame, mask)
        if float(torch.rand((), generator=self.draws)) < self.switches:
            self._choose()
        return shown

    def state(self) -> dict[str, Any]:
        part = self.parts[self.active]
        return {"active": self.active, "part": None if part is None else part.state()}

    def load_state(self, state: dict[str, Any], draws: torch.Generator) -> None:
        self.draws, self.active = draws, int(state["active"])
        part = self.parts[self.active]
        if part is not None:
            part.load_state(state["part"], draws)

    def _choose(self) -> None:
        """Another part, or the same again, which then begins anew."""
        self.active = int(torch.randint(len(self.parts), (), generator=self.draws))
        part = self.parts[self.active]
        if part is not None:
            part.begin(self.draws)
