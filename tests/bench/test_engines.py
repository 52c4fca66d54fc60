"""Engines make good what is killed, each in its own way, with the weights of an undisturbed training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench_suites import bench, bench_apart, cell_of, checksum, folder_of, write_killer, write_suite
from foveal.bench.cells import DONE, FAILED
from foveal.bench.engines import EngineOptions, local
from foveal.bench.engines.base import died, give_up
from foveal.bench.engines.local import LocalEngine
from foveal.bench.engines.slurm import SlurmEngine
from foveal.bench.grids import Asked, jobs_of
from foveal.bench.jobs import Job
from foveal.bench.launching import prepare
from foveal.bench.running import train
from foveal.bench.suites import load_suite
from foveal.bench.worker import BUSY, INTERRUPTED

SUICIDE = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"

WAITS = """
import time
from pathlib import Path
from foveal.progress import Interruption
from foveal.training.trainer import Trainer

step, note = Trainer._step, Interruption._note

def waiting(self):
    step(self)
    if self.work.steps == 45:
        Path("here").touch()
        while not Path("noted").exists():
            time.sleep(0.1)

def noting(self, *arguments):
    Path("noted").touch()
    note(self, *arguments)

Trainer._step, Interruption._note = waiting, noting
"""
"""Waits in the middle of a training until it is interrupted."""


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """Checksums of the weights that every engine must reach, by seed."""
    jobs = jobs_in(tmp_path_factory.mktemp("wanted"), seeds=[0, 1])
    for job in jobs:
        train(job, lambda *_: None)
    return {seed: checksum(job.folder / "run") for seed, job in enumerate(jobs)}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where modules are found by whatever process an engine starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return tmp_path


def jobs_in(folder: Path, *plugins: str, **changed: object) -> list[Job]:
    jobs = jobs_of(load_suite(str(write_suite(folder, **changed))), Asked(folder / "out", plugins=plugins))
    assert prepare(jobs, retry_failed=False) == jobs
    return jobs


@pytest.mark.slow
@pytest.mark.timeout(600)  # a cluster takes its time to begin on a machine with other work
def test_ray_makes_good_what_is_killed(workplace: Path, wanted: dict[int, str]) -> None:
    """A cell's process, and the worker of Ray's that waits for one."""
    pytest.importorskip("ray", reason="needs the extra ray")
    killer = write_killer(workplace, {0: "getpid", 1: "getppid"})
    suite = write_suite(workplace, seeds=[0, 1])
    two = ("--workers", "2", "--cpus-per-run", "1")
    done = bench_apart(suite, workplace / "out", "--on", "ray", "--import", killer, *two, timeout=550)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((workplace / f"killed-{seed}").exists() for seed in (0, 1))
    assert [cell_of(workplace / "out", seed=seed).state for seed in (0, 1)] == [DONE, DONE]
    for seed in (0, 1):
        assert checksum(folder_of(workplace / "out", seed=seed) / "run") == wanted[seed]


@pytest.mark.slow
def test_submitit_runs_cells(workplace: Path, wanted: dict[int, str]) -> None:
    """On its own processes; ``make test-slurm`` has Slurm."""
    pytest.importorskip("submitit", reason="needs the extra slurm")
    (job,) = jobs_in(workplace)
    looks: list[float] = []
    SlurmEngine(EngineOptions(workers=1), cluster="local").run([job.folder], lambda: looks.append(time.time()))
    assert looks
    assert cell_of(workplace / "out").state == DONE
    assert checksum(job.folder / "run") == wanted[0]
    assert (workplace / "out" / "small" / "slurm").is_dir()


@pytest.mark.slow
def test_what_always_dies_fails_in_the_end(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workplace / "sitecustomize.py").write_text(SUICIDE)  # which every new process imports at first
    monkeypatch.setattr(local, "LOOK", 0.05)
    (job,) = jobs_in(workplace)
    LocalEngine(EngineOptions(workers=1)).run([job.folder], lambda: None)
    cell = cell_of(workplace / "out")
    assert cell.state == FAILED
    assert cell.error is not None and "signal 9" in cell.error and "3 times" in cell.error


@pytest.mark.slow
def test_ctrl_c_leaves_checkpoints_and_the_same_command_goes_on(workplace: Path, wanted: dict[int, str]) -> None:
    (workplace / "waits.py").write_text(WAITS)
    suite, out = write_suite(workplace), workplace / "out"
    command = [sys.executable, "-m", "foveal", "bench", "run", str(suite), "--out", str(out), "--import", "waits"]
    command += ["--workers", "1", "--cpus-per-run", "1"]
    call = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 200
    while not (workplace / "here").exists():
        assert time.monotonic() < end and call.poll() is None
        time.sleep(0.1)
    call.send_signal(signal.SIGINT)
    said, _ = call.communicate(timeout=200)
    assert call.returncode == 130
    assert "the same command goes on" in said
    assert (folder_of(out) / "run" / "checkpoints" / "000000045").is_dir()
    assert bench(suite, out) == 0
    assert checksum(folder_of(out) / "run") == wanted[0]


def test_which_ends_are_deaths(workplace: Path) -> None:
    (job,) = jobs_in(workplace)
    assert not any(died(job.folder, status) for status in (0, BUSY, INTERRUPTED))
    assert died(job.folder, 1) and died(job.folder, -9) and died(job.folder, None)
    give_up(job.folder, -11)
    assert not died(job.folder, 1)
    assert "signal 11" in (cell_of(workplace / "out").error or "")


@pytest.mark.slurm
@pytest.mark.slow
def test_slurm_queues_again_what_it_interrupts(workplace: Path, wanted: dict[int, str]) -> None:
    """A job is told that its time is up; the next one goes on from its checkpoint."""
    (workplace / "waits.py").write_text(WAITS)
    (job,) = jobs_in(workplace, "waits")
    told: list[str] = []

    def interrupt() -> None:
        if not told and (workplace / "here").exists():
            queue = ["squeue", "--noheader", "--format=%A"]
            told.append(subprocess.run(queue, capture_output=True, text=True, check=True).stdout.split()[0])
            subprocess.run(["scancel", "--signal=USR2", told[0]], check=True)

    SlurmEngine(EngineOptions(workers=1)).run([job.folder], interrupt)
    assert told
    log = (job.folder / "log.txt").read_text()
    assert "stopped" in log and "45/76" in log
    assert cell_of(workplace / "out").state == DONE
    assert checksum(job.folder / "run") == wanted[0]
