"""Who works on a cell: locks that survive kills, clocks that disagree and folders on a network.

A lock is a file with its holder's process and machine, touched every few seconds. It is never deleted while it counts:
who takes over a lock makes the file of the next number, which exactly one process can. So two that see the same dead
holder can't both become its heir.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FOLDER = "locks"
BEAT = 2.0
"""Seconds between two signs of life."""
STALE = 60.0
"""Seconds without one after which a holder on another machine counts as dead; on this machine it is looked for."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        pid: of the process.
        host: of its machine, with what tells containers and reboots apart.
        age: seconds since its last sign of life, by the file system's clock.
    """

    pid: int
    host: str
    age: float

    @property
    def alive(self) -> bool:
        """Whether it still works, as far as this process can see."""
        if self.age > STALE:
            return False
        return self.host != here() or exists(self.pid)


def here() -> str:
    """This machine since it was started, and within it this container: where a process number means one process."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def exists(pid: int) -> bool:
    """Whether there is such a process here; one that has ended and waits to be noticed by its parent is none."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0] != "Z"
    return True


def holder(folder: Path) -> Holder | None:
    """Who holds the lock of a folder; None if nobody does."""
    number = _latest(folder)
    if number == 0:
        return None
    path = _path(folder, number)
    try:
        state = json.loads(path.read_text())
    except ValueError:  # made this moment and not yet written
        state = {"pid": -1, "host": ""}
    if state.get("released"):
        return None
    return Holder(int(state["pid"]), str(state["host"]), _now(folder) - path.stat().st_mtime)


def busy(folder: Path) -> bool:
    """Whether somebody who is alive holds the lock of a folder."""
    other = holder(folder)
    return other is not None and other.alive


@contextmanager
def held(folder: Path, beat: Callable[[bool], None] | None = None) -> Iterator[bool]:
    """Hold the lock of a folder within ``with``; gives whether that worked, or another holds it.

    Args:
        folder: it gets a folder ``locks``.
        beat: called every ``BEAT`` seconds while it is held, with whether that is still so: another may have taken it
            over from a process that stood still.
    """
    number = _acquire(folder)
    if number is None:
        yield False
        return
    path, over = _path(folder, number), threading.Event()

    def live() -> None:
        while not over.wait(BEAT):
            with contextlib.suppress(OSError):  # a full disk or a network that is away for a while
                os.utime(path)
            if beat is not None:
                beat(_latest(folder) == number)

    pulse = threading.Thread(target=live, daemon=True, name="lock")
    pulse.start()
    try:
        yield True
    finally:
        over.set()
        pulse.join()
        path.write_text(json.dumps({"released": True}))


def _acquire(folder: Path) -> int | None:
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    latest = _latest(folder)
    if busy(folder):
        return None
    try:
        with _path(folder, latest + 1).open("x") as file:
            json.dump({"pid": os.getpid(), "host": here()}, file)
    except FileExistsError:
        return None
    return latest + 1


def _latest(folder: Path) -> int:
    """The number of the lock that counts, 0 before the first."""
    names = [re.fullmatch(r"(\d+)\.json", path.name) for path in (folder / FOLDER).glob("*.json")]
    return max((int(match[1]) for match in names if match), default=0)


def _path(folder: Path, number: int) -> Path:
    return folder / FOLDER / f"{number}.json"


def _now(folder: Path) -> float:
    """The time by the clock that stamps the folder's files, which may be another machine's."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder / FOLDER, prefix=".clock-") as file:
            return os.stat(file.name).st_mtime
    except OSError:  # a folder that can only be read
        return time.time()
