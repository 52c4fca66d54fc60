"""``foveal demo`` from a shell, on the real simulator, and its page in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

import foveal
from chromium import visit
from foveal.cli import main
from foveal.commands import demo
from foveal.commands.demo import CONDITIONS, DemoOptions
from foveal.evaluation.results import Results
from foveal.training.run_folder import read_records
from shell import foveal_command


@pytest.mark.slow
def test_trains_evaluates_explains_and_names_its_page_last(tmp_path: Path) -> None:
    done = foveal_command("demo", "--preset", "debug", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.splitlines()[-1])
    assert page == tmp_path / "demo" / "index.html"
    assert "train: 100%" in done.stderr and "<00:00" in done.stderr  # the bar, with a time left

    run = tmp_path / "demo" / "run"
    assert [record["step"] for record in read_records(run / "evaluations.jsonl")] == [60, 120]
    agent = foveal.load(run)
    assert agent.steps == 120 and agent.updates > 0

    source = page.read_text(encoding="utf-8")
    assert "generated" in source and "DMC-GB" not in source.split("</table>")[0]
    for condition in CONDITIONS:
        assert condition in done.stdout and condition in source

    for width in (1000, 400):
        found, console = visit(source, tmp_path, width=width)
        assert console == []
        assert found["images"] and min(found["images"]) > 0
        assert len(found["players"]) == len(CONDITIONS)
        assert all(player["shown"] and all(player["painted"]) for player in found["players"])
        assert found["wide"] <= 0


def test_a_second_demo_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders = []

    def fake(options: DemoOptions, scale: object, out: Path) -> Path:
        folders.append(out)
        (out / "run").mkdir(parents=True)
        return out / "index.html"

    monkeypatch.setattr(demo, "run_demo", fake)
    assert [main(["demo"]) for _ in range(3)] == [0, 0, 0]
    assert folders == [Path("demo"), Path("demo-2"), Path("demo-3")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "paper"], "the demo has the presets compact and debug, not 'paper'"),
        (["--out", "taken"], "taken"),
        (["--data", "nowhere", "--preset", "debug"], "nowhere"),
        (["--seed", "-1", "--preset", "debug"], "seed"),
    ],
)
def test_a_mistake_is_told_before_any_work(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("precious")
    assert main(["demo", *arguments]) == 2
    told = capsys.readouterr()
    assert words in told.err and len(told.err.splitlines()) == 1 and told.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken" / "thesis.txt").read_text() == "precious"


def test_what_ships_was_made_under_the_conditions_of_the_demo() -> None:
    shipped = demo._shipped("sac", DemoOptions())
    assert isinstance(shipped, Results)
    assert tuple(condition.perturbation for condition in shipped.conditions) == CONDITIONS
    assert demo._shipped("sac", DemoOptions(preset="debug")) is None
