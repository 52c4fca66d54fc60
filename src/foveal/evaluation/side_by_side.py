"""Conditions that are played at the same time, each environment in a process of its own, the policy in this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Lock
from typing import TypeVar

from foveal.evaluation.world import Bar

Played = TypeVar("Played")


class Stopped(Exception):
    """Another condition has failed, or the user has had enough."""


class Part(Bar):
    """The bar of one of several conditions, which moves that of all.

    Args:
        whole: bar of all.
        lock: whoever moves that holds it.
        stopped: ends the playing at its next step.
    """

    def __init__(self, whole: Bar, lock: Lock, stopped: Event) -> None:
        super().__init__(0, visible=False)
        self._whole, self._lock, self._stopped = whole, lock, stopped

    def step(self, *_: object) -> None:
        if self._stopped.is_set():
            raise Stopped
        super().step()

    def gain(self, episodes: float) -> None:
        with self._lock:
            self._whole.gain(episodes)


def side_by_side(play: Callable[[str, Bar], Played], conditions: Sequence[str], bar: Bar, at_once: int) -> list[Played]:
    """What ``play`` gives for each condition, in order.

    Args:
        play: plays one, with a bar of its own; several of these calls run in threads at the same time.
        conditions: their names.
        bar: of all of them.
        at_once: how many are played at the same time.

    Raises:
        Exception: the first that any of them raises; the others end.
        KeyboardInterrupt: after Ctrl-C, likewise.
    """
    lock, stopped = Lock(), Event()
    bar.enter(f"{len(conditions)} conditions")
    with ThreadPoolExecutor(at_once) as pool, _ending(pool, stopped):
        begun = [pool.submit(play, name, Part(bar, lock, stopped)) for name in conditions]
        return [future.result() for future in begun]


@contextmanager
def _ending(pool: ThreadPoolExecutor, stopped: Event) -> Iterator[None]:
    """End the others when something goes wrong."""
    try:
        yield
    except BaseException:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
