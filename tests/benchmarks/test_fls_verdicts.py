"""benchmarks/fls_verdicts.py: what the plan concludes from made-up studies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fls_verdicts import Limits, ball_verdict, cues_verdict, learnt, main


def ball_row(seed: int, trained: float, untrained: float = 0.0, ceiling: float = 0.2) -> dict[str, Any]:
    def moved(mean: float) -> dict[str, Any]:
        return {"moved": {"attention": {"following": {"mean": mean}, "ceiling": ceiling}}}

    return {"encoder": "sparse-fls", "seed": seed, "changes": moved(trained), "untrained": moved(untrained)}


def cues_row(seed: int, pair: float, untrained: float = 0.0, low: float | None = 0.1) -> dict[str, Any]:
    return {
        "seed": seed,
        "paired": {"attention": {"mean": pair}},
        "paired_untrained": {"attention": {"mean": untrained}},
        "value": {"cue_minus_twin": {"low": low}},
    }


def test_limits_are_students_one_sided() -> None:
    found = Limits.of([0.0, 2.0])
    assert (found.mean, found.high - found.mean) == (1.0, pytest.approx(6.3138, rel=1e-4))  # t of 0.95 with 1 freedom


def test_the_ball_is_followed_if_training_made_maps_go_with_it_by_a_tenth_of_the_ceiling() -> None:
    follows = [ball_row(seed, 0.05 + 0.001 * seed, untrained=0.01) for seed in range(8)]
    assert "**follows the ball**" in ball_verdict(follows)
    assert "nothing is concluded from 7 of 8 seeds" in ball_verdict(follows[:7])
    assert "**refuted**" in ball_verdict([ball_row(seed, 0.005 + 0.0001 * seed) for seed in range(8)])
    assert "**refuted**" in ball_verdict([ball_row(seed, 0.05 + 0.0001 * seed, untrained=0.05) for seed in range(8)])
    assert "**open**" in ball_verdict([ball_row(seed, 0.03 * (seed % 2) + 0.001) for seed in range(8)])


def test_agents_that_have_not_learnt_the_cue_say_nothing() -> None:
    assert (
        learnt(cues_row(0, 0.1)) and not learnt(cues_row(0, 0.1, low=-0.1)) and not learnt(cues_row(0, 0.1, low=None))
    )
    good = [cues_row(seed, 0.05 + 0.001 * seed) for seed in range(4)]
    assert "**follows what matters**" in cues_verdict(good)
    assert "3 of 4 agents have learnt the cue" in cues_verdict([*good[:3], cues_row(3, -9.0, low=-1.0)])
    assert "**follows what matters**" in cues_verdict([*good[:3], cues_row(3, -9.0, low=-1.0)])
    assert "1 of 4 agents" in cues_verdict([good[0], *(cues_row(seed, 0.1, low=-1.0) for seed in range(3))])


def test_a_preference_for_a_place_that_was_there_before_is_not_following() -> None:
    placed = [cues_row(seed, 0.3 * (-1) ** seed, untrained=0.3 * (-1) ** seed) for seed in range(4)]
    assert "**refuted**" in cues_verdict(placed)
    beyond = [cues_row(seed, 0.3 * (-1) ** seed + 0.02 + 0.001 * seed, 0.3 * (-1) ** seed) for seed in range(4)]
    assert "**follows what matters**" in cues_verdict(beyond)
    assert "nothing is concluded from 3 of 4 seeds" in cues_verdict(beyond[:3])
    assert "**open**" in cues_verdict([cues_row(seed, 0.1 * seed - 0.05) for seed in range(4)])


def test_the_page_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(8):
        (tmp_path / f"ball-sparse-fls-{seed}.json").write_text(json.dumps(ball_row(seed, 0.05 + 0.001 * seed)))
    for seed in range(4):
        (tmp_path / f"cues-{seed}.json").write_text(json.dumps(cues_row(seed, 0.1 + 0.001 * seed, low=seed - 0.5)))
    main(tmp_path)
    shown = capsys.readouterr().out
    assert "ball moved, sparse-fls, attention, trained minus untrained: +0.0500, +0.0510" in shown
    assert "cue minus twin, seed 0 (has not learnt the cue): attention +0.1000" in shown
    assert "ball: " in shown and "**follows the ball**" in shown and "cues: 3 of 4 agents" in shown
