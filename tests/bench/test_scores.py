"""Ledgers read back: which rows, which policies, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench_ledgers import CAR, STAND, WALK, condition, small_ledger, write_chance, write_run
from foveal.bench import scores
from foveal.bench.scores import Look, read
from foveal.errors import FovealError

LOOKS = [condition("train", 100.0), condition("video_hard", 50.0, items=20)]


def test_rows(tmp_path: Path) -> None:
    ledger = read([small_ledger(tmp_path)])
    assert len(ledger.runs) == 8 and len(ledger.scores) == 16 and not ledger.lacking
    rows = {(s.policy, s.run.task, s.run.seed, str(s.look)): s.value for s in ledger.scores}
    assert rows["svea", WALK, 2, "train"] == 900
    assert rows["sgqn", STAND, 1, "video_hard (generated)"] == 750


def test_any_depth_and_several_folders(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "deep", LOOKS, seed=1)
    folder = write_run(tmp_path / "b", LOOKS, seed=2, suite=None)
    for folders in ([tmp_path], [tmp_path / "a", tmp_path / "b", tmp_path], [tmp_path / "a", folder]):
        assert {(run.suite, run.seed) for run in read(folders).runs} == {("small", 1), (None, 2)}
        assert len(read(folders).runs) == 2
    cell = json.loads((folder / "cell.json").read_text())
    del cell["suite"]
    (folder / "cell.json").write_text(json.dumps(cell))
    assert read([folder]).runs[0].suite is None


def test_names_marks_and_shields(tmp_path: Path) -> None:
    write_run(tmp_path, LOOKS, method="none")
    write_run(tmp_path, LOOKS, method="tstm")
    write_run(tmp_path, LOOKS, method="sgqn+sada", shielded=LOOKS)
    write_run(tmp_path, LOOKS, method="svea")
    write_run(tmp_path, LOOKS, method="svea", learner="drqv2")
    write_run(tmp_path, LOOKS, method="variant-of-somebody")
    told = {score.policy: (score.shielded, score.privileged) for score in read([tmp_path]).scores}
    assert told == {
        "sac": (False, False),
        "tstm": (False, True),
        "sgqn+sada": (False, False),
        "sgqn+sada + shield": (True, True),
        "svea on sac": (False, False),
        "svea on drqv2": (False, False),
        "variant-of-somebody": (False, False),
    }


def test_a_result_that_says_so_is_privileged_whatever_its_method_is_called() -> None:
    assert scores._privileged({"method": "somebodys", "privileged": True}, "somebodys")
    assert not scores._privileged({"method": "somebodys"}, "somebodys")


def test_looks_tell_apart_what_must_not_be_averaged() -> None:
    looks = [
        Look.of(condition("video_hard", 1.0)),
        Look.of(condition("video_hard", 1.0, items=20)),
        Look.of(condition("video_hard", 1.0, items=100)),
        Look.of(condition("video_hard", 1.0, items=100, quality="draft")),
    ]
    names = ["(generated)", "(20 of 100)", "", "(draft rendering)"]
    assert [str(look) for look in looks] == [f"video_hard {name}".rstrip() for name in names]


def test_states_and_missing_files(tmp_path: Path) -> None:
    write_run(tmp_path, LOOKS, seed=1)
    write_run(tmp_path, LOOKS, seed=2, state="failed", error="it broke")
    write_run(tmp_path, LOOKS, seed=3, state="running")
    write_run(tmp_path, seed=4)
    write_run(tmp_path, LOOKS, seed=5, shield="fovea")
    ledger = read([tmp_path])
    assert {score.run.seed for score in ledger.scores} == {1, 5}
    assert [(run.seed, file) for run, file in ledger.lacking] == [(4, "results.json"), (5, "results-shield.json")]


def test_the_random_policy_of_a_task(tmp_path: Path) -> None:
    write_run(tmp_path, LOOKS, task=CAR)
    write_run(tmp_path, LOOKS, task=WALK)
    write_chance(tmp_path, CAR, -20.0)
    ledger = read([tmp_path])
    assert list(ledger.chance) == [("small", CAR)]
    assert ledger.chance["small", CAR]["train"].summary["mean"] == -20


def test_one_run_twice(tmp_path: Path) -> None:
    here, copy = tmp_path / "here", tmp_path / "copy"
    write_run(here, LOOKS)
    shutil.copytree(here, copy)
    assert len(read([here, copy]).runs) == 1  # the same results
    write_run(copy, [condition("train", 3.0)])
    with pytest.raises(FovealError, match="both the run of svea on dmc/walker-walk with seed 1"):
        read([here, copy])
    write_run(copy, state="failed")
    assert [run.state for run in read([copy, here]).runs] == ["done"]  # an attempt elsewhere counts for nothing


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="there is no folder"):
        read([tmp_path / "nowhere"])
    with pytest.raises(FovealError, match="no run of a benchmark"):
        read([tmp_path])
    folder = write_run(tmp_path, LOOKS)
    (folder / "cell.json").write_text("{}")
    with pytest.raises(FovealError, match="format"):
        read([tmp_path])
    (folder / "cell.json").write_text('{"format": "foveal.cell/1"}')
    with pytest.raises(FovealError, match="lacks 'task'"):
        read([tmp_path])
    (folder / "cell.json").write_text("no")
    with pytest.raises(FovealError, match="no JSON"):
        read([tmp_path])
