"""The report as people get it: page, Markdown, pictures, JSON, the command, and real runs from training to page."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench_ledgers import CAR, WALK, condition, small_ledger, write_chance, write_curve, write_run
from chromium import visit
from foveal.bench import drawings
from foveal.bench.chapters import Folded, Plot, chapters
from foveal.bench.learning import learning_curves
from foveal.bench.report import report
from foveal.bench.report_files import write_report
from foveal.bench.scores import read
from foveal.cli import main
from foveal.errors import FovealError
from foveal.explanation.page import Table

CHANGED = "video_hard (generated)"


def everything(out: Path) -> Path:
    """A ledger with something for every part of a report."""
    small_ledger(out)
    folder = write_run(out, [condition("train", 900.0)], method="drq", seed=1, shielded=[condition("train", 905.0)])
    write_curve(folder, WALK, {100: 10.0, 200: 500.0})
    write_run(out, method="drq", seed=2, state="failed", error="a <reward> was | not finite")
    write_run(out, [condition("train", 300.0)], suite="cars", task=CAR, method="tstm")
    write_chance(out, CAR, -30.0, "cars")
    return out


def items(told: Any) -> list[Any]:
    """All tables and plots of a report, those of the largest suite first, folded ones too."""
    found = [item for chapter in chapters(told) for section in chapter.sections for item in section.items]
    return [inner for item in found for inner in (item.folded if isinstance(item, Folded) else [item])]


def table(told: Any, caption: str) -> list[list[Any]]:
    found = next(item for item in items(told) if isinstance(item, Table) and caption in item.caption)
    return [list(found.head), *(list(row) for row in found.rows)]


def test_tables(tmp_path: Path) -> None:
    told = report([everything(tmp_path)], baseline="svea")
    rows = {row[0].text: row for row in table(told, "Interquartile mean over all runs")[1:]}
    assert rows["svea"][1].text == "0.900" and rows["svea"][1].small[-1] == "2 seeds"
    assert re.fullmatch(r"0\.\d{3} to [01]\.\d{3}", rows["svea"][1].small[0])
    assert (rows["drq"][1].text, rows["drq"][1].small) == ("not ranked", ("1 of 2 tasks",))
    assert rows["drq + shield"][0].small == ("privileged", "behind a shield")
    head, *rows_of_gaps = table(told, "minus score under the changed one")
    assert (head[1].text, head[1].note) == ("video_hard", "generated")
    gaps = {row[0].text: row[1] for row in rows_of_gaps}
    assert (gaps["svea"].text, gaps["svea"].small[-1]) == ("+0.30", "33 % (32 to 35)")
    differences = {row[0].text: row[2] for row in table(told, "Score minus that of svea")[1:]}
    assert (differences["sgqn"].text, differences["sgqn"].note) == ("+0.15", "above 0")
    (failed,) = [row for row in table(told, "no number above rests on")[1:] if row[4] == "failed"]
    assert failed == ["drq", "small", WALK, "2", "failed", "a <reward> was | not finite"]
    origins = [item for item in items(told) if isinstance(item, Table) and "command" in item.head]
    assert sum(len(item.rows) for item in origins) == len(told.ledger.runs)
    assert origins[0].rows[0][-1].text.startswith("foveal train ")


def test_tasks_that_are_solved_or_not_have_shares(tmp_path: Path) -> None:
    """A return of 10 for success, as the arm's, says less at a glance."""
    for seed, successes in ((1, [True, True, True, False]), (2, [True, False, False, False])):
        told = condition("train", 5.0, episodes=4, successes=successes)
        write_run(tmp_path, [told], task="ur5e/bowl", seed=seed, steps=0)
    found = report([tmp_path])
    ((_, row),) = [table(found, "or share of episodes that solve the task, over training seeds")]
    assert row[1].text == "50 %" and row[1].small[-1] == "2 seeds"
    ((_, one, _),) = [table(found, "A number of a policy on a task is of these runs")]
    assert one[1] == "\N{EN DASH}"  # presets say how long


def test_one_seed_shows_no_interval(tmp_path: Path) -> None:
    write_run(tmp_path, [condition("train", 500.0)])
    told = report([tmp_path])
    ((_, row),) = [table(told, "Mean return over training seeds")]
    assert (row[1].text, row[1].small) == ("500", ("1 seed",))
    (plot,) = [item for item in items(told) if isinstance(item, Plot) and item.kind == "forest"]
    assert plot.drawings[0].rows[0][1].interval is None


def test_learning_curves(tmp_path: Path) -> None:
    for seed, last in ((1, 400.0), (2, 600.0)):
        folder = write_run(tmp_path, [condition("train", last)], seed=seed)
        write_curve(folder, WALK, {100: 10.0, 200: last})
    told = report([tmp_path])
    (task,) = learning_curves(told.suites[0], read([tmp_path]))
    assert task.levels("svea") == [(100, 10, 10, 10), (200, 500, 400, 600)]
    (panel,) = drawings.curve_panels([task])
    (name, colour, levels), *rest = panel.lines
    assert (name, colour, rest) == ("svea", 0, []) and panel.line(levels)[-1][0] == panel.x.end
    assert told.as_dict()["suites"][0]["learning_curves"][0]["curves"]["svea"]["2"] == [[100, 10], [200, 600]]


