"""Ledgers with known answers: aggregates, gaps, pairs, looks that are kept apart, scales, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_allclose

from bench_ledgers import CAR, STAND, WALK, condition, small_ledger, write_chance, write_run
from foveal.bench.comparison import LookReport, SuiteReport, compare
from foveal.bench.gaps import holes, warnings
from foveal.bench.reading import reading
from foveal.bench.scales import REFERENCES, references
from foveal.bench.scores import read
from foveal.errors import FovealError


def suite(out: Path, baseline: str | None = None, known: Any = REFERENCES) -> SuiteReport:
    (told,) = compare(read([out]), known, baseline)
    return told


def look(told: SuiteReport, name: str) -> LookReport:
    (found,) = [one for one in told.looks if str(one.look) == name]
    return found


CHANGED = "video_hard (generated)"


def test_known_answers(tmp_path: Path) -> None:
    told = suite(small_ledger(tmp_path), "svea")
    assert [str(one.look) for one in told.looks] == ["train", CHANGED]
    train, changed = look(told, "train"), look(told, CHANGED)
    one = train.returns["svea"][WALK]
    assert (one.value, one.interval, one.seeds) == (850, (800, 900), 2)
    assert_allclose(train.aggregates["svea"].mean.value, 0.9)
    assert_allclose(train.aggregates["svea"].iqm.value, 0.9)  # of 0.8, 0.9, 0.9 and 1
    assert_allclose(train.aggregates["sgqn"].gap.value, 0.2)
    assert train.ranking == ["svea", "sgqn"] and changed.ranking == ["sgqn", "svea"]
    gap = changed.gaps["svea"]
    assert gap is not None and gap.share is not None
    assert_allclose((gap.points.value, gap.share.value), (0.3, 0.3 / 0.9))
    assert not train.gaps
    paired = changed.differences["sgqn"]
    assert paired is not None and paired.excludes_zero
    assert_allclose(paired.value, 0.15)
    assert "svea" not in changed.differences
    p = changed.improvement["sgqn", "svea"]
    assert_allclose(p.value, 1.0)  # 650 and 750 against 500 and 600; 750 and 850 against 600 and 700
    assert_allclose(train.improvement["sgqn", "svea"].value, 0.125)  # of each task, one tie of four
    json.dumps(told.as_dict(), allow_nan=False)


def test_looks_are_never_averaged_together(tmp_path: Path) -> None:
    write_run(tmp_path, [condition("video_hard", 100.0, items=20)], seed=1)
    write_run(tmp_path, [condition("video_hard", 300.0, items=100)], seed=2)
    write_run(tmp_path, [condition("video_hard", 500.0, items=100, quality="draft")], seed=3)
    told = suite(tmp_path)
    found = {str(one.look): one.returns["svea"][WALK].value for one in told.looks}
    assert found == {"video_hard (20 of 100)": 100, "video_hard": 300, "video_hard (draft rendering)": 500}


def test_suites_are_told_apart_the_largest_first(tmp_path: Path) -> None:
    write_run(tmp_path, [condition("train", 1.0)], suite="a")
    write_run(tmp_path, [condition("train", 2.0)], suite=None)
    small_ledger(tmp_path)
    told = compare(read([tmp_path]), {})
    assert told[0].name == "small" and {one.name for one in told} == {"small", "a", None}
    assert {one.title for one in told} == {"small", "a", "Runs of no suite"}


def test_who_lacks_a_task_is_not_ranked(tmp_path: Path) -> None:
    small_ledger(tmp_path)
    write_run(tmp_path, [condition("train", 999.0)], method="drq", seed=1)
    train = look(suite(tmp_path), "train")
    assert "drq" not in train.aggregates and "drq" not in train.profiles
    assert train.returns["drq"][WALK].value == 999
    assert train.improvement["drq", "svea"].tasks == 1
    assert train.returns["drq"][WALK].interval is None


def test_scales(tmp_path: Path) -> None:
    write_run(tmp_path, [condition("train", 435.0)], task=CAR)
    write_run(tmp_path, [condition("train", 1.0)], task="some/task")
    solved = condition("train", 7.0, episodes=4, successes=[True, True, True, False])
    write_run(tmp_path, [solved], task="ur5e/bowl")
    write_chance(tmp_path, CAR, -30.0)
    told = suite(tmp_path)
    scaled = look(told, "train").scaled["svea"]
    assert_allclose(scaled[CAR][1], 465 / 930)
    assert scaled["ur5e/bowl"][1] == 0.75
    assert "some/task" not in scaled and "random policy" in str(told.scales["some/task"])
    write_chance(tmp_path, "some/task", 0.5)
    assert "--reference some/task=RETURN" in str(suite(tmp_path).scales["some/task"])
    given = suite(tmp_path, known=references(["some/task=2.5"]))
    assert look(given, "train").scaled["svea"]["some/task"][1] == 0.25
    for text in ("walk", "walk=fast", "=3"):
        with pytest.raises(FovealError, match="TASK=RETURN"):
            references([text])


def test_what_is_missing(tmp_path: Path) -> None:
    small_ledger(tmp_path)
    write_run(tmp_path, method="drq", seed=1, state="failed", error="it broke")
    write_run(tmp_path, method="drq", seed=2, state="running")
    write_run(tmp_path, method="drq", task=STAND, seed=1)
    found = {(hole.policy, hole.task, hole.seed): (hole.state, hole.why) for hole in holes(read([tmp_path]))}
    assert found["drq", WALK, 1] == ("failed", "it broke")
    assert found["drq", WALK, 2][0] == "not finished"
    assert found["drq", STAND, 1] == ("without results", "no results.json")
    assert found["drq", STAND, 2] == ("missing", "never begun")
    assert len(found) == 4


def test_warnings(tmp_path: Path) -> None:
    small_ledger(tmp_path)
    (few,) = warnings(suite(tmp_path))
    assert "rest on 2" in few
    write_run(tmp_path, [condition("train", 1.0)], method="drq", steps=7)
    said = " ".join(warnings(suite(tmp_path)))
    assert "single seed" in said and "Numbers of seeds differ" in said
    assert "dmc/walker-walk differ in length: 7, 1,000 agent steps" in said
    for seed in range(3, 6):
        write_run(tmp_path / "five", [condition("train", 1.0)], seed=seed)
    for seed in range(1, 3):
        write_run(tmp_path / "five", [condition("train", 1.0)], seed=seed)
    assert warnings(suite(tmp_path / "five")) == []


def test_reading(tmp_path: Path) -> None:
    small_ledger(tmp_path)
    leads, first, second = reading(suite(tmp_path))
    assert leads == f"By interquartile mean over 2 tasks, svea leads on train; sgqn leads on {CHANGED}."
    assert "svea \N{MINUS SIGN} sgqn is above 0 on train (+0.10 [+0.10, +0.10], 4 pairs)" in first
    assert f"sgqn \N{MINUS SIGN} svea is above 0 on {CHANGED}" in second
    _, behind, paired = reading(suite(tmp_path, "svea"), "sgqn")
    assert behind == "sgqn does not lead on train: 0.80 against 0.90 of svea."
    assert "is below 0 on train" in paired and f"it is above 0 on {CHANGED} (+0.15" in paired


def test_reading_of_little(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [condition("train", 500.0)])
    assert reading(suite(tmp_path / "a")) == [
        "There is one policy alone, svea, on one task: nothing to compare it with."
    ]
    write_run(tmp_path / "a", [condition("train", 400.0)], method="drq")
    said = reading(suite(tmp_path / "a"))
    assert "has no interval on train (+0.10, 1 pair)" in said[1]
    write_run(tmp_path / "b", [condition("train", 500.0)], task="some/task")
    assert "none can be said to lead" in reading(suite(tmp_path / "b"))[0]


def test_reading_says_where_nothing_can_be_told(tmp_path: Path) -> None:
    for seed, (a, b) in enumerate([(500.0, 480.0), (450.0, 490.0), (520.0, 490.0)]):
        write_run(tmp_path, [condition("train", a)], method="svea", seed=seed)
        write_run(tmp_path, [condition("train", b)], method="tstm", seed=seed)
    leads, paired = reading(suite(tmp_path))
    assert "svea leads" in leads
    assert "can't be told from 0 on train" in paired
    told = reading(suite(tmp_path, "tstm"), "tstm")
    assert "tstm \N{MINUS SIGN} svea" in told[-1]  # ours against itself would say nothing
    for seed in (8, 9):
        write_run(tmp_path, [condition("train", 900.0)], method="tstm", seed=seed)
    assert "tstm (privileged) leads" in reading(suite(tmp_path))[0]
