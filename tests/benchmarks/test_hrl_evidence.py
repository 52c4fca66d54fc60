"""benchmarks/hrl_evidence.py and hrl_grid.py: tables, paired differences, and what is left to do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("h5py", reason='needs the extra "skills"')

import hrl_evidence
from hrl_evidence import lines, paired_difference, rates, spent
from hrl_grid import GridOptions, Job, Judging, conditions, jobs, training_seconds
from hrl_grid import main as grid
from hrl_rows import ROWS

from foveal.errors import FovealError


def report(row: str, seed: int, solved: dict[str, list[int]], **changes: Any) -> dict[str, Any]:
    """Episodes 100, 101, ... of each condition."""
    success = {}
    for name, flags in solved.items():
        outcomes = [
            {
                "seed": 100 + place,
                "success": bool(flag),
                "steps": 10 * (place + 1),
                "happened": place if place else None,
            }
            for place, flag in enumerate(flags)
        ]
        success[name] = {"rate": float(np.mean(flags)), "outcomes": outcomes}
    about = {"curve": [{"steps": 60, "success": 0.5}]}
    return {
        "task": "bowl",
        "row": row,
        "seed": seed,
        "demonstrations": None,
        "success": success,
        "about": about,
    } | changes


def test_differences_are_of_the_same_episodes() -> None:
    ours = [report("hrl-bc", seed, {"training": flags}) for seed, flags in ((0, [1, 1, 1, 0]), (1, [1, 0, 1, 1]))]
    theirs = [report("ppo", seed, {"training": flags}) for seed, flags in ((0, [0, 1, 0, 0]), (1, [0, 0, 1, 1]))]
    found = paired_difference(ours, theirs, "training")
    assert found is not None
    assert found.each == (0.5, 0.25) and found.mean == 0.375 and found.episodes == 4
    expected = stats.ttest_1samp([0.5, 0.25], 0.0).confidence_interval(0.95)
    assert found.over_seeds == (pytest.approx(expected.low), pytest.approx(expected.high))
    low, high = found.over_episodes  # of the means over seeds: 1, 0, 0.5, 0
    assert 0.0 <= low < 0.375 < high <= 1.0
    assert "+38 points; 95 % over 4 episodes" in str(found) and "over 2 training seeds" in str(found)


def test_pairing_tells_more_than_two_rates() -> None:
    """The same rates, once with the same episodes solved and once with others: only the pairing tells them apart."""
    flags = [1, 0] * 50
    alike = paired_difference(
        [report("hrl-bc", 0, {"training": flags})], [report("ppo", 0, {"training": flags})], "training"
    )
    other = paired_difference(
        [report("hrl-bc", 0, {"training": flags})], [report("ppo", 0, {"training": flags[::-1]})], "training"
    )
    assert alike is not None and other is not None
    assert alike.over_episodes == (0.0, 0.0) and other.over_episodes[0] < -0.1 < 0.1 < other.over_episodes[1]
    assert alike.over_seeds is None and "one training seed" in str(alike)


def test_only_what_both_played_is_compared() -> None:
    ours = [report("hrl-bc", 0, {"training": [1, 1, 0]}), report("hrl-bc", 1, {"training": [1]})]
    theirs = [report("ppo", 0, {"training": [0, 1]}), report("ppo", 2, {"training": [1]})]
    found = paired_difference(ours, theirs, "training")
    assert found is not None and found.each == (0.5,) and found.episodes == 2
    assert paired_difference(ours, theirs, "far_starts") is None
    far = report("ppo", 0, {"training": [1]})
    far["success"]["training"]["outcomes"][0]["seed"] = 7
    with pytest.raises(ValueError, match="no episode"):
        paired_difference(ours, [far], "training")


def test_steps_are_compared_in_the_same_episodes() -> None:
    ours, theirs = report("hrl-bc", 0, {"training": [1, 1]}), report("script", 0, {"training": [1, 1]})
    for outcome in theirs["success"]["training"]["outcomes"]:
        outcome["steps"] += 5
    found = paired_difference([ours], [theirs], "training", spent)
    assert found is not None and found.told(1, "steps").startswith("-5 steps; 95 % over 2 episodes [-5, -5]")


def test_rows_of_demonstrations_that_ended_early_are_left_out(tmp_path: Path) -> None:
    new, old = report("hrl-bc", 0, {"training": [1]}), report("hrl-bc", 1, {"training": [1]})
    del old["demonstrations"]
    for one in (new, old):
        (tmp_path / f"bowl-hrl-bc-{one['seed']}.json").write_text(json.dumps(one))
    assert [one["seed"] for one in hrl_evidence.reports(tmp_path)["bowl"]["hrl-bc"]] == [0]


def test_what_some_seeds_lack_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    seeds = [report("hrl-bc", 0, {"training": [1, 0], "cube_moved": [1, 1]}), report("hrl-bc", 1, {"training": [1, 1]})]
    found = rates(seeds, "cube_moved")
    assert found is not None and found.each == (1.0, None) and found.happened == 1 and found.steps == 15.0
    assert rates(seeds, "goal_moved") is None
    shown = lines("bowl", {"hrl-bc": seeds})
    said = capsys.readouterr().out
    assert "| hrl-bc | cube_moved | 100, not run | 100 [34, 100] | 15 | 1 of 2 |" in said
    assert "| hrl-bc | training | 50, 100 | 75 [30, 95] |" in said and len(shown) == 2


@pytest.mark.slow
def test_everything_is_told_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for row in ("hrl-bc", "ppo"):
        for seed in (0, 1):
            flags = [1, 0, 1] if row == "hrl-bc" else [0, 0, seed]
            (tmp_path / f"bowl-{row}-{seed}.json").write_text(json.dumps(report(row, seed, {"training": flags})))
    few = report("hrl-bc", 0, {"training": [0, 0, 1]}, demonstrations=25)
    (tmp_path / "bowl-hrl-bc-25-0.json").write_text(json.dumps(few))
    hrl_evidence.main(tmp_path)
    said = capsys.readouterr().out
    assert "| ppo | training | +50 points; 95 % over 3 episodes" in said and "| +0 steps; 95 % over 3 episodes" in said
    assert "| hrl-bc | all of the preset | 67, 67 | 67 [" in said
    assert "| hrl-bc | 25 | 33 | 33 [" in said and "| hrl-bc | training | 67, 67 |" in said
    assert (tmp_path / "bowl.svg").is_file() and (tmp_path / "curves-bowl.svg").is_file()


# --- the grid ---------------------------------------------------------------------------------------------------------


def test_the_grid_has_every_row_and_skips_what_is_there(tmp_path: Path) -> None:
    options = GridOptions(out=tmp_path, seeds=3, part=("rows", "events", "demonstrations"))
    listed = [job for job in jobs(options) if isinstance(job, Job)]
    assert {(job.row.row, job.row.seed) for job in listed if job.row.task == "bowl"} >= {
        (row, seed) for row in ROWS for seed in range(3)
    }
    assert {job.row.demonstrations for job in listed} == {None, 25, 50, 100}
    assert not [job for job in listed if job.row.task == "tower" and job.row.row == "ppo-from-bc"]
    first = listed[0]
    done = report("hrl-bc", 0, {name: [1] * first.row.episodes_of(name) for name in first.conditions[:-1]})
    (tmp_path / f"{first.row.name}.json").write_text(json.dumps(done))
    again = [job for job in jobs(options) if isinstance(job, Job)]
    assert len(again) == len(listed) and again[0].conditions == first.conditions[-1:]
    assert again[0].command()[-1] == first.conditions[-1] and again[0].evaluation_seconds() < first.evaluation_seconds()
    done["success"]["training"]["outcomes"].pop()
    (tmp_path / f"{first.row.name}.json").write_text(json.dumps(done))
    assert conditions_of(next(jobs(options))) == ("training", first.conditions[-1])  # an episode is missing
    del done["demonstrations"]  # of a version whose demonstrations ended with success
    (tmp_path / f"{first.row.name}.json").write_text(json.dumps(done))
    assert conditions_of(next(jobs(options))) == first.conditions


def conditions_of(job: Job | Judging) -> tuple[str, ...]:
    assert isinstance(job, Job)
    return job.conditions


def test_skills_are_judged_once_they_are_cloned_and_once(tmp_path: Path) -> None:
    options = GridOptions(("tower",), part=("skills",), seeds=1, work=tmp_path / "work", out=tmp_path)
    cloning, judging = jobs(options)
    assert isinstance(cloning, Job) and (cloning.row.row, cloning.conditions) == ("script", ("training",))
    assert isinstance(judging, Judging)
    words = judging.command()
    assert words[:4] == ["-m", "foveal", "skills", "evaluate"]
    assert words[4] == str(tmp_path / "work" / "tower-compact-0" / "skills") and "1600000000" in words
    judging.out.parent.mkdir()
    judging.out.touch()
    assert list(jobs(options)) == []


def test_a_failed_row_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        return subprocess.CompletedProcess(command, int(len(ran) == 1))

    monkeypatch.setattr(subprocess, "run", run)
    words = ["--only", "breakfast", "--part", "rows", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="1 of 8 failed; repeat"):
        grid(words)
    assert len(ran) == 8  # four rows of two seeds
    assert [command[command.index("--row") + 1] for command in ran[:4]] == [
        "hrl-bc",
        "script",
        "oracle",
        "replan-experts",
    ]
    ran.clear()
    with pytest.raises(SystemExit):
        grid([*words, "--rows", "oracle"])
    assert [command[command.index("--row") + 1] for command in ran] == ["oracle"] * 2


def test_what_rows_share_is_trained_once() -> None:
    listed = list(jobs(GridOptions(only=("tower",), seeds=1, part=("rows",), out=Path("nowhere"))))
    by_row = {job.row.row: job for job in listed if isinstance(job, Job)}
    alone = training_seconds([by_row["script"]])
    assert training_seconds([by_row["script"], by_row["replan"], by_row["random"]]) == alone
    assert training_seconds([by_row["hrl-bc"]]) > alone and training_seconds([by_row["replan-experts"]]) == 0.0


def test_events_are_for_tasks_in_which_they_can_happen() -> None:
    assert "goal_moved" in conditions("events", "tower", "hrl-bc")
    assert conditions("events", "pick", "hrl-bc") == conditions("events", "breakfast", "hrl-bc") == ()
    assert conditions("events", "bowl", "random") == () and conditions("rows", "bowl", "ppo") == ("training",)
    assert conditions("demonstrations", "bowl", "hrl-bc") == ("training",)
    assert conditions("demonstrations", "bowl", "oracle") == conditions("rows", "breakfast", "ppo") == ()


@pytest.mark.slow
def test_the_grid_tells_before_it_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid(["--print", "--only", "bowl", "--seeds", "1", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert "core-hours" in said and "python benchmarks/hrl.py ur5e/bowl --row hrl-bc --seed 0" in said
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit, match="did you mean 'bowl'"):
        grid(["--only", "bwl"])
    with pytest.raises(FovealError):
        GridOptions(seeds=0)
