"""How long a training will take, from rates."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_suites import write_suite
from foveal.bench import forecast as module
from foveal.bench import grids, rates
from foveal.bench.forecast import Forecast, ShieldForecast, forecast, shield_forecast
from foveal.bench.grids import Asked, jobs_of
from foveal.bench.suites import load_suite
from foveal.config.tree import Config
from foveal.errors import FovealError
from foveal.shield import ShieldConfig
from small_env import Ignorant, small_agent


def test_minutes_are_counted_by_hand() -> None:
    assert Forecast(training=10.0, rollout=50.0).minutes(1200, 3000) == 3
    assert Forecast(training=10.0, rollout=50.0).minutes(1201, 3000) == 4  # rounded up


def test_steps_before_the_method_begins_have_a_rate_of_their_own() -> None:
    found = Forecast(training=10.0, rollout=50.0, plain=20.0, plain_steps=1200)
    assert found.minutes(2400, 0) == 1 + 2
    assert found.minutes(600, 0) == 1  # training ends before it begins


@pytest.mark.slow
def test_what_a_method_learns_first_takes_its_time() -> None:
    assert Forecast(training=10.0, rollout=50.0, looking=59.0).minutes(600, 0) == 2
    agent = small_agent("dmc/walker-stand", method="foveal+svea")
    found = rates.looking_seconds(agent)
    fovea = agent.config.sections()["foveal"].fovea
    more = replace(fovea, steps=10 * fovea.steps, frames=100 * fovea.frames)
    longer = small_agent("dmc/walker-stand", method="foveal+svea", foveal={"fovea": more.as_dict()})
    assert 0.0 < found < rates.looking_seconds(longer)
    assert rates.looking_seconds(small_agent("dmc/walker-stand", method="svea")) == 0.0


@pytest.mark.slow
def test_a_shield_takes_its_training_and_the_episodes_behind_it() -> None:
    config, short = small_agent("dmc/walker-stand").config, ShieldConfig(filters=4, depth=1, frames=20, steps=4)
    found = shield_forecast(config, short)
    assert 0.0 < found.learning < shield_forecast(config, replace(short, steps=2000)).learning and found.rollout > 0.0
    ignorant = small_agent(Ignorant)
    assert rates.seconds_to_see(ignorant, short, with_masks=False) > 0.0
    with pytest.raises(FovealError):
        rates.seconds_to_see(ignorant, short)
    assert ShieldForecast(learning=61.0, rollout=10.0).minutes(600) == 3  # 121 seconds, rounded up


@pytest.mark.slow
@pytest.mark.parametrize(("shield", "minutes"), [(None, 2), ({}, 2 + 7)])
def test_a_plan_counts_evaluations_behind_the_shield_apart(
    shield: dict[str, Any] | None, minutes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(jobs_of(load_suite(str(write_suite(tmp_path))), Asked(tmp_path))[0], shield=shield)
    steps = 25  # of an episode; two conditions of one episode, and the random policy
    monkeypatch.setattr(grids, "forecast", lambda *_: Forecast(training=76 / 60, rollout=3 * steps / 60))
    monkeypatch.setattr(grids, "shield_forecast", lambda *_: ShieldForecast(learning=120.0, rollout=2 * steps / 300))
    assert grids.hours([job], 1.0) == [{job.folder: pytest.approx(minutes / 60)}]


@pytest.mark.slow
def test_evaluations_take_the_policys_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = small_agent("dmc/walker-stand", method="svea")
    decide, decided = agent.predict, []

    def slowly(*arguments: Any, **options: Any) -> Any:
        decided.append(options)
        time.sleep(0.1)
        return decide(*arguments, **options)

    monkeypatch.setattr(agent, "predict", slowly)
    rate = rates.rollout_rate(agent, 0.5)
    assert 0.0 < rate < 10.0 and decided == [{"deterministic": True}] * len(decided)


@pytest.mark.slow
def test_both_rates_are_measured_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def rate(agent: object, seconds: float) -> float:
        seen.append(agent.config.training.plain_updates)  # type: ignore[attr-defined]
        return 20.0 if seen[-1] else 10.0

    monkeypatch.setattr(module, "training_rate", rate)
    monkeypatch.setattr(module, "rollout_rate", lambda *_: 50.0)
    monkeypatch.setattr(module, "looking_seconds", lambda *_: 7.0)
    settings = {"plain_updates": 30, "updates_per_step": 0.5, "catch_up_updates": 10, "initial_random_steps": 7}
    found = forecast(config_of(**settings))
    assert found == Forecast(training=10.0, rollout=50.0, plain=20.0, plain_steps=7 + 40, looking=7.0)
    assert len(seen) == 2
    assert forecast(config_of()) == Forecast(training=10.0, rollout=50.0, looking=7.0)


def config_of(**training: float) -> Config:
    return small_agent("dmc/walker-stand", method="svea", training=training).config
