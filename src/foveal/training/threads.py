"""As many threads as other programs leave cores free.

oneDNN's threads wait for each other without sleeping, so if one of them shares its core with another program, all of
them burn time until it gets its turn: two trainings with two threads each on two cores take many times as long as one.
A single thread on its own core waits for none.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables by which users decide on the number of threads themselves."""
PERIOD = 2.0
"""Seconds between two looks at the machine."""
SPARE = 1 / 3
"""The share of a core that other programs may use for a thread on it to be worthwhile. A second thread makes training
1.5 times as fast, but all run at the pace of the one that shares its core, so that above a third it only costs."""
GLANCE = 0.3
"""Seconds between the two looks before work starts."""


class Reading(NamedTuple):
    """The work so far of the cores that this process may use.

    Attributes:
        time: seconds since any fixed moment.
        busy: core-seconds of all programs but those of a lower priority, which give way.
        own: core-seconds of this process.
        cores: how many there are.
    """

    time: float
    busy: float
    own: float
    cores: int


def read(stat: str = "/proc/stat") -> Reading | None:
    """A reading; None where the system has no such file, which only Linux has.

    Args:
        stat: the kernel's table of what each core has spent its time on, in ticks (man 5 proc_stat).
    """
    try:
        cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        with open(stat) as lines:
            rows = [line.split() for line in lines if line.startswith("cpu")]
        # user, nice, system, idle, iowait, irq, softirq; later columns are part of these, or another machine's.
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
    """A warning to print before work starts, where other programs keep a core busy, or None."""
    before = read()
    if before is None:
        return None
    sleep(GLANCE)
    others = taken(before, read())
    if others <= SPARE:
        return None
    return f"other programs keep {others:.1f} of {before.cores} cores busy: training will be slower than alone"


class Threads:
    """PyTorch's threads: fewer while other programs need cores, never more than at first.

    Args:
        adapt: whether to change their number. It is not changed either where the user has set one of ``SETTINGS``.
        read: gives a reading of the machine, every ``PERIOD`` seconds.
    """

    def __init__(self, *, adapt: bool, read: Callable[[], Reading | None] = read) -> None:
        self.most = torch.get_num_threads()
        self._read = read
        self._adapts = adapt and self.most > 1 and not any(os.environ.get(name) for name in SETTINGS)
        self._last = read() if self._adapts else None

    def adapt(self) -> int | None:
        """Look at the machine if that is due; returns the number of threads if it has changed."""
        if self._last is None or time.monotonic() < self._last.time + PERIOD:
            return None
        before, self._last = self._last, self._read()
        wanted = wanted_threads(self.most, before.cores, taken(before, self._last))
        if wanted == torch.get_num_threads():
            return None
        torch.set_num_threads(wanted)
        return wanted

    def restore(self) -> None:
        """Use as many threads as at first."""
        if self._adapts:
            torch.set_num_threads(self.most)


def wanted_threads(most: int, cores: int, others: float) -> int:
    """How many of ``most`` threads to use while other programs keep ``others`` of the cores busy; at least one."""
    return max(1, min(most, math.floor(cores - others + SPARE)))
