"""What tables of evidence are made of: rows, each of one process; commands; the commit; intervals over seeds."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy import stats


@contextmanager
def claimed(lock: Path) -> Iterator[int | None]:
    """A hold on a row, for ``carry_out``, or None where another process has it.

    It ends with the block or with this process, but not before a command that was given it: one that outlives the
    process which began it still has its row.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file.fileno()


def carry_out(command: Sequence[str], log: Path, run: Path | None = None, hold: int | None = None) -> int:
    """A command of foveal's, in a process of one thread; how many seconds it took.

    Args:
        command: without the word ``foveal``.
        log: where what it says goes; one that is there is added to.
        run: the run folder that it is to make, if it makes one.
        hold: of ``claimed``, on the row that it works for.

    Raises:
        RuntimeError: it failed; the log says why.
    """
    start = time.monotonic()
    program = "import sys; from foveal.cli import main; sys.exit(main(sys.argv[1:]))"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as said:
        done = subprocess.run(
            [sys.executable, "-c", program, *command, *([] if run is None else ["--out", str(run)])],
            env={**os.environ, "OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1"},
            stdout=said,
            stderr=said,
            pass_fds=[] if hold is None else [hold],
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"foveal {' '.join(command)} ended with {done.returncode}; {log} has what it said")
    return round(time.monotonic() - start)


def commit() -> str:
    """The short name of the commit that is checked out, with a plus where files differ from it."""
    say = ("git", "describe", "--always", "--dirty=+", "--exclude=*")
    return subprocess.run(say, capture_output=True, text=True, check=False).stdout.strip()


def trained(run: Path) -> bool:
    """Whether a run has a checkpoint; of those that keep none on the way, whether it was trained to its end."""
    return any((run / "checkpoints").glob("[0-9]*"))


def interval(values: Sequence[float], digits: int = 0) -> str:
    """The mean over seeds, where there are several with Student's 95 % interval."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values) or 1e-9)
    return f"{np.mean(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
