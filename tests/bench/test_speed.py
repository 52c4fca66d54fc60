"""The speed benchmark: what it counts and times, and its command."""

from __future__ import annotations

import itertools
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import foveal
from foveal.bench import growth, updates
from foveal.bench.growth import GrowthPoint
from foveal.bench.peaks import LIMITS, instruction_set
from foveal.bench.plots import growth_plot
from foveal.bench.rates import environment_rates, environment_scaling, training_rate
from foveal.bench.rendering import RenderingSpeed, measure_rendering, rendering_table
from foveal.bench.speed import UNTIMED, SpeedOptions, SpeedReport, measure_speed
from foveal.bench.stopwatch import PhaseClock, fastest
from foveal.bench.updates import Subject, noise_replay, summarize
from foveal.cli import main
from foveal.errors import FovealError
from foveal.evaluation.layout import columns
from foveal.timing import phase, timed_by
from small_env import SavedCounter, small_agent
from speed_reports import speed_report

CPU = torch.device("cpu")


class FakeTime:
    """Passes when it is told to, however busy the machine is."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> float:
        return self._seconds

    def sleep(self, seconds: float) -> None:
        self._seconds += seconds


class Operations(TorchDispatchMode):
    """A clock that PyTorch's operations move."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


COUNTER = "foveal-tests/BenchCounter-v0"


@pytest.fixture(autouse=True)
def _registered() -> Any:
    gymnasium.register(COUNTER, entry_point=SavedCounter)
    yield
    del gymnasium.registry[COUNTER]


# --- the stopwatch ----------------------------------------------------------------------------------------------------


def test_phases_count_their_own_time_and_not_that_of_phases_within() -> None:
    time = FakeTime()
    clock = PhaseClock(CPU, time.now)
    with timed_by(clock), phase("outer"):
        time.sleep(2.0)
        for _ in range(2):
            with phase("inner"):
                time.sleep(30.0)
                with phase("innermost"):
                    time.sleep(100.0)
    assert clock.totals == {"outer": 2.0, "inner": 60.0, "innermost": 200.0}


def test_phases_cost_nothing_to_a_clock_that_is_gone() -> None:
    clock = PhaseClock(CPU)
    with timed_by(clock):
        pass
    with phase("later"):
        pass
    assert not clock.totals


def test_the_fastest_of_several() -> None:
    time, waits = FakeTime(), iter([1.0, 50.0, 10.0, 50.0, 50.0, 60.0, 2.0])  # the first does not count
    assert fastest(lambda: time.sleep(next(waits)), CPU, budget=200.0, now=time.now) == 10.0
    assert list(waits) == [2.0]  # the budget was spent


# --- an update --------------------------------------------------------------------------------------------------------


def test_arithmetic_is_counted_in_both_directions() -> None:
    network = nn.Conv2d(3, 8, 3)
    with updates._Arithmetic() as counted:
        F.relu(network(torch.randn(2, 3, 10, 10))).sum().backward()
    forward = 2 * 2 * 8 * 8 * 8 * 3 * 9
    assert counted.operations == 2 * forward  # the pixels want no gradient, the kernels do


@pytest.mark.parametrize("method", ["sac", "svea", "sgqn", "soda"])
@pytest.mark.slow
def test_every_part_of_an_update_is_timed(method: str) -> None:
    subject = Subject(COUNTER, method, "debug", {})
    times = [subject.time() for _ in range(3)]
    speed = summarize(subject, times)
    assert speed.seconds == sorted(times)[1]
    expected = {"sample", "augment", "targets", "critic", "actor", "auxiliary", "optimizer", "target networks", "other"}
    assert speed.parts.keys() == expected | ({"saliency"} if method == "sgqn" else set())
    assert all(value >= 0 for value in speed.parts.values())
    ticking = itertools.count()
    ticks = summarize(subject, times, blocks=1, now=lambda: float(next(ticking)))
    assert sum(ticks.parts.values()) == pytest.approx(
        1e3 * (next(ticking) - 4) / 2
    )  # milliseconds of each of 2 updates
    assert speed.gflop > 0 and speed.peak_memory > 10**7
    assert json.dumps(speed.as_dict(), allow_nan=False)