@pytest.mark.slow
def test_page(tmp_path: Path) -> None:
    told = report([everything(tmp_path / "ledger")], baseline="svea", ours="sgqn")
    page = write_report(told, tmp_path / "out")
    source = page.read_text(encoding="utf-8")
    for width in (1100, 400):
        found, console = visit(source, tmp_path, width)
        assert console == []
        assert found["wide"] <= 0 and found["title"] == "Benchmark: small, cars"
    assert "a &lt;reward&gt; was | not finite" in source
    assert "sgqn does not lead on train" in source
    assert "Published, and not comparable" in source and "measured in the suite small, not dmc-gb" in source
    beside = source[source.index("Each task") : source.index("Published, and not comparable")]
    assert ">published<" not in beside


def test_published_stand_beside_what_follows_their_protocol(tmp_path: Path) -> None:
    looks = [condition("video_hard", 700.0, episodes=100, items=100)]
    write_run(tmp_path / "ledger", looks, suite="dmc-gb", steps=500_000)
    source = write_report(report([tmp_path / "ledger"]), tmp_path / "out").read_text(encoding="utf-8")
    beside, _, apart = source.partition("Published, and not comparable")
    assert "SimGRL" in beside and "SimGRL" not in apart and "SADA" in apart and "SADA" not in beside


def test_markdown_and_pictures(tmp_path: Path) -> None:
    told = report([everything(tmp_path / "ledger")])
    write_report(told, tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert shown and sorted(shown) == sorted(path.name for path in (tmp_path / "out").glob("*.svg"))
    for name in shown:
        root = ET.parse(tmp_path / "out" / name).getroot()
        assert root.tag.endswith("svg") and float(root.attrib["width"]) > 100
    widths = [line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")]
    assert widths and all(width >= 3 for width in widths)
    assert "a <reward> was \\| not finite" in text and "*generated*" in text


def test_json_holds_every_number_and_its_origin(tmp_path: Path) -> None:
    told = report([everything(tmp_path / "ledger")], baseline="svea")
    write_report(told, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["format"] == "foveal.bench-report/1"
    small = found["suites"][0]
    changed = small["looks"][1]
    assert changed["returns"]["sgqn"][WALK]["value"] == 700
    assert changed["scaled_runs"]["sgqn"][WALK] == {"1": 0.65, "2": 0.75}
    assert changed["paired_difference"]["sgqn"]["runs"] == 4
    assert small["reading"] and small["warnings"]
    assert {hole["state"] for hole in found["holes"]} >= {"failed", "missing"}
    assert all(run["commit"] == "0123abc" and run["command"] and run["machine"] for run in found["runs"])


def test_a_policy_may_be_named_as_its_folder(tmp_path: Path) -> None:
    small_ledger(tmp_path)
    assert report([tmp_path], baseline="sac-svea", ours="sgqn").baseline == "svea"
    with pytest.raises(FovealError, match="no run of a policy 'svae' has results: did you mean 'svea'"):
        report([tmp_path], ours="svae")


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everything(tmp_path / "ledger")
    arguments = ["bench", "report", str(tmp_path / "ledger"), "--out", str(tmp_path / "out"), "--baseline", "svea"]
    assert main(arguments) == 0 and main(arguments) == 0  # a report is written anew
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == str(tmp_path / "out" / "report.html")
    assert "svea leads on train" in said and "missing, failed" in said
    (tmp_path / "empty").mkdir()
    assert main(["bench", "report", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 2
    assert "no run of a benchmark" in capsys.readouterr().err
    write_run(tmp_path / "begun", state="running")
    assert main(["bench", "report", str(tmp_path / "begun"), "--out", str(tmp_path / "out")]) == 2
    assert "has results yet" in capsys.readouterr().err


def test_many_policies_have_colours_to_the_end(tmp_path: Path) -> None:
    for number in range(10):
        folder = write_run(tmp_path / "ledger", [condition("train", 90.0 * number)], method=f"variant-{number}")
        write_curve(folder, WALK, {100: 1.0, 200: 90.0 * number})
    told = report([tmp_path / "ledger"])
    (panel,) = next(item for item in items(told) if isinstance(item, Plot) and item.kind == "curves").drawings
    assert [colour for _, colour, _ in panel.lines] == [*range(8), None, None]
    write_report(told, tmp_path / "out")


@pytest.mark.slow
def test_from_training_to_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two trainings and their evaluations by the real commands, and what a benchmark writes beside them."""
    task = "dmc/cartpole-swingup"
    for seed in ("1", "2"):
        folder = write_run(tmp_path / "ledger", suite="tiny", task=task, method="none", seed=int(seed), steps=50)
        small = "--preset debug --method none --steps 50 --environment.action-repeat 40"
        often = "--evaluate-every 25 --evaluate-episodes 1"
        train = ("train", task, *small.split(), *often.split(), "--seed", seed, "--out", str(folder / "run"))
        looks = ("--on", "train", "color_hard", "--episodes", "2", "--out", str(folder / "results.json"))
        for command in (train, ("evaluate", str(folder / "run"), *looks)):
            assert main(command) == 0
    assert main(["bench", "report", str(tmp_path / "ledger"), "--out", str(tmp_path / "report")]) == 0
    assert "one policy alone, sac" in capsys.readouterr().out
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    (suite,) = found["suites"]
    assert [look["perturbation"] for look in suite["looks"]] == ["train", "color_hard"]
    assert suite["looks"][1]["note"] == "generated" and suite["looks"][1]["quality"] == "draft"
    assert suite["looks"][0]["returns"]["sac"][task]["seeds"] == 2
    assert [step for step, _ in suite["learning_curves"][0]["curves"]["sac"]["1"]] == [25, 50]
    _, console = visit((tmp_path / "report" / "report.html").read_text(encoding="utf-8"), tmp_path)
    assert console == []
