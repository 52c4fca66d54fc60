"""benchmarks/learning_search.py: trials that end with their time, a study that goes on, and its table."""

from __future__ import annotations

import json
from pathlib import Path

import learning_search
import numpy as np
import pytest
from learning_search import MARKS, Clock

from foveal.training import Trainer


class Told:
    """Stands for a trial, and gives up after a mark."""

    def __init__(self, last: int) -> None:
        self.reports: list[tuple[float, int]] = []
        self.last = last

    def report(self, value: float, step: int) -> None:
        self.reports.append((value, step))

    def should_prune(self) -> bool:
        return len(self.reports) >= self.last


def clock_at(minutes: float, trial: Told, monkeypatch: pytest.MonkeyPatch) -> Clock:
    now = [100.0]
    monkeypatch.setattr(learning_search.time, "monotonic", lambda: now[0])
    clock = Clock(trial, minutes)  # type: ignore[arg-type]
    clock.now = now  # type: ignore[attr-defined]
    return clock


def test_a_trial_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    trial, trainer = Told(last=99), None
    clock = clock_at(9.0, trial, monkeypatch)
    clock.curve = [{"mean": mean} for mean in (1.0, 2.0, 4.0, 6.0)]
    assert clock.on_step(trainer) and trial.reports == []  # type: ignore[arg-type]
    for minute in range(1, MARKS):
        clock.now[0] = 100.0 + 60 * minute  # type: ignore[attr-defined]
        assert clock.on_step(trainer)  # type: ignore[arg-type]
    clock.now[0] = 100.0 + 540  # type: ignore[attr-defined]
    assert not clock.on_step(trainer)  # type: ignore[arg-type]
    assert trial.reports == [(4.0, mark) for mark in range(1, MARKS + 1)]  # the mean of the last three


def test_a_trial_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = clock_at(9.0, Told(last=1), monkeypatch)
    clock.now[0] = 100.0 + 61  # type: ignore[attr-defined]
    assert not clock.on_step(None)  # type: ignore[arg-type]
    assert clock.told == 1 and clock.merit == 0.0


@pytest.mark.slow
def test_a_study_goes_on_and_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(learning_search, "EVERY", 25)
    began: list[Trainer] = []
    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda trainer, steps: (began.append(trainer), train(trainer, steps))[1])
    words = ["run", "dmc/cartpole-swingup", "--preset", "debug", "--minutes", "0.03", "--trials", "1"]
    for _ in range(2):
        learning_search.main([*words, "--out", str(tmp_path)])
    found = json.loads((tmp_path / "dmc_cartpole-swingup.json").read_text())
    assert [trial["seed"] for trial in found["trials"]] == [900, 901] == [trainer.agent.seed for trainer in began]
    for trial, trainer in zip(found["trials"], began, strict=True):
        config = trainer.agent.config
        assert set(trial["settings"]) == {trainer.agent.learner_name, "training"}
        assert config.environment.rendered_size == found["rendered_size"] == 84
        assert config.training.batch_size == trial["settings"]["training"]["batch_size"]
        means = [point["mean"] for point in trial["curve"]]
        assert trial["merit"] == pytest.approx(np.mean(means[-3:]) if means else 0.0) and trial["steps"] > 0
    capsys.readouterr()
    learning_search.main(["table", str(tmp_path)])
    shown = capsys.readouterr().out
    assert all(f"batch_size {trial['settings']['training']['batch_size']}," in shown for trial in found["trials"])
