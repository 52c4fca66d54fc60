"""Observations with changed pictures: every frame is changed once, when it comes, also where it is seen in a stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from foveal.auditing.cameras import Camera, Frames, replaced
from foveal.corruptions import CorruptionOptions
from foveal.corruptions.streams import knows_the_task, stream

PICTURES = 128
"""Pictures of other places that are kept in memory."""

Mask = NDArray[np.bool_]


class Passes(Protocol):
    """What the frames of a camera go through, of any height and width: see ``foveal.corruptions.streams.Stream``."""

    def begin(self, draws: torch.Generator) -> None:
        """A new episode."""

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        """What comes of a (3, H, W) ``uint8`` frame."""


class Squared:
    """A change for frames that are not square: they are continued at their borders, changed, and cut out again.

    Args:
        name, severity: of the change.
        height, width: of the frames, in pixels.
        seed: of the order of pictures of other places.
    """

    def __init__(self, name: str, severity: int, height: int, width: int, seed: int = 0) -> None:
        side = max(height, width)
        self.change = stream(name, severity, CorruptionOptions(side, picture_count=PICTURES, seed=seed))
        top, left = (side - height) // 2, (side - width) // 2
        self._edges = (left, side - width - left, top, side - height - top)
        self._rows, self._columns = slice(top, top + height), slice(left, left + width)

    def begin(self, draws: torch.Generator) -> None:
        self.change.begin(draws)

    def next(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        """Of a (3, H, W) ``uint8`` frame."""
        if any(self._edges):
            frame = F.pad(frame[None].float(), self._edges, mode="replicate")[0].to(torch.uint8)
            mask = None if mask is None else F.pad(mask, self._edges)
        return self.change.next(frame, mask)[:, self._rows, self._columns]


class Changed:
    """Observations whose cameras are changed.

    Args:
        cameras: of the observation space.
        changes: what the frames of each go through.
        needs_mask: whether they must know which pixels are the task's own.
    """

    def __init__(self, cameras: Sequence[Camera], changes: Sequence[Passes], *, needs_mask: bool = False) -> None:
        self.cameras, self.needs_mask = cameras, needs_mask
        self._stacks = [Stack(camera, change) for camera, change in zip(cameras, changes, strict=True)]

    def begin(self, seed: Sequence[int]) -> None:
        """A new episode; all draws come from its seed, another stream for each camera."""
        for number, stack in enumerate(self._stacks):
            state = np.random.SeedSequence([*seed, number]).generate_state(1, np.uint64)
            stack.begin(torch.Generator().manual_seed(int(state[0] >> 1)))

    def __call__(self, observation: Any, mask: Mask | None = None) -> Any:
        """The observation with what a changed camera would have given; ``mask`` is of the newest frame."""
        for stack in self._stacks:
            observation = replaced(observation, stack.camera.path, stack(observation, mask))
        return observation


def changed_by(name: str, severity: int, cameras: Sequence[Camera], seed: int = 0) -> Changed:
    """Cameras under one change; arguments as for ``Squared`` and ``Changed``."""
    changes = [Squared(name, severity, camera.height, camera.width, seed) for camera in cameras]
    return Changed(cameras, changes, needs_mask=knows_the_task(name))


class Stack:
    """The stacked frames of one camera, changed one by one.

    Args:
        camera: whose.
        change: what frames go through.
    """

    def __init__(self, camera: Camera, change: Passes) -> None:
        self.camera, self.change = camera, change
        self._came: Frames | None = None
        self._gave: Frames | None = None

    def begin(self, draws: torch.Generator) -> None:
        self.change.begin(draws)
        self._came = self._gave = None

    def __call__(self, observation: Any, mask: Mask | None) -> NDArray[Any]:
        """The camera's entry of an observation, changed."""
        came = self.camera.read(observation)
        new = self._new(came)
        given = [] if self._gave is None else list(self._gave[new:])
        masks = None if mask is None else torch.from_numpy(np.array(mask, bool))
        for place in range(len(came) - new, len(came)):
            if self._came is None and given and np.array_equal(came[place], came[place - 1]):
                given.append(given[-1])  # at a reset stacks are filled with one frame
            else:
                given.append(self.change.next(torch.from_numpy(came[place]), masks).numpy().copy())
        self._came, self._gave = came, np.stack(given)
        return self.camera.written(self._gave)

    def _new(self, came: Frames) -> int:
        """How many frames of the stack were not in the one before."""
        if self._came is None:
            return len(came)
        shifts = (new for new in range(1, len(came)) if np.array_equal(came[:-new], self._came[new:]))
        return next(shifts, len(came))
