"""Work that falls into parts, spread over processes: one arm and its renderer in each."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

import torch

from foveal.errors import FovealError

Job = TypeVar("Job")
Result = TypeVar("Result")


class Workers:
    """Processes that wait for jobs; to be used in ``with``, or closed.

    Processes are spawned (a forked one would inherit an OpenGL context that it can't use), so a script needs
    ``if __name__ == "__main__"``.

    Args:
        count: processes; with 1 everything happens in this one.

    Raises:
        FovealError: ``count`` is below 1.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise FovealError(f"workers is {count}; it takes at least 1")
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """``function``, which must belong to a module, of every job, in the order of the jobs."""
        if self.count == 1:
            return map(function, jobs)
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.count, get_context("spawn"), initializer=begin_worker)
        return self._pool.map(function, jobs)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; a new ``map`` starts others."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def begin_worker() -> None:
    """One thread for networks and one for the software renderer: the other cores have workers of their own.

    A process whose parent was killed would wait for jobs for ever, so it ends with its parent.
    """
    threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()
    os.environ.setdefault("LP_NUM_THREADS", "1")
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
