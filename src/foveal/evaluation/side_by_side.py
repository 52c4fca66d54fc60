"""Conditions that are played at the same time, each environment in a process of its own, the policy in this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
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
        super().gain(episodes)
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
        Exception: what one of them raises; the others end at their next step.
        KeyboardInterrupt: after Ctrl-C, likewise.
    """
    lock, stopped = Lock(), Event()

    def one(condition: str) -> Played:
        with _ending_all(stopped):
            return play(condition, Part(bar, lock, stopped))

    bar.enter(f"{len(conditions)} conditions")
    with ThreadPoolExecutor(at_once) as pool, _ending_all(stopped):
        begun = [pool.submit(one, condition) for condition in conditions]
        wait(begun)
        for future in begun:
            with suppress(Stopped):
                future.result()  # raises what ended the others
        return [future.result() for future in begun]


@contextmanager
def _ending_all(stopped: Event) -> Iterator[None]:
    """When something goes wrong, nothing else is begun or goes on."""
    if stopped.is_set():
        raise Stopped
    try:
        yield
    except BaseException:
        stopped.set()
        raise
