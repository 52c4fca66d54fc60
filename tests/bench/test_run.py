"""``foveal bench run`` from end to end: what a second call does, kills, failures, shields, pages."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench_suites import TASK, bench, bench_apart, cell_of, checksum, folder_of, write_killer, write_suite
from foveal.bench import locks, worker
from foveal.bench.cells import DONE, FAILED, Cell, read_cell, write_cell
from foveal.bench.engines import ENGINES, EngineOptions
from foveal.bench.grids import Asked, jobs_of
from foveal.bench.jobs import Job, read_job
from foveal.bench.launching import prepare
from foveal.bench.running import by_chance, together
from foveal.bench.standing import Standing, counts, seconds_left, share_done, standing, summary_line
from foveal.bench.suites import load_suite
from foveal.bench.worker import line_of
from foveal.cli import main
from foveal.errors import FovealError
from foveal.evaluation.results import Results
from foveal.evaluation.rollouts import random_returns

UNLUCKY = "RuntimeError: out of luck"
BROKEN = """
from foveal.training.trainer import Trainer
original = Trainer._step

def broken(self):
    if self.agent.seed == 1:
        raise RuntimeError("out of luck")
    original(self)

Trainer._step = broken
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with one cell that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert bench(write_suite(folder), folder / "out") == 0
    return folder / "out"


class Ended:
    """In the place of a worker's process: its work, which was done in this one."""

    def __init__(self, folder: Path, *_: object) -> None:
        self.status = worker.main([str(folder), str(os.getppid())])

    def poll(self) -> int:
        return self.status


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Cells are worked on here, without waiting for the start of a process."""
    monkeypatch.setattr("foveal.bench.engines.local.start", Ended)
    monkeypatch.setattr("foveal.bench.engines.local.LOOK", 0.0)
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)


def job_in(tmp_path: Path, **changed: object) -> Job:
    """The first job of a small suite, whose folder doesn't exist."""
    return jobs_of(load_suite(str(write_suite(tmp_path, **changed))), Asked(tmp_path / "out"))[0]


@pytest.mark.slow
def test_a_cell_has_what_the_contract_says(whole: Path) -> None:
    folder = whole / "small" / "dmc_cartpole-swingup" / "sac-none" / "seed-0"
    told = json.loads((folder / "cell.json").read_text())
    assert {
        name: told[name] for name in ("format", "suite", "task", "learner", "method", "seed", "shield", "steps")
    } == {
        "format": "foveal.cell/1",
        "suite": "small",
        "task": TASK,
        "learner": "sac",
        "method": "none",
        "seed": 0,
        "shield": None,
        "steps": 76,
    }
    assert (told["state"], told["error"]) == ("done", None)
    assert told["seconds"] > 1 and told["machine"]["threads"] == 1
    results = Results.load(folder / "results.json")
    assert results.perturbations == ["train", "color_hard"]
    assert results.policy["steps"] == 76
    chance = Results.load(folder.parents[1] / "random.json")
    assert chance.perturbations == ["train", "color_hard"]
    assert sorted(path.parent for path in whole.glob("*/*/*/seed-*/cell.json")) == [folder]
    assert not (folder / "parts").exists()


@pytest.mark.slow
def test_the_command_in_the_cell_trains_the_same_policy(whole: Path, tmp_path: Path) -> None:
    words = shlex.split(cell_of(whole).command)
    assert words[:3] == ["foveal", "train", TASK]
    words[words.index("--out") + 1] = str(tmp_path / "run")
    assert main(words[1:]) == 0
    assert checksum(tmp_path / "run") == checksum(folder_of(whole) / "run")


@pytest.mark.slow
def test_a_second_call_does_what_is_missing(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder_of(whole).rglob("*") if path.is_file()}
    assert bench(write_suite(tmp_path), whole) == 0
    assert "0 of 1 cells to do" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in folder_of(whole).rglob("*") if path.is_file()}
    assert {path for path in after if before.get(path) != after[path]} <= {folder_of(whole) / "job.json"}
    assert main(["bench", "status", str(whole)]) == 0
    assert "small: 1 of 1 done" in capsys.readouterr().out
    assert bench(write_suite(tmp_path), whole, "--steps", "50") == 2
    assert "was begun with steps 76, and this call has 50" in capsys.readouterr().err


