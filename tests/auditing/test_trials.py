"""When a map is called true, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foveal.auditing.trials import Behaved, Estimate, Path, Trial, trusting

COUNT = 6


def path(area: float, elsewhere: float, count: int = COUNT) -> Path:
    """Areas of some episodes that differ a little."""
    spread = np.linspace(-0.01, 0.01, count)
    return Path(np.array([0.0, 1.0]), np.zeros((count, 2)), np.ones((count, 2)), area + spread, elsewhere - spread)


def trial(deleted: Path, inserted: Path, likeness: float | None = 0.1, name: str = "gradient") -> Trial:
    alike = () if likeness is None else (Estimate.of([likeness] * 3),)
    layers = () if likeness is None else (4,)
    return Trial(name, "q", {"value": deleted}, {"value": inserted}, layers=layers, likeness=alike)


GOOD, WORSE, SAME = (path(0.2, 0.6), path(0.8, 0.5)), (path(0.7, 0.4), path(0.3, 0.6)), (path(0.5, 0.5), path(0.5, 0.5))


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (trial(*GOOD), "true"),
        (trial(*GOOD, likeness=None), "true"),
        (trial(*GOOD, likeness=0.6), "not true"),
        (trial(*WORSE), "not true"),
        (trial(*SAME), "unclear"),
        (trial(GOOD[0], SAME[1]), "unclear"),
        (trial(path(0.2, 0.6, 4), path(0.8, 0.5, 4)), "unclear"),
        (trial(path(np.nan, 0.6), GOOD[1]), "unclear"),
    ],
)
def test_the_verdict(made: Trial, verdict: str) -> None:
    assert made.verdict == verdict


def test_a_map_must_not_outlive_the_upper_half_of_the_layers() -> None:
    alike = tuple(Estimate.of([one] * 3) for one in (0.99, 0.61, 0.36, 0.18, 0.0))
    made = replace(trial(*GOOD), layers=(1, 3, 5, 7, 9), likeness=alike)
    assert made.upper == alike[1] and made.insensitive and made.verdict == "not true"
    assert replace(made, layers=(2, 5, 6, 7, 9)).upper == alike[0]
    assert replace(made, layers=(1,), likeness=alike[4:]).verdict == "true"
    assert replace(made, layers=(), likeness=()).upper is None


def test_the_sentence_says_which_to_trust_and_why_not() -> None:
    trials = [
        trial(*GOOD),
        trial(*GOOD, 0.9, "guided_backprop"),
        trial(*WORSE, name="rise"),
        trial(*SAME, name="sarfa"),
    ]
    assert trusting(trials) == (
        "Of its maps, gradient can be trusted: what it marks counts for more than as much elsewhere; "
        "guided_backprop (much the same when upper layers are random) and rise (what it marks matters less than other "
        "pixels) can't be trusted; of sarfa it can't be told."
    )
    assert "occlusion and rise can be trusted: what they mark counts" in trusting(
        [trial(*GOOD, name="occlusion"), trial(*GOOD, name="rise")]
    )


def test_estimates_leave_out_what_is_undefined() -> None:
    found = Estimate.of([1.0, np.nan, 3.0])
    assert found is not None and found.values == (1.0, 3.0) and found.mean == 2.0 and found.low < 2.0 < found.high
    assert Estimate.of([np.nan]) is None and not found.enough


def test_everything_is_told_as_json() -> None:
    behaved = Behaved((1.0, 2.0), 1.5, 1.0, 2.0, 0.5, sure=False)
    parts = {"precision": Estimate.of([0.5, 0.7])}
    state: dict[str, Any] = replace(trial(*GOOD), behaviour={"salient": behaved}, parts=parts).as_dict()
    assert state["verdict"] == "true" and state["deletion"]["value"]["kept_elsewhere"] == [1.0, 1.0]
    assert state["behaviour"]["salient"]["values"] == [1.0, 2.0] and state["parts"]["precision"]["mean"] == 0.6
    empty = Path(np.array([0.0, 1.0]), np.full((2, 2), np.nan), np.ones((2, 2)), np.full(2, np.nan), np.ones(2))
    assert empty.as_dict()["kept"] == [None, None] and empty.as_dict()["area"] is None
