"""benchmarks/speed.py: the published order of operations, and the bars."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import speed
import torch
from published import Published
from torch import nn

import foveal
from foveal.bench.growth import GrowthPoint
from foveal.bench.speed import SpeedReport
from speed_reports import speed_report

# --- the published order ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("method", speed.METHODS)
def test_the_published_order_trains_what_it_should(method: str) -> None:
    torch.manual_seed(0)
    plain = Published(method, (9, 44, 44), 2, torch.randint(0, 256, (8, 3, 44, 44)))
    images = torch.randint(0, 256, (2, 4, 9, 44, 44), dtype=torch.uint8)
    sample = (images[0], torch.rand(4, 2), torch.rand(4, 1), images[1], torch.ones(4, 1))
    networks = {"critic": plain.critic, "actor": plain.actor.layers, "target": plain.target, "decoder": plain.decoder}
    before = {name: [p.clone() for p in net.parameters()] for name, net in networks.items()}
    plain.update(lambda: sample)
    moved = {
        name: any(not a.equal(b) for a, b in zip(before[name], net.parameters(), strict=True))
        for name, net in networks.items()
    }
    assert moved == {"critic": True, "actor": True, "target": True, "decoder": method == "sgqn"}
    plain.update(lambda: sample)


@pytest.mark.slow
def test_the_published_networks_are_the_paper_presets() -> None:
    agent = foveal.Agent("dmc/walker-walk", method="sgqn", training={"overlay_count": 2})
    plain = Published("sgqn", (9, 84, 84), 6, torch.zeros(1, 3, 84, 84))

    def count(*modules: nn.Module) -> int:
        return sum(p.numel() for module in modules for p in module.parameters())

    learner: Any = agent.learner
    ours: Any = agent.method
    assert count(plain.critic) == count(learner.convolutions, learner.projection, learner.critics)
    assert count(plain.actor.encoder.projection, plain.actor.layers) == count(learner.actor_projection, learner.policy)
    assert count(plain.decoder) == count(ours.decoder)


@pytest.mark.slow
def test_its_own_process_times_a_block_for_each_that_is_asked_for() -> None:
    shape = speed.Shape("sac", (9, 44, 44), 2, 4, "cpu", 1)
    plain = speed.Reference(shape, updates=2)
    plain.block()
    assert 0.0 < plain.time() < speed.ANSWER
    plain.close()
    assert not plain._process.is_alive()


# --- the bars ---------------------------------------------------------------------------------------------------------


def report(**changes: Any) -> SpeedReport:
    return speed_report(**{"against": {"sgqn": 3.0}, **changes})


def test_bars_are_passed_or_missed() -> None:
    assert speed.bars(report()) == [("sgqn: times the published order", 6.0, 6.0, True)]
    missed = report(against={"sgqn": 2.9})
    assert speed.bars(missed)[0][3] is False
    assert "falls short" in speed.tables(missed) and "5.8x" in speed.tables(missed) and "2900" in speed.tables(missed)
    assert speed.bars(report(against={"sgqn": 1.2}, dtype="float32"))[0][1:] == (2.4, 2.4, True)
    assert speed.bars(report(against={}, device="cuda")) == [("sgqn: updates/s", 2.0, 300.0, False)]
    points = [GrowthPoint(1000, 10.0, 1.0, 21_000_000, 1), GrowthPoint(2000, 9.4, 1.0, 46_000_000, 1)]
    (_, lost, _, flat), (_, stored, _, linear) = speed.bars(report(against={}, growth=points))
    assert (round(lost, 6), flat, stored, linear) == (0.06, False, 23_000.0, False)
    points[1] = replace(points[1], updates_per_second=9.6, replay_bytes=42_000_000)
    assert [passes for *_, passes in speed.bars(report(against={}, growth=points))] == [True, True]


def test_the_record_has_comparison_and_bars() -> None:
    found = speed.record(report())
    assert found["reference_seconds"] == {"sgqn": 3.0} and found["ratios"] == {"sgqn": 6.0}
    bar = {"bar": "sgqn: times the published order", "measured": 6.0, "wanted": 6.0, "passes": True}
    assert found["bars"] == [bar]
