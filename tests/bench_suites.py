"""A suite that takes seconds, runs of it, and a plug-in that kills processes in the middle of a training."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from safetensors.numpy import load_file

from foveal.bench.cells import Cell, cell_folder, read_cell
from foveal.cli import main

TASK = "dmc/cartpole-swingup"
SUITE = {
    "about": "A suite for tests.",
    "tasks": [TASK],
    "learners": ["sac"],
    "methods": ["none"],
    "preset": "debug",
    "steps": 76,  # 25 agent steps are an episode: it ends in the middle of one, and so do its checkpoints
    "seeds": [0],
    "conditions": ["train", "color_hard"],
    "episodes": 1,
    "settings": {
        "environment.action_repeat": 40,
        "training.initial_random_steps": 35,
        "checkpoint_every": 30,
        "evaluate_every": 0,
    },
}

KILLER = """
import os, pathlib, signal, time
from foveal.training.trainer import Trainer

original = Trainer._step

def deadly(self):
    original(self)
    victims = {victims!r}
    seed = self.work.agent.seed
    marker = pathlib.Path({folder!r}) / f"killed-{{seed}}"
    if self.work.steps == 50 and seed in victims and not marker.exists():
        marker.touch()
        os.kill(getattr(os, victims[seed])(), signal.SIGKILL)
        time.sleep(20)  # where the victim was another: what happens to this process is the point

Trainer._step = deadly
"""


def write_suite(folder: Path, name: str = "small", **changed: object) -> Path:
    """A YAML file; a value of None leaves a key out."""
    content = {key: value for key, value in {**SUITE, **changed}.items() if value is not None}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def write_killer(folder: Path, victims: Mapping[int, str]) -> str:
    """A module that kills processes, each once, at step 50 of a training; returns what ``--import`` takes.

    Args:
        folder: must be on the workers' path; gets a file ``killed-SEED`` for each.
        victims: seed of the training -> what of ``os`` gives the number of the process.
    """
    (folder / "killer.py").write_text(KILLER.format(folder=str(folder), victims=dict(victims)))
    return "killer"


def bench(suite: Path, out: Path, *more: str) -> int:
    """``foveal bench run``; returns the exit status."""
    return main(["bench", "run", str(suite), "--out", str(out), "--workers", "1", "--cpus-per-run", "1", *more])


def bench_apart(suite: Path, out: Path, *more: str, timeout: float = 280.0) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, as modules that change foveal must not change this one."""
    command = ["bench", "run", str(suite), "--out", str(out), "--workers", "1", "--cpus-per-run", "1", *more]
    return subprocess.run(
        [sys.executable, "-m", "foveal", *command], capture_output=True, text=True, timeout=timeout, check=False
    )


def folder_of(out: Path, suite: str = "small", method: str = "none", seed: int = 0) -> Path:
    """Of a cell of ``SUITE``."""
    return cell_folder(out, suite, TASK, "sac", method, seed)


def cell_of(out: Path, method: str = "none", seed: int = 0) -> Cell:
    """The same, which must have begun."""
    cell = read_cell(folder_of(out, method=method, seed=seed))
    assert cell is not None
    return cell


def checksum(run: Path) -> str:
    """Of all that a run's last checkpoint holds of the agent: weights, optimizers, its own generators."""
    last = max((run / "checkpoints").iterdir())
    tensors = load_file(last / "tensors.safetensors")
    held = hashlib.sha256()
    for name in sorted(tensors):
        if not name.startswith("run/global_random"):  # PyTorch's own generator, which nothing of foveal's draws from
            held.update(name.encode() + tensors[name].tobytes())
    return held.hexdigest()
