"""Frames that come again, as those of a stack do, and are worked on once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Remembering(Generic[T]):
    """Work on single frames that is done once for each.

    Args:
        work: (B, C, H, W) ``uint8``, none of them known, to what comes of each.
        kept: frames that are remembered beside those of a call.
    """

    def __init__(self, work: Callable[[NDArray[np.uint8]], Iterable[T]], kept: int) -> None:
        self._work, self._kept = work, kept
        self._known: OrderedDict[bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def __call__(self, frames: NDArray[np.uint8]) -> list[T]:
        """What comes of each of (B, C, H, W); those that are not known yet are worked on together."""
        keys = [frame.tobytes() for frame in frames]
        new: dict[bytes, Any] = {key: frame for key, frame in zip(keys, frames, strict=True) if key not in self._known}
        if new:
            self._known.update(zip(new, self._work(np.stack(list(new.values()))), strict=True))
        done = [self._known[key] for key in keys]
        for key in keys:
            self._known.move_to_end(key)
        while len(self._known) > self._kept + len(frames):
            self._known.popitem(last=False)
        return done

    def forget(self) -> None:
        """Know no frame."""
        self._known.clear()
