"""Curves at Weights & Biases: the same numbers as TensorBoard's, one run there for one run here, offline for real."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import foveal
from foveal.errors import FovealError
from foveal.training import RunOptions
from foveal.training.run_folder import read_metrics, read_records
from foveal.training.wandb_log import IDENTITY
from shell import foveal_command
from small_env import SavedCounter, small_agent


class Stand(SimpleNamespace):
    """In the place of the package: keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(runs=[], refuses=False)
        self.errors = SimpleNamespace(Error=RuntimeError)
        self.Settings = lambda **settings: settings
        self.Histogram = lambda values: ("histogram", list(values))

    def init(self, **settings: Any) -> Any:
        if self.refuses:
            raise RuntimeError("api_key not configured")
        run = SimpleNamespace(settings=settings, logged=[], metrics=[], finished=False)
        run.log = run.logged.append
        run.define_metric = lambda *names, **how: run.metrics.append((names, how))
        run.finish = lambda: setattr(run, "finished", True)
        self.runs.append(run)
        return run


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    made = Stand()
    monkeypatch.setitem(sys.modules, "wandb", made)
    return made


def logged(run: Any) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by name, of numbers."""
    found: dict[str, list[tuple[int, float]]] = {}
    for record in run.logged:
        for name, value in record.items():
            if name != "agent_step" and not isinstance(value, tuple):
                found.setdefault(name, []).append((record["agent_step"], value))
    return found


def learn(run: Path, steps: int = 40, **options: Any) -> None:
    settings = {"evaluate_every": 20, "evaluate_episodes": 2, "log_every": 5, "wandb": "looks", **options}
    small_agent(method="none").learn(steps, run, progress=False, **settings)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run's folder, and what W&B was told of it."""
    folder = tmp_path_factory.mktemp("learnt") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wandb", made := Stand())
        learn(folder)
    (told,) = made.runs
    return folder, told


@pytest.mark.slow
def test_the_same_scalars_as_tensorboard(learnt: tuple[Path, Any]) -> None:
    folder, run = learnt
    own = {name: points for name, points in logged(run).items() if not name.startswith("evaluation/")}
    board = read_metrics(folder)
    assert own.keys() == board.keys() >= {"return/train_episode", "return/evaluation/train", "updates"}
    for name, points in board.items():
        assert own[name] == [(step, pytest.approx(value, rel=1e-6)) for step, value in points]
    assert run.finished
    assert [record["agent_step"] for record in run.logged] == sorted({r["agent_step"] for r in run.logged})


@pytest.mark.slow
def test_configuration_and_evaluations(learnt: tuple[Path, Any]) -> None:
    folder, run = learnt
    assert run.settings["project"] == "looks" and run.settings["name"] == "run"
    assert run.settings["config"]["training"]["initial_random_steps"] == 10
    assert run.settings["config"]["run"]["evaluate_every"] == 20
    assert (("*",), {"step_metric": "agent_step"}) in run.metrics
    record = read_records(folder / "evaluations.jsonl")[0]
    told = record["perturbations"]["train"]
    at = next(entry for entry in run.logged if entry["agent_step"] == record["step"])
    assert at["evaluation/train/iqm"] == told["summary"]["iqm"]
    assert at["evaluation/train/returns"] == ("histogram", [episode["return"] for episode in told["episodes"]])


@pytest.mark.slow
def test_a_resumed_run_goes_on_there(stand: Stand, tmp_path: Path) -> None:
    learn(tmp_path / "run", 20)
    trainer = foveal.resume(tmp_path / "run", SavedCounter, progress=False)
    trainer.train(20)
    first, second = stand.runs
    assert first.settings["id"] == second.settings["id"]
    assert second.settings["resume"] == "allow"
    assert json.loads((tmp_path / "run" / IDENTITY).read_text()) == {"project": "looks", "id": first.settings["id"]}
    assert max(step for step, _ in logged(first)["updates"]) < min(step for step, _ in logged(second)["updates"])
    learn(tmp_path / "other", 12, evaluate_every=0)
    assert stand.runs[2].settings["id"] != first.settings["id"]


@pytest.mark.slow
def test_without_the_option_nothing_is_asked_for(stand: Stand, tmp_path: Path) -> None:
    learn(tmp_path / "run", 12, wandb=None)
    assert not stand.runs and not (tmp_path / "run" / IDENTITY).exists()
    assert RunOptions().wandb is None


def test_mistakes(stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("me/looks", "", "a" * 129):  # the account is WANDB_ENTITY's business
        with pytest.raises(FovealError, match=r"run\.wandb"):
            RunOptions(wandb=name)
    with pytest.raises(FovealError, match="run's folder"):
        small_agent(method="none").learn(20, progress=False, wandb="looks")
    stand.refuses = True
    with pytest.raises(FovealError, match=r"api_key not configured.*WANDB_MODE=offline"):
        learn(tmp_path / "refused")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(FovealError, match=r'pip install "foveal\[wandb\]"'):
        learn(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


@pytest.mark.slow
def test_offline_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the real command and the real package, whose files are whole when the process has ended."""
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("WANDB_MODE", "offline")
    options = "--preset debug --method none --steps 50 --environment.action-repeat 40 --out run --wandb looks"
    evaluations = "--evaluate-every 25 --evaluate-episodes 1"
    train = ("train", "dmc/cartpole-swingup", *options.split(), *evaluations.split())
    for command in (train, ("train", "--resume", "run", "--steps", "75")):
        done = foveal_command(*command, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    identity = json.loads((run / IDENTITY).read_text())["id"]
    files = sorted((run / "wandb").glob("offline-run-*/run-*.wandb"))
    assert [path.name for path in files] == [f"run-{identity}.wandb"] * 2
    for path in files:
        kept = path.read_bytes()
        names = ("return/train_episode", "return/evaluation/train", "evaluation/train/iqm", "looks", "agent_step")
        assert [name for name in names if name.encode() not in kept] == []