@pytest.mark.slow
def test_a_failed_cell_says_why_and_stops_no_other_and_what_is_killed_is_made_good(
    whole: Path, tmp_path: Path, no_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill the last weights and the results are those of a training that nothing disturbed, to the last bit."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "luck.py").write_text(f"import {write_killer(tmp_path, {0: 'getpid'})}\n{BROKEN}")
    suite, out = write_suite(tmp_path, seeds=[1, 0]), tmp_path / "out"
    done = bench_apart(suite, out, "--import", "luck")
    assert done.returncode == 2
    assert "1 of 2 cells failed" in done.stderr and UNLUCKY in done.stderr
    assert (cell_of(out, seed=1).state, cell_of(out, seed=1).error) == (FAILED, UNLUCKY)
    assert cell_of(out, seed=0).state == DONE and (tmp_path / "killed-0").exists()
    assert checksum(folder_of(out) / "run") == checksum(folder_of(whole) / "run")
    ours, theirs = (Results.load(folder_of(where) / "results.json") for where in (out, whole))
    assert ours.conditions == theirs.conditions
    assert "Traceback" in (folder_of(out, seed=1) / "log.txt").read_text()
    page = (out / "small" / "index.html").read_text()
    assert "out of luck" in page and 'http-equiv="refresh"' not in page
    assert bench(suite, out) == 2  # a failed one is left alone
    assert bench(suite, out, "--retry-failed") == 0
    assert cell_of(out, seed=1).error is None


@pytest.mark.slow
def test_shields_are_trained_and_evaluated_and_run_folders_can_go(tmp_path: Path, no_processes: None) -> None:
    suite = write_suite(tmp_path, shield={"frames": 60, "steps": 20, "filters": 4})
    assert bench(suite, tmp_path / "out", "--slim") == 0
    folder = folder_of(tmp_path / "out")
    assert cell_of(tmp_path / "out").shield == "shield"
    shielded = Results.load(folder / "results-shield.json")
    assert shielded.perturbations == ["train", "color_hard"]
    assert shielded["color_hard"].alarms is not None
    assert Results.load(folder / "results.json")["train"].alarms is None
    assert not (folder / "run").exists()
    assert bench(suite, tmp_path / "out", "--slim") == 0


@pytest.mark.slow
def test_two_calls_at_once_share_the_cells(tmp_path: Path) -> None:
    """Neither does what the other is at; together they do everything once."""
    suite, out = write_suite(tmp_path, seeds=[0, 1]), tmp_path / "out"
    command = [sys.executable, "-m", "foveal", "bench", "run", str(suite), "--out", str(out), "--workers", "2"]
    calls = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [call.communicate(timeout=280) for call in calls]
    assert [call.returncode for call in calls] == [0, 0], ends
    for seed in (0, 1):
        assert cell_of(out, seed=seed).state == DONE
        assert (folder_of(out, seed=seed) / "log.txt").read_text().count("0/76") == 1


@pytest.mark.slow
def test_pictures_change_nothing_for_who_does_not_look(whole: Path) -> None:
    """What ``random.json`` tells for every condition, played once."""
    job = replace(read_job(folder_of(whole)), episodes=2)
    from foveal import load

    agent = load(folder_of(whole) / "run")
    told = by_chance(job, agent)
    played = random_returns(TASK, on=["train", "color_hard"], episodes=2, options=agent.env_options, quality="draft")
    for condition in job.conditions:
        assert [e.total for e in told[condition].episodes] == [e.total for e in played[condition].episodes]
    parts = [replace(played, conditions=(condition,), seconds=1.5) for condition in played.conditions]
    assert together(parts).conditions == played.conditions
    assert together(parts).seconds == 3.0


def test_data_are_looked_for_once_for_all_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr("foveal.bench.running.named_perturbation", lambda name, data: looked.append(name))
    jobs = jobs_of(load_suite("dmc-gb"), Asked(tmp_path / "out", methods=("svea",), seeds=(0,)))
    prepare(jobs, retry_failed=False)
    assert len(jobs) > 1 and sorted(looked) == sorted({*jobs[0].conditions} - {"train"})


def test_missing_data_are_told_before_anything_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(write_suite(tmp_path), tmp_path / "out", "--data", str(tmp_path)) == 2
    assert re.search(r"color_hard of small: .*color_hard.pt is missing", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_cells_that_another_works_on_or_that_failed_are_left_alone(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    assert prepare([job], retry_failed=False) == [job]
    write_cell(job.folder, job.cell())
    assert prepare([job], retry_failed=False) == [job]  # its process is no more
    with locks.held(job.folder):
        assert prepare([job], retry_failed=False) == []
    write_cell(job.folder, job.cell(state=FAILED, error="bad luck"))
    assert prepare([job], retry_failed=False) == []
    assert prepare([job], retry_failed=True) == [job]
    write_cell(job.folder, job.cell(state=DONE))
    assert prepare([job], retry_failed=True) == []


def test_a_ledger_keeps_to_what_it_was_begun_with(tmp_path: Path) -> None:
    job = replace(job_in(tmp_path), data="here")
    job.save()
    replace(job, data="elsewhere", slim=True).save()
    assert read_job(job.folder) == replace(job, data="elsewhere", slim=True)
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / job.folder.relative_to(job.out)
    assert read_job(moved).folder == moved
    (tmp_path / "moved").rename(tmp_path / "out")
    with pytest.raises(FovealError, match="begun with episodes 1, and this call has 2: choose another --out"):
        replace(job, episodes=2).save()


def test_cells_are_read_as_they_were_written(tmp_path: Path) -> None:
    cell = job_in(tmp_path).cell(commit="abc", machine={"cores": 2}, seconds=1.5)
    write_cell(tmp_path, cell)
    assert read_cell(tmp_path) == cell
    assert read_cell(tmp_path / "nowhere") is None
    for broken in ({}, {**cell.as_dict(), "format": "other"}, {**cell.as_dict(), "state": "asleep"}):
        with pytest.raises(FovealError):
            Cell.from_dict(broken)
    (tmp_path / "cell.json").write_text("{")
    with pytest.raises(FovealError, match=r"cell\.json"):
        read_cell(tmp_path)


def test_how_cells_stand(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    assert standing(job).state == "waiting"
    write_cell(job.folder, job.cell(seconds=5.0))
    assert standing(job).state == "stopped"
    (job.folder / "progress.json").write_text('{"doing": "training", "share": 0.5, "seconds": 7}')
    with locks.held(job.folder):
        assert standing(job) == Standing(job, "running", 0.5, "training", 12.0)
    write_cell(job.folder, job.cell(state=DONE, seconds=9.0))
    assert standing(job) == Standing(job, DONE, 1.0, seconds=9.0)


def test_time_left_is_judged_by_cells_of_the_same_kind(tmp_path: Path) -> None:
    slow, fast = job_in(tmp_path), replace(job_in(tmp_path), method="drq")
    grid = [
        Standing(slow, DONE, 1.0, seconds=100.0),
        Standing(fast, DONE, 1.0, seconds=10.0),
        Standing(slow, "waiting"),
        Standing(fast, "running", 0.5, seconds=5.0),
        Standing(slow, FAILED, error="bad luck"),
    ]
    assert seconds_left(grid, 1) == pytest.approx(105.0)
    assert seconds_left(grid, 2) == pytest.approx(52.5)
    assert seconds_left(grid, 99) == pytest.approx(52.5)  # no more are left than two
    assert seconds_left([Standing(slow, "waiting")], 1) is None
    assert share_done(grid) == pytest.approx(2.5 / 4)
    assert counts(grid) == {"done": 2, "running": 1, "waiting": 1, "failed": 1}
    assert summary_line(grid, 1) == "2 of 5 done, 1 running, 1 failed, about 2 minutes left"


def test_options_of_engines_are_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert {"local", "ray", "slurm"} <= set(ENGINES.names())
    with pytest.raises(FovealError, match="workers must not be negative"):
        EngineOptions(workers=-1)
    with pytest.raises(FovealError, match="hours_per_run must be above 0"):
        EngineOptions(hours_per_run=0)
    assert bench(write_suite(tmp_path), tmp_path / "out", "--on", "slorm") == 2
    assert "unknown engine 'slorm': did you mean 'slurm'" in capsys.readouterr().err


def test_cores_are_shared_in_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foveal.bench.engines.base.available", lambda: 8)
    options = EngineOptions()
    assert [options.threads(workers) for workers in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]
    assert EngineOptions(cpus_per_run=0.5).threads(1) == 1
    assert EngineOptions(cpus_per_run=0.5).share(1) == 0.5


def test_errors_in_a_line() -> None:
    assert line_of(FovealError("no\nsuch thing")) == "no such thing"
    assert line_of(ValueError("bad")) == "ValueError: bad"
    assert line_of(MemoryError()) == "MemoryError"


def test_status_of_no_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "status", str(tmp_path)]) == 2
    assert "has no cells of a benchmark" in capsys.readouterr().err


@pytest.mark.slow
def test_a_plan_begins_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(write_suite(tmp_path, seeds=[0, 1]), tmp_path / "out", "--plan") == 0
    said = capsys.readouterr().out
    assert re.search(r"cartpole-swingup +sac +none +0,1 +76 +waiting +[\d.]+\n", said)
    assert re.search(r"2 cells to do, 1 at once: [\d.]+ hours here", said)
    assert not (tmp_path / "out").exists()