@pytest.mark.slow
def test_parts_add_up_to_the_update() -> None:
    subject = Subject(COUNTER, "sgqn", "debug", {})
    subject.block()
    with Operations() as done, timed_by(clock := PhaseClock(CPU, lambda: float(done.count))):
        subject.block()
    assert 0.8 * done.count < sum(clock.totals.values()) <= done.count


@pytest.mark.slow
def test_noise_fills_a_memory_of_the_agents_shapes() -> None:
    for env in (SavedCounter, lambda: SavedCounter(vector=True)):
        agent = small_agent(env)
        replay = noise_replay(agent, 600)
        assert 600 <= len(replay) <= 850
        agent.updater.update(replay.sample(8), replay.sample)


@pytest.mark.slow
def test_growth_measures_each_size() -> None:
    subject = Subject(COUNTER, "sac", "debug", {})
    points = growth.growth(subject, sizes=(300, 900))
    assert [point.transitions for point in points] == [len(noise_replay(subject.agent, size)) for size in (300, 900)]
    assert points[0].replay_bytes < points[1].replay_bytes
    assert all(point.updates_per_second > 0 and point.sample_milliseconds > 0 for point in points)


@pytest.mark.slow
def test_rates_of_environment_and_training() -> None:
    rates = environment_rates("dmc/cartpole-swingup", 24, budget=0.2)
    assert rates.keys() == {"exact", "fast", "draft"} and min(rates.values()) > 0
    scaling = environment_scaling("dmc/cartpole-swingup", 24, budget=0.2)
    assert list(scaling)[:2] == [1, 2] and min(scaling.values()) > 0
    agent = small_agent()
    assert training_rate(agent, budget=0.3) > 0
    assert agent.updates > 4


@pytest.mark.slow
@pytest.mark.parametrize("method", ["foveal", "tstm"])
def test_a_rate_leaves_out_what_is_learnt_before_training(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_long(*_: object, **__: object) -> None:
        raise AssertionError("this takes minutes")

    agent = foveal.Agent("dmc/walker-stand", method=method, preset="debug", seed=0)
    monkeypatch.setattr(type(agent.method), "look_around", too_long)
    monkeypatch.setattr(type(agent.method), "begin_learning", too_long)
    assert training_rate(agent, budget=0.2) > 0


@pytest.mark.slow
def test_whatever_updates_are_measured_against_takes_its_turn() -> None:
    class Rival:
        done: list[str] = []

        def block(self) -> None:
            self.done.append("block")

        def time(self) -> float:
            self.done.append("time")
            return 10.0 * len(self.done)

        def close(self) -> None:
            self.done.append("close")

    options = SpeedOptions(COUNTER, "debug", ("sac", "sgqn"), blocks=3, seconds=0.1)
    found = measure_speed(options, lambda subject: Rival() if subject.method == "sgqn" else None)
    assert Rival.done == ["block"] * UNTIMED + ["time"] * 3 + ["close"]
    assert found.against == {"sgqn": 10.0 * (UNTIMED + 2)}
    assert found.updates.keys() == {"sac", "sgqn"}


# --- the report -------------------------------------------------------------------------------------------------------


def report(**changes: Any) -> SpeedReport:
    return speed_report(**{"training": {"sgqn": 1.9}, **changes})


def test_the_table_tells_everything() -> None:
    text = str(report())
    for expected in ("500.0", "400", "critic", "300.0", "21.3 kB", "walker-walk", "paper"):
        assert expected in text, expected


@pytest.mark.parametrize(
    ("capable", "limits", "words"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": True}, {}, "AVX512-BF16"),
        ({"avx2": True}, {}, "AVX2"),
        (
            {"avx2": True, "avx512_f": True},
            {"ONEDNN_MAX_CPU_ISA": "AVX2"},
            "AVX512, limited by ONEDNN_MAX_CPU_ISA=AVX2",
        ),
        ({}, {}, "none known"),
    ],
)
def test_the_instruction_set_is_named(
    capable: dict[str, bool], limits: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capable)
    for name in LIMITS:
        monkeypatch.delenv(name, raising=False)
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    assert instruction_set() == words
    assert words in str(report(instructions=words))


def test_growth_is_drawn(tmp_path: Path) -> None:
    points = [GrowthPoint(1000, 10.0, 1.0, 21_000_000, 1), GrowthPoint(500_000, 9.9, 1.0, 10_600_000_000, 1)]
    told = report(growth=points, environment_scaling={1: 60.0, 2: 110.0})
    assert "1: 60, 2: 110" in str(told)
    path = growth_plot(json.loads(json.dumps(told.as_dict())), tmp_path / "growth.svg")
    found = ET.parse(path).getroot()
    dots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in found.iter() if dot.tag.endswith("circle")]
    assert len(dots) == 4 and dots[0][0] < dots[1][0] and 0 < dots[0][1] < dots[1][1] < 60  # nearly flat, near the top
    assert dots[2][1] > dots[3][1]
    assert {"1k", "500k"} <= {text.text for text in found.iter() if text.tag.endswith("text")}
    with pytest.raises(FovealError, match="measure with --growth"):
        growth_plot(report().as_dict(), tmp_path / "none.svg")


