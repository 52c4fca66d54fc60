"""Published numbers: whole, sourced, and beside measured ones only under their own protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench_ledgers import WALK, condition, write_run
from foveal.bench.published import published_tables
from foveal.bench.report import published_for, report
from foveal.bench.report_tables import FIVE

TABLES = {table.id: table for table in published_tables()}


def test_every_row_has_a_source() -> None:
    assert {"dmc-gb-video-easy", "dmc-gb-video-hard", "dmc-gb-color-hard", "dmc-gb2-video-hard"} == TABLES.keys()
    for table in TABLES.values():
        assert table.comparable and table.protocol.says
        assert len({row.method for row in table.rows}) == len(table.rows)
        for row in table.rows:
            assert row.paper and row.table and row.read in {"compilation", "second hand"}
            assert row.scores and all(0 <= value <= 1000 for value in row.scores.values())


@pytest.mark.parametrize("name", ["dmc-gb-video-easy", "dmc-gb-video-hard"])
def test_printed_means_are_near_those_of_the_columns(name: str) -> None:
    """A digit that was mistyped would show; papers average before they round, and some over other seeds."""
    rows = [row for row in TABLES[name].rows if row.mean is not None and set(FIVE) <= row.scores.keys()]
    assert len(rows) > 7
    for row in rows:
        assert abs(sum(row.scores[task] for task in FIVE) / len(FIVE) - row.mean) < 4, row.method


def test_spot_checks() -> None:
    by_method = {row.method: row for row in TABLES["dmc-gb-video-hard"].rows}
    assert by_method["SimGRL"].scores["dmc/cheetah-run"] == 301
    assert by_method["SGQN"].mean == 688
    assert by_method["TSTM"].privileged and by_method["TSTM"].read == "second hand"


def measured(out: Path, *, suite: str = "dmc-gb", steps: int = 500_000, **told: object) -> list[str]:
    settings = {"episodes": 100, "items": 100, **told}
    write_run(out, [condition("video_hard", 700.0, **settings)], suite=suite, steps=steps)  # type: ignore[arg-type]
    (look,) = report([out]).suites[0].looks
    (why,) = [why for table, why in published_for(look) if table.protocol.name == "dmc-gb"]
    return why


def test_the_protocol_is_met(tmp_path: Path) -> None:
    assert measured(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"suite": "smoke"}, "suite smoke, not dmc-gb"),
        ({"items": 40}, "but: 40 of 100"),
        ({"items": None}, "but: generated"),
        ({"quality": "draft"}, "draft rendering, not exact"),
        ({"episodes": 30}, "30 episodes a run, not 100"),
        ({"steps": 10_000}, "10,000 agent steps, not 500,000"),
    ],
)
def test_why_not(tmp_path: Path, change: dict[str, object], why: str) -> None:
    (said,) = measured(tmp_path, **change)  # type: ignore[arg-type]
    assert why in said


def test_one_run_against_the_protocol_is_enough(tmp_path: Path) -> None:
    assert measured(tmp_path) == []
    write_run(tmp_path, [condition("video_hard", 1.0, items=100)], suite="dmc-gb", seed=2, steps=500_000)
    look = report([tmp_path]).suites[0].looks[0]
    assert next(why for _, why in published_for(look)) == ["2 episodes a run, not 100"]


def test_another_benchmark_never_stands_beside(tmp_path: Path) -> None:
    measured(tmp_path)
    look = report([tmp_path]).suites[0].looks[0]
    (why,) = [why for table, why in published_for(look) if table.protocol.name == "dmc-gb2"]
    assert "no suite" in why[0]


def test_only_tasks_that_were_measured(tmp_path: Path) -> None:
    write_run(tmp_path, [condition("video_hard", 1.0)], task="dmc/reacher-easy")
    (look,) = report([tmp_path]).suites[0].looks
    assert published_for(look) == []
    assert WALK not in look.tasks
