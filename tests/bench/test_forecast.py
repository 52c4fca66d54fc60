"""How long a training will take, from rates."""

from __future__ import annotations

import pytest

from foveal.bench import forecast as module
from foveal.bench.forecast import Forecast, forecast
from foveal.config.tree import Config
from small_env import small_agent


def test_minutes_are_counted_by_hand() -> None:
    assert Forecast(training=10.0, rollout=50.0).minutes(1200, 3000) == 3
    assert Forecast(training=10.0, rollout=50.0).minutes(1201, 3000) == 4  # rounded up


def test_steps_before_the_method_begins_have_a_rate_of_their_own() -> None:
    found = Forecast(training=10.0, rollout=50.0, plain=20.0, plain_steps=1200)
    assert found.minutes(2400, 0) == 1 + 2
    assert found.minutes(600, 0) == 1  # training ends before it begins


def test_both_rates_are_measured_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def rate(agent: object, seconds: float) -> float:
        seen.append(agent.config.training.plain_updates)  # type: ignore[attr-defined]
        return 20.0 if seen[-1] else 10.0

    monkeypatch.setattr(module, "training_rate", rate)
    monkeypatch.setattr(module, "environment_rate", lambda *_: 50.0)
    settings = {"plain_updates": 30, "updates_per_step": 0.5, "catch_up_updates": 10, "initial_random_steps": 7}
    found = forecast(config_of(**settings))
    assert found == Forecast(training=10.0, rollout=50.0, plain=20.0, plain_steps=7 + 40)
    assert len(seen) == 2
    assert forecast(config_of()) == Forecast(training=10.0, rollout=50.0)


def config_of(**training: float) -> Config:
    return small_agent("dmc/walker-stand", method="svea", training=training).config
