"""Timing on any device, and exclusive times of nested phases."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
Now = Callable[[], float]
"""Reads a clock, in seconds."""


def wait_for(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device, now: Now = time.perf_counter) -> float:
    """Wall-clock seconds of ``work``, including what it starts on the device."""
    wait_for(device)
    start = now()
    work()
    wait_for(device)
    return now() - start


def elapsed(work: Callable[[], T]) -> tuple[float, T]:
    """Wall-clock seconds of work on the CPU, and what it returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def fastest(
    work: Callable[[], object], device: torch.device, budget: float = 0.5, now: Now = time.perf_counter
) -> float:
    """The shortest time of ``work`` within about ``budget`` seconds, after a first run that is not timed."""
    work()
    best = seconds(work, device, now)
    left = budget - best
    while left > 0:
        took = seconds(work, device, now)
        best, left = min(best, took), left - took
    return best


class PhaseClock:
    """Seconds spent in each phase (see ``foveal.timing``), without those of the phases within it.

    It waits for the device at every border of a phase, so it must not run while total times are measured.

    Args:
        device: to wait for.
        now: reads the clock.
    """

    def __init__(self, device: torch.device, now: Now = time.perf_counter) -> None:
        self.device, self._now = device, now
        self.totals: dict[str, float] = defaultdict(float)
        self._inner = [0.0]  # seconds of the phases within each open one

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one phase."""
        wait_for(self.device)
        start = self._now()
        self._inner.append(0.0)
        try:
            yield
        finally:
            wait_for(self.device)
            took = self._now() - start
            self.totals[name] += took - self._inner.pop()
            self._inner[-1] += took
