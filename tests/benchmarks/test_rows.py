"""benchmarks/rows.py: a row belongs to one process, and to what that process began; what fails says why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from rows import asked, carry_out, claimed, interval, missing, train_to_end, trained


def test_a_row_belongs_to_one_process(tmp_path: Path) -> None:
    one, two = tmp_path / "a.lock", tmp_path / "b.lock"
    with claimed(one) as first, claimed(one) as second, claimed(two) as other:
        assert first is not None and second is None and other is not None
    with claimed(one) as again:
        assert again is not None


def test_what_outlives_the_process_that_began_it_keeps_its_row(tmp_path: Path) -> None:
    lock, waits = tmp_path / "a.lock", [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with claimed(lock) as hold:
        assert hold is not None
        child = subprocess.Popen(waits, stdin=subprocess.PIPE, pass_fds=[hold])
    with claimed(lock) as meanwhile:
        assert meanwhile is None
    child.communicate(b"")
    with claimed(lock) as afterwards:
        assert afterwards is not None


def test_a_command_that_fails_says_where_its_words_are(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "row.log"
    with pytest.raises(RuntimeError, match=r"foveal train nothing/at-all ended with [1-9]\d*; .*row\.log"):
        carry_out(["train", "nothing/at-all"], log)
    assert "nothing/at-all" in log.read_text()


@pytest.mark.slow
def test_a_command_holds_its_row_and_runs_in_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def run(command: list[str], **how: object) -> subprocess.CompletedProcess[str]:
        seen.update(how, command=command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    with claimed(tmp_path / "a.lock") as hold:
        assert hold is not None
        assert carry_out(["train", "x"], tmp_path / "x.log", tmp_path / "run", hold) == 0
        assert seen["pass_fds"] == [hold]
    environment = seen["env"]
    assert isinstance(environment, dict) and environment["OMP_NUM_THREADS"] == "1"
    assert environment["PATH"] == os.environ["PATH"]
    command = seen["command"]
    assert isinstance(command, list) and command[-2:] == ["--out", str(tmp_path / "run")]


def test_a_run_is_trained_once_it_has_a_checkpoint(tmp_path: Path) -> None:
    assert not trained(tmp_path)
    (tmp_path / "checkpoints" / "000000000100").mkdir(parents=True)
    assert trained(tmp_path)


def test_one_seed_has_no_interval() -> None:
    assert interval([3.0]) == "3"
    assert interval([1.0, 3.0], 1) == "2.0 [-10.7, 14.7]"


def test_a_row_that_has_its_file_is_not_begun(tmp_path: Path) -> None:
    target = tmp_path / "out" / "row.json"
    with missing(target, tmp_path / "work") as first, missing(target, tmp_path / "work") as second:
        assert first is not None and second is None
    target.parent.mkdir()
    target.touch()
    with missing(target, tmp_path / "work") as done:
        assert done is None


def test_what_was_stopped_goes_on_or_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked_for = tmp_path / "run", []

    def carry_out(command: Sequence[str], log: Path, run: Path | None = None, hold: int | None = None) -> int:
        asked_for.append((list(command), log.name, run, hold))
        return 7

    monkeypatch.setattr("rows.carry_out", carry_out)
    words = ["shield", "train", "dmc/walker-walk", "--seed", "3"]
    (run / "tensorboard").mkdir(parents=True)  # stopped before its first checkpoint
    assert train_to_end(words, run, 5) == 7
    assert asked_for == [(words, "run.log", run, 5)] and not run.exists()
    (run / "checkpoints" / "000000000100").mkdir(parents=True)
    (run / "config.yaml").write_text("steps: 200")
    assert train_to_end(words, run, 5) is None  # its seconds would not be those of a training
    assert asked_for[1:] == [(["shield", "train", "--resume", str(run)], "run.log", None, 5)]
    (run / "config.yaml").write_text("steps: 100")
    assert train_to_end(words, run, 5) is None and len(asked_for) == 2  # it has come to its end


@dataclass(frozen=True)
class Grid:
    """A command.

    Attributes:
        seeds: of it.
    """

    seeds: int = 3


def test_tables_are_shown_and_everything_else_is_for_the_caller(tmp_path: Path) -> None:
    shown: list[Path] = []
    assert asked(Grid, shown.append, arguments=["run", "--seeds", "5"]) == Grid(5)
    assert asked(Grid, shown.append, "measure", ["measure"]) == Grid() and shown == []
    assert asked(Grid, shown.append, arguments=["table", str(tmp_path)]) is None and shown == [tmp_path]
