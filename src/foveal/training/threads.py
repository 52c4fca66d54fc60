"""As many threads as other programs leave cores free.

A convolution's gradient splits its sum among threads that wait for each other without sleeping (oneDNN), so where one
of them has to share its core, all of them burn time until it gets its turn: two trainings with two threads each on two
cores take many times as long as one. One thread on a core of its own waits for nobody.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""With one of these the user has decided how many threads there are."""
PERIOD = 2.0
"""Seconds between two looks at the machine."""
SPARE = 1 / 3
"""What may be missing of a free core for a thread to be worth it. A second thread makes training 1.5 times as fast, and
lets it run at the pace of the one that shares its core: above a third of a core that others use, it only costs."""
GLANCE = 0.3
"""Seconds of the look before work starts."""


class Reading(NamedTuple):
    """What the cores that this process may use have done so far.

    Attributes:
        time: seconds, from any moment on.
        busy: core-seconds of all programs, without those that run at a lower priority: they give way.
        own: core-seconds of this process.
        cores: how many there are.
    """

    time: float
    busy: float
    own: float
    cores: int


def read(stat: str = "/proc/stat") -> Reading | None:
    """A reading; None where the system has no such file: anywhere but on Linux.

    Args:
        stat: the kernel's table of what each core has spent its time on, in ticks (man 5 proc_stat).
    """
    try:
        cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        with open(stat) as lines:
            rows = [line.split() for line in lines if line.startswith("cpu")]
        # user, nice, system, idle, iowait, irq, softirq; the rest is in these already, or another machine's.
        first = [1, 2] if os.getpriority(os.PRIO_PROCESS, 0) > 0 else [1]
        spent = [sum(int(row[column]) for column in [*first, 3, 6, 7]) for row in rows if row[0] in cores]
        tick = os.sysconf("SC_CLK_TCK")
    except (AttributeError, IndexError, OSError, ValueError):
        return None
    return Reading(time.monotonic(), sum(spent) / tick, time.process_time(), len(cores))


def taken(before: Reading | None, after: Reading | None) -> float:
    """Cores that other programs kept busy between two readings, on average; 0 where there are none."""
    if before is None or after is None or after.time <= before.time:
        return 0.0
    others = (after.busy - before.busy) - (after.own - before.own)
    return min(max(others / (after.time - before.time), 0.0), float(after.cores))


def busy(read: Callable[[], Reading | None] = read, sleep: Callable[[float], None] = time.sleep) -> str | None:
    """What to say before work starts where other programs need a core; None where there is nothing to say."""
    before = read()
    if before is None:
        return None
    sleep(GLANCE)
    others = taken(before, read())
    if others <= SPARE:
        return None
    return f"other programs keep {others:.1f} of {before.cores} cores busy: training will be slower than alone"


class Threads:
    """PyTorch's threads, fewer while other programs need cores, and never more than there were.

    Args:
        adapt: whether to change anything. Nothing is changed either where the user set one of ``SETTINGS``.
        read: what is asked every ``PERIOD`` seconds.
    """

    def __init__(self, *, adapt: bool, read: Callable[[], Reading | None] = read) -> None:
        self.most = torch.get_num_threads()
        self._read = read
        self._adapts = adapt and self.most > 1 and not any(os.environ.get(name) for name in SETTINGS)
        self._last = read() if self._adapts else None

    def adapt(self) -> int | None:
        """Look at the machine where that is due; returns the number of threads where it has changed."""
        if self._last is None or time.monotonic() < self._last.time + PERIOD:
            return None
        before, self._last = self._last, self._read()
        wanted = wanted_threads(self.most, before.cores, taken(before, self._last))
        if wanted == torch.get_num_threads():
            return None
        torch.set_num_threads(wanted)
        return wanted

    def restore(self) -> None:
        """As many threads as there were before."""
        if self._adapts:
            torch.set_num_threads(self.most)


def wanted_threads(most: int, cores: int, others: float) -> int:
    """How many threads to take of ``most`` where other programs keep ``others`` of so many cores busy; at least one."""
    return max(1, min(most, math.floor(cores - others + SPARE)))
