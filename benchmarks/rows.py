"""What tables of evidence are made of: rows, each of one process; commands; the commit; intervals over seeds."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import tyro
from scipy import stats

from foveal.training.run_folder import ended

Options = TypeVar("Options")


@dataclass(frozen=True)
class Show:
    """Print the tables of a folder of rows."""

    folder: tyro.conf.Positional[Path]


def asked(
    options: type[Options],
    table: Callable[[Path], None],
    verb: str = "run",
    arguments: Sequence[str] | None = None,
) -> Options | None:
    """What the command line asks to be done; None where it asks for ``table FOLDER``, which is then printed.

    Args:
        options: of the other command.
        table: prints the tables of a folder.
        verb: the other command's name.
        arguments: of the command line; by default this process's.
    """
    commands: Any = Annotated[options, tyro.conf.subcommand(verb)] | Annotated[Show, tyro.conf.subcommand("table")]
    chosen = tyro.cli(commands, args=arguments)
    if not isinstance(chosen, Show):
        return chosen  # type: ignore[no-any-return]
    table(chosen.folder)
    return None


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


@contextmanager
def missing(target: Path, work: Path) -> Iterator[int | None]:
    """A hold on a row that has no file yet; None where it has, or where another process works on it.

    Args:
        target: the row's file.
        work: folder for the lock.
    """
    with claimed(work / f"{target.stem}.lock") as hold:
        yield None if target.exists() else hold


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


def train_to_end(command: Sequence[str], run: Path, hold: int) -> int | None:
    """Train a run, or go on with what was stopped of it; seconds of a training in one go, else None.

    Args:
        command: as for ``carry_out``, with the word ``train``.
        run: its folder, beside which its log is.
        hold: of ``claimed``.
    """
    log = run.parent / f"{run.name}.log"
    if ended(run):
        return None
    if not trained(run):
        shutil.rmtree(run, ignore_errors=True)  # stopped before its first checkpoint
        return carry_out(command, log, run, hold)
    carry_out([*command[: command.index("train") + 1], "--resume", str(run)], log, hold=hold)
    return None


def commit() -> str:
    """The short name of the commit that is checked out, with a plus where files differ from it."""
    say = ("git", "describe", "--always", "--dirty=+", "--exclude=*")
    return subprocess.run(say, capture_output=True, text=True, check=False).stdout.strip()


def trained(run: Path) -> bool:
    """Whether a run has a checkpoint."""
    return any((run / "checkpoints").glob("[0-9]*"))


def interval(values: Sequence[float], digits: int = 0) -> str:
    """The mean over seeds, where there are several with Student's 95 % interval."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values) or 1e-9)
    return f"{np.mean(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
