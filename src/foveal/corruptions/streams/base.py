"""The interface of changes that remember, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.corruptions.base import CORRUPTIONS, SEVERITIES, CorruptionOptions, Drawn, corrupted
from foveal.errors import FovealError
from foveal.registry import Registry, nearest


class Stream(ABC):
    """A change of the frames of one camera, which go through it in order; ``begin`` starts an episode.

    Args:
        options: what it is made with.
        severity: 1 to 5.

    Attributes:
        levels: strengths at the severities, in a unit of its own.
        strength: that of its severity.
        draws: where random numbers come from; whoever calls ``begin`` gives it, and its state is the caller's to save.

    Raises:
        FovealError: the severity is none.
    """

    levels: tuple[float, float, float, float, float]

    def __init__(self, options: CorruptionOptions, severity: int) -> None:
        if severity not in SEVERITIES:
            raise FovealError(f"a severity is a whole number from 1 to {len(SEVERITIES)}, not {severity}")
        self.options, self.severity = options, severity
        self.strength = self.levels[severity - 1]
        self.draws = torch.Generator()

    @abstractmethod
    def begin(self, draws: torch.Generator) -> None:
        """A new episode: forget what was, and draw what stays through it."""

    @abstractmethod
    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        """What comes of the next frame.

        Args:
            frame: (3, S, S) ``uint8``.
            mask: (S, S) bool, the task's own pixels, where somebody knows them.

        Returns:
            (3, S, S) ``uint8``.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that it remembers within an episode: arrays, and what JSON can hold."""

    @abstractmethod
    def load_state(self, state: dict[str, Any], draws: torch.Generator) -> None:
        """Go on where ``state`` was taken."""


STREAMS: Registry[type[Stream]] = Registry("change", "foveal.corruptions.streams")


class Corrupting(Stream):
    """A corruption at a severity, as a stream of one episode.

    Args:
        name: of the corruption.
        options, severity: see ``Stream``.
    """

    def __init__(self, name: str, options: CorruptionOptions, severity: int) -> None:
        self.corruption = CORRUPTIONS.get(name)(options)
        self.levels = self.corruption.levels
        super().__init__(options, severity)
        self._drawn: Drawn = {}
        self._time = -1  # of the latest frame, in agent steps

    def begin(self, draws: torch.Generator) -> None:
        self.draws = draws
        self._drawn, self._time = self.corruption.draw(1, draws), -1

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        self._time += 1
        given = None if mask is None else mask[None]
        return corrupted(self.corruption, frame[None], self.severity, self._drawn, self.draws, self._time, given)[0]

    def state(self) -> dict[str, Any]:
        return {"drawn": {name: tensor.numpy() for name, tensor in self._drawn.items()}, "time": self._time}

    def load_state(self, state: dict[str, Any], draws: torch.Generator) -> None:
        self.draws = draws
        self._drawn = {name: torch.from_numpy(np.array(array)) for name, array in state["drawn"].items()}
        self._time = int(state["time"])


def change_names() -> list[str]:
    """Of every corruption and of every change that remembers, sorted."""
    return sorted([*CORRUPTIONS.names(), *STREAMS.names()])


def knows_the_task(name: str) -> bool:
    """Whether a change has to know which pixels are the task's own."""
    return name in CORRUPTIONS.names() and CORRUPTIONS.get(name).needs_mask


def stream(name: str, severity: int, options: CorruptionOptions) -> Stream:
    """A change by name, for one camera.

    Raises:
        FovealError: an unknown name, the message has the nearest; or the severity is none.
    """
    if name in STREAMS.names():
        return STREAMS.get(name)(options, severity)
    if name not in CORRUPTIONS.names():
        raise FovealError(f"unknown change {name!r}: {nearest(name, change_names())}")
    return Corrupting(name, options, severity)


def as_array(frame: Tensor | None) -> NDArray[np.uint8] | None:
    """A remembered frame as ``Stream.state`` gives it."""
    return None if frame is None else frame.numpy()


def as_frame(array: Any) -> Tensor | None:
    """The inverse of ``as_array``."""
    return None if array is None else torch.from_numpy(np.array(array, np.uint8))
