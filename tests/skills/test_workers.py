"""Processes for simulated arms."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PARENT = """
import os, signal
from foveal.skills.workers import Workers

if __name__ == "__main__":
    crew = Workers(2)
    print(*set(crew.map(pid, range(2))), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
JOBS = """
import os, time

def pid(_):
    time.sleep(0.2)
    return os.getpid()
"""


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path) -> None:
    """They hold the pipe that it printed to, which closes when the last of them has ended."""
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "parent.py").write_text("from jobs import pid\n" + PARENT)
    command = [sys.executable, str(tmp_path / "parent.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == -9, done.stderr
    numbers = [int(number) for number in done.stdout.split()]
    assert numbers and os.getpid() not in numbers
