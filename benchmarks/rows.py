"""What tables of evidence are made of: a command in a process of its own, the commit, intervals over seeds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats


def carry_out(command: Sequence[str], run: Path | None = None) -> int:
    """A command of foveal's, in a process of one thread; how many seconds it took.

    Args:
        command: without the word ``foveal``.
        run: the run folder that it is to make, if it makes one.
    """
    start = time.monotonic()
    program = "import sys; from foveal.cli import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run(
        [sys.executable, "-c", program, *command, *([] if run is None else ["--out", str(run)])],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return round(time.monotonic() - start)


def commit() -> str:
    """The short name of the commit that is checked out."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def trained(run: Path) -> bool:
    """Whether a run's only checkpoint, its last, is there: if not, another process may be at it."""
    return any((run / "checkpoints").glob("[0-9]*"))


def interval(values: Sequence[float], digits: int = 0) -> str:
    """The mean over seeds, where there are several with Student's 95 % interval."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values) or 1e-9)
    return f"{np.mean(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
