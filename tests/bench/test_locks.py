"""One process at a time works on a cell, whoever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from foveal.bench import locks


def put(folder: Path, number: int, age: float, **state: object) -> Path:
    """A lock of somebody else's, last touched so many seconds ago."""
    path = folder / "locks" / f"{number}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(state))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def dead_process() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def taken(folder: Path) -> bool:
    """Whether the lock can be had now."""
    with locks.held(folder) as mine:
        return mine


def test_who_holds_it_is_alone(tmp_path: Path) -> None:
    assert locks.holder(tmp_path) is None
    with locks.held(tmp_path) as mine:
        assert mine
        holder = locks.holder(tmp_path)
        assert holder is not None and holder.alive
        assert (holder.pid, holder.host) == (os.getpid(), locks.here())
        assert not taken(tmp_path)
    assert locks.holder(tmp_path) is None
    assert taken(tmp_path)


def test_it_is_given_back_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locks.held(tmp_path):
        raise ZeroDivisionError
    assert taken(tmp_path)


@pytest.mark.slow
def test_a_killed_holder_is_followed_at_once(tmp_path: Path) -> None:
    program = "import sys, time, pathlib\nfrom foveal.bench import locks\n"
    program += "with locks.held(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        assert not taken(tmp_path)
        process.send_signal(signal.SIGKILL)
    assert taken(tmp_path)


def test_holders_elsewhere_are_judged_by_their_beats(tmp_path: Path) -> None:
    put(tmp_path, 1, age=locks.STALE / 2, pid=1, host="elsewhere")
    assert not taken(tmp_path)
    put(tmp_path, 1, age=2 * locks.STALE, pid=1, host="elsewhere")
    assert taken(tmp_path)


def test_a_process_that_stands_still_is_followed_though_its_number_is_taken(tmp_path: Path) -> None:
    put(tmp_path, 3, age=2 * locks.STALE, pid=os.getpid(), host=locks.here())
    assert taken(tmp_path)


def test_a_lock_that_was_never_written_counts_until_it_is_old(tmp_path: Path) -> None:
    path = put(tmp_path, 1, age=0.0)
    path.write_text("")
    assert not taken(tmp_path)
    os.utime(path, (0, 0))
    assert taken(tmp_path)


def test_one_of_many_heirs_gets_it(tmp_path: Path) -> None:
    """Each sees the same dead holder; none may take the lock away from the heir."""
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        put(folder, 1, age=0.0, pid=dead_process() if attempt == 0 else 2**22 + 1, host=locks.here())
        barrier, numbers = threading.Barrier(6), []

        def inherit(
            folder: Path = folder, barrier: threading.Barrier = barrier, numbers: list[object] = numbers
        ) -> None:
            barrier.wait()
            numbers.append(locks._acquire(folder))

        heirs = [threading.Thread(target=inherit) for _ in range(6)]
        for heir in heirs:
            heir.start()
        for heir in heirs:
            heir.join()
        assert sorted(numbers, key=str) == [2, *[None] * 5]


def inherit(folder: Path, barrier: threading.Barrier, numbers: list[int | None]) -> None:
    barrier.wait()
    numbers.append(locks._acquire(folder))


def test_beats_touch_the_lock_and_tell_when_it_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT", 0.01)
    told: list[bool] = []
    with locks.held(tmp_path, told.append):
        path = tmp_path / "locks" / "1.json"
        os.utime(path, (0, 0))
        until(lambda: path.stat().st_mtime > 1 and told[-1:] == [True])
        put(tmp_path, 2, age=0.0, pid=1, host="elsewhere")
        until(lambda: told[-1] is False)


def until(met: object, patience: float = 20.0) -> None:
    """Wait for something."""
    end = time.monotonic() + patience
    while not met():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)
