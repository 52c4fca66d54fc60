"""The grid of Sparse FLS against Nature: rows once, gone on with, and what follows from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fls_evidence
import numpy as np
import pytest
from scipy import stats

pytest.importorskip("ale_py", reason="needs the extra 'atari'")

from fls_evidence import Pooled, Row, Run, carry_out_row, pooled, rows, table, thinned

import foveal
from foveal.evaluation.results import Results

SHORT = ("--preset", "debug", "--training.precision", "float32", "--environment.frame-limit", "80")


def options(folder: Path, **more: Any) -> Run:
    made = {"games": ("freeway",), "steps": 64, "episodes": 1, "settings": SHORT, "policies": folder / "policies"}
    return Run(out=folder / "out", work=folder / "work", **{**made, **more})


def test_the_grid_is_that_of_the_plan() -> None:
    grid = rows(Run())
    assert len(grid) == len(set(grid)) == 24 and Run().steps == 500_000
    counts = {(game, encoder): 0 for game in ("breakout", "seaquest") for encoder in ("nature", "sparse-fls")}
    for row in grid:
        counts[row.game, row.encoder] += 1
    assert sorted(counts.values()) == [4, 4, 8, 8] and counts["breakout", "nature"] == 8
    assert [row.stem for row in grid[:4]] == [
        "breakout-nature-0",
        "breakout-sparse-fls-0",
        "seaquest-nature-0",
        "seaquest-sparse-fls-0",
    ]
    assert len(rows(Run(games=("breakout",), seeds=2))) == 4


@pytest.mark.slow
def test_a_row_is_trained_once_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in this process; one is stopped after half of its steps."""
    commands: list[list[str]] = []

    def carry_out(command: Any, log: Path, run: Path | None = None, hold: int | None = None) -> int:
        from foveal.cli import main

        commands.append(list(command))
        given = [*command, *([] if run is None else ["--out", str(run)])]
        if run is not None and len(commands) == 1:
            given[given.index("--steps") + 1] = "32"  # as if it had been stopped there
        assert main(given) == 0
        return 7

    monkeypatch.setattr(fls_evidence, "carry_out", carry_out)
    asked, row = options(tmp_path), Row("freeway", "sparse-fls", 1)
    (asked.work / row.stem).mkdir(parents=True)  # stopped before its first checkpoint
    found = fls_evidence.train(
        ["train", "atari/freeway", "--encoder", "sparse-fls", "--steps", "64", *SHORT], asked.work / row.stem, 64
    )
    assert found == {"seconds": 7, "resumed": False} and foveal.load(asked.work / row.stem).steps == 32

    def go_on(command: Any, log: Path, run: Path | None = None, hold: int | None = None) -> int:
        commands.append(list(command))
        foveal.resume(asked.work / row.stem, progress=False).train(32)
        return 3

    monkeypatch.setattr(fls_evidence, "carry_out", go_on)
    assert carry_out_row(row, asked)
    assert commands[-1] == ["train", "--resume", str(asked.work / row.stem)]
    target = asked.out / "freeway-sparse-fls-1.json"
    state = json.loads(target.read_text())
    assert (state["row"]["seconds"], state["row"]["resumed"], state["policy"]["steps"]) == (3, True, 64)
    attention = Results.load(target)["train"].attention
    assert attention is not None and attention.maps >= 20
    assert state["untrained_attention"]["maps"] >= 20
    assert state["attention_in_training"]["attention/variation"][-1][0] == 64
    kept: Any = foveal.load(asked.policies / row.stem)
    assert kept.steps == 64
    assert state["row"]["command"].startswith("foveal train atari/freeway")

    count = len(commands)
    assert not carry_out_row(row, asked) and len(commands) == count  # it has its file
    target.unlink()
    assert carry_out_row(row, asked) and len(commands) == count  # trained already: only evaluated
    assert json.loads(target.read_text())["row"]["seconds"] is None


def test_one_game_is_welchs_interval() -> None:
    random = np.random.default_rng(0)
    nature, mapped = np.exp(random.normal(3, 0.3, 8)), np.exp(random.normal(2.9, 0.2, 5))
    found = pooled({"breakout": (nature, mapped)})
    above = stats.ttest_ind(np.log(mapped), np.log(nature), equal_var=False, alternative="greater")
    below = stats.ttest_ind(np.log(mapped), np.log(nature), equal_var=False, alternative="less")
    assert found.low == pytest.approx(np.exp(above.confidence_interval(0.95).low))
    assert found.high == pytest.approx(np.exp(below.confidence_interval(0.95).high))
    assert found.share == pytest.approx(np.exp(np.log(mapped).mean() - np.log(nature).mean()))


