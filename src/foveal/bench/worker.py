"""The process that works on one cell: ``python -m foveal.bench.worker FOLDER``. Engines start it, here or elsewhere."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from foveal.bench import locks
from foveal.bench.cells import DONE, FAILED, read_cell, write_cell
from foveal.bench.jobs import read_job
from foveal.bench.running import commit, missing_data, run_cell
from foveal.errors import FovealError
from foveal.evaluation.results import machine, write_json
from foveal.machine.allocator import keep_freed_memory
from foveal.registry import import_plugins

LOG, PROGRESS = "log.txt", "progress.json"
BUSY = 75
"""Exit status where another process works on the cell."""
INTERRUPTED = 130


def start(folder: Path, threads: int, more: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start the process for a cell; what it prints goes to ``log.txt`` in the cell's folder.

    Args:
        folder: the cell's, with its ``job.json``.
        threads: of its arithmetic, and of drawing where no GPU does it.
        more: environment variables.
    """
    pinned = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "LP_NUM_THREADS")}
    environment = {**os.environ, **pinned, **(more or {})}
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "foveal.bench.worker", str(folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C is passed on once, by the engine
        )


def main(arguments: Sequence[str]) -> int:
    """Work on a cell, as long as the process that started this one lives; returns the exit status.

    Args:
        arguments: the cell's folder, and the number of the process that started this one.
    """
    folder, parent = Path(arguments[0]), int(arguments[1])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started us with Ctrl-C ignored
    if hasattr(signal, "SIGUSR2"):
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm warns all processes; the engine passes it on
    diary = Diary(folder, parent)
    with locks.held(folder, diary.beat) as mine:
        if not mine:
            return BUSY
        return _attempt(folder, diary)


class Diary:
    """Writes how far a cell is, beside its lock's beats; ends the process where nobody waits for it any more.

    Args:
        folder: the cell's.
        parent: the process that started this one.
    """

    def __init__(self, folder: Path, parent: int) -> None:
        self.folder, self.parent = folder, parent
        self.began = time.monotonic()
        self.at: tuple[str, float] = ("starting", 0.0)

    @property
    def seconds(self) -> float:
        """Of this attempt."""
        return time.monotonic() - self.began

    def tell(self, what: str, share: float) -> None:
        """See ``foveal.bench.running.Tell``."""
        self.at = (what, share)

    def beat(self, mine: bool) -> None:
        """Note how far it is; end at once without a parent, or where another process has taken over."""
        if not mine or os.getppid() != self.parent:
            os._exit(1)  # checkpoints are whole at any time
        self.write()

    def write(self) -> None:
        """Write ``progress.json``."""
        what, share = self.at
        record = {"doing": what, "share": round(share, 4), "seconds": round(self.seconds, 1)}
        try:
            write_json(self.folder / PROGRESS, record)
        except FovealError:  # a full disk stops the training, which says so
            return


def _attempt(folder: Path, diary: Diary) -> int:
    """Try the cell once, and write what came of it into ``cell.json``; returns the exit status."""
    before = read_cell(folder)
    if before is not None and before.state == DONE:
        return 0
    spent = 0.0 if before is None else (before.seconds or 0.0) + last_doing(folder)[2]
    job = read_job(folder)
    place = {**machine(), "threads": torch.get_num_threads()}
    cell = job.cell(commit=commit(), machine=place, seconds=spent or None)
    write_cell(folder, cell)
    diary.write()
    try:
        import_plugins(job.plugins)
        missing_data(job)
        run_cell(job, diary.tell)
        end, status = replace(cell, state=DONE), 0
    except KeyboardInterrupt:
        print("stopped; the same bench command goes on", file=sys.stderr)
        end, status = cell, INTERRUPTED
    except Exception as error:
        logging.exception("%s failed", job.label)
        end, status = replace(cell, state=FAILED, error=line_of(error)), 1
    write_cell(folder, replace(end, seconds=round(spent + diary.seconds, 1)))
    diary.began = time.monotonic()  # the cell has these seconds now
    diary.write()
    return status


def last_doing(folder: Path) -> tuple[str, float, float]:
    """What a cell's process does or did last, how much of the work is done, and for how many seconds it was at it."""
    try:
        noted = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        return str(noted["doing"]), float(noted["share"]), float(noted["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return "starting", 0.0, 0.0


def line_of(error: BaseException) -> str:
    """What went wrong, in a line: the message alone where it is meant for people."""
    said = " ".join(str(error).split())
    return said if isinstance(error, FovealError) else f"{type(error).__name__}: {said}".rstrip(": ")


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
