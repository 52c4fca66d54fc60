"""Names of the phases of an update, which profilers show and the speed benchmark times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch.profiler import record_function

Clock = Callable[[str], AbstractContextManager[object]]


_clock: Clock = nullcontext


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Mark what happens within as a phase of an update; phases nest."""
    with record_function(f"foveal/{name}"), _clock(name):
        yield


@contextmanager
def timed_by(clock: Clock) -> Iterator[None]:
    """Let ``clock(name)`` surround every phase that begins within."""
    global _clock
    before, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = before