def test_games_count_the_same_whatever_their_seeds() -> None:
    """Ratios of 1/2 and 2 make 1; seeds that never vary leave no width."""
    found = pooled({"a": ([10.0] * 8, [5.0] * 8), "b": ([3.0] * 2, [6.0] * 2)})
    assert (found.share, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))
    # Two games with the same variance of each mean: an error of half, on the sum of all degrees of freedom.
    logs = np.array([-0.1, 0.1, 0.0, 0.2])
    two = pooled({name: (np.exp(logs), np.exp(logs)) for name in ("a", "b")})
    error = np.sqrt(4 * logs.var(ddof=1) / 4) / 2
    assert two.low == pytest.approx(np.exp(-stats.t.ppf(0.95, 12) * error))
    with pytest.raises(ValueError, match="a mean score of b is not positive"):
        pooled({"a": ([1.0, 2.0], [1.0, 2.0]), "b": ([0.0, 1.0], [1.0, 2.0])})


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [((0.76, 1.1), "no cost"), ((0.5, 0.74), "refuted"), ((0.7, 1.0), "open"), ((0.75, 0.9), "open")],
)
def test_verdicts(limits: tuple[float, float], verdict: str) -> None:
    assert f"**{verdict}**" in Pooled(0.8, *limits).verdict


def test_the_tables_of_what_was_trained_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[2] / "results" / "fls"
    if not folder.is_dir():
        pytest.skip("no results beside the tests")
    for path in folder.glob("kung_fu_master-*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    table(tmp_path)
    shown = capsys.readouterr().out
    assert "| kung_fu_master | nature | 3203, 3467, 2520, 2133, 4697, 4220 | 3373 [3159, 3596] | 11.5 |" in shown
    assert "Sparse FLS is at 1.05 of Nature's score (geometric means), 95 % interval over seeds [0.76, 1.45]" in shown
    assert "one-sided 95 % limits" in shown and "on its own grid" not in shown


def scored(by_game: dict[str, tuple[list[float], list[float]]]) -> fls_evidence.Scores:
    return {
        game: {
            name: [np.array([mean]) for mean in means]
            for name, means in zip(("nature", "sparse-fls"), both, strict=True)
        }
        for game, both in by_game.items()
    }


def test_no_verdict_rests_on_a_game_that_says_nothing_or_on_fewer_seeds_than_planned() -> None:
    def means(seeds: int) -> tuple[list[float], list[float]]:
        return [100.0 + seed for seed in range(seeds)], [99.0 + seed for seed in range(seeds)]

    whole = scored({"breakout": means(8), "seaquest": means(4)})
    assert "breakout and seaquest together" in fls_evidence.pooled_line(whole, ())
    assert "**no cost**" in fls_evidence.pooled_line(whole, ())
    assert fls_evidence.pooled_line(whole, ("breakout",)).endswith(
        "nothing is concluded, as Nature is too weak in breakout"
    )
    without = fls_evidence.pooled_line(whole, ("seaquest",))
    assert without.startswith("- breakout together") and "**no cost**" in without
    some = scored({"breakout": means(8), "seaquest": means(3)})
    assert fls_evidence.pooled_line(some, ()).endswith("nothing is concluded, as seaquest lacks seeds")
    assert "seaquest lacks seeds" in fls_evidence.pooled_line(scored({"breakout": means(8)}), ())
    assert "nothing is concluded" in fls_evidence.pooled_line(scored({"breakout": means(1)}), ())


def test_a_failed_row_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    tried = []

    def carry_out_row(row: Row, _: Run) -> bool:
        tried.append(row.stem)
        if row.encoder == "nature":
            raise RuntimeError("foveal train ended with 2")
        return True

    monkeypatch.setattr(fls_evidence, "carry_out_row", carry_out_row)
    monkeypatch.setattr("sys.argv", ["x", "run", "--games", "breakout", "--seeds", "1", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="failed: breakout-nature-0; repeat"):
        fls_evidence.main()
    assert tried == ["breakout-nature-0", "breakout-sparse-fls-0"]
    assert "breakout-nature-0 FAILED: foveal train ended with 2" in capsys.readouterr().out


def test_curves_are_thinned_to_means() -> None:
    assert thinned([(1, 0.5)]) == [(1, 0.5)]
    found = thinned([(step, float(step)) for step in range(1, 201)])
    assert len(found) == fls_evidence.POINTS and found[0] == (4, 2.5) and found[-1] == (200, 198.5)