def test_columns() -> None:
    assert columns([["a", "b"], ["long", "1"]]) == "a     b\n-------\nlong  1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ("sgnq",)}, "bench.methods is 'sgnq': did you mean 'sgqn'"),
        ({"methods": ("none",)}, "bench.methods is 'none'"),
        ({"blocks": 0}, "bench.blocks must be at least 1"),
        ({"seconds": 0.0}, "bench.seconds must be above 0"),
    ],
)
def test_bad_options(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        SpeedOptions(**settings)


@pytest.mark.slow
def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "speed.json"
    options = "--preset debug --methods sac,sgqn --seconds 0.3 --blocks 2 --precision float32 --json"
    assert main(["bench", "speed", *options.split(), str(out)]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[-1] == f"wrote {out}"
    found = json.loads(out.read_text())
    assert found["updates"].keys() == {"sac", "sgqn"} and found["settings"]["training"]["precision"] == "float32"
    for name, speed in found["updates"].items():
        assert f"{speed['updates_per_second']:.1f}" in told and speed["gflop"] > 0
        assert found["training_steps_per_second"][name] > 0
    assert found["machine"]["cores"] >= 1 and found["peaks_gflop_per_second"].keys() >= {"conv_float32"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bench seped", "unknown command 'bench seped': did you mean 'speed'"),
        ("bench speed --methods nothing", "bench.methods is 'nothing'"),
        ("bench speed --svg a.svg", "add --growth"),
    ],
)
def test_mistakes(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert words in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["bench"])
    assert stop.value.code == 0
    assert "speed,rendering}" in capsys.readouterr().out


# --- rendering --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["finger-spin", "reacher-easy"])  # both write into the model at a reset
@pytest.mark.slow
def test_exact_pictures_are_dm_controls_own(task: str) -> None:
    (speed,) = measure_rendering([task], image_size=32, pictures=3)
    assert speed.psnr["exact"] is None
    assert 20 < (speed.psnr["draft"] or 0) <= (speed.psnr["fast"] or 99)
    assert all(value > 0 for value in speed.milliseconds.values())
    assert speed.speedup("draft") == pytest.approx(speed.milliseconds["dm_control"] / speed.milliseconds["draft"])


def test_a_quality_must_be_fast_and_near() -> None:
    times = {"dm_control": 24.0, "exact": 24.0, "fast": 16.0, "draft": 10.0}
    speed = RenderingSpeed("walker-walk", times, {"exact": None, "fast": 45.0, "draft": 32.0})
    assert speed.passes("fast") and speed.passes("draft")
    for changed in (
        replace(speed, milliseconds=times | {"fast": 16.1, "draft": 10.1}),
        replace(speed, psnr=speed.psnr | {"fast": 44.9, "draft": 31.9}),
    ):
        assert not changed.passes("fast") and not changed.passes("draft")
        assert rendering_table([changed]).count("falls short") == 2


@pytest.mark.slow
def test_rendering_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rendering.json"
    line = ["bench", "rendering", "--tasks", "cartpole-swingup", "--image-size", "24", "--pictures", "2", "--json"]
    assert main([*line, str(out)]) == 0
    assert "cartpole-swingup" in capsys.readouterr().out
    assert json.loads(out.read_text())["tasks"][0]["psnr"]["exact"] is None
    assert main(["bench", "rendering", "--tasks", "walker-wakl"]) == 2
    assert "walker-walk" in capsys.readouterr().err
