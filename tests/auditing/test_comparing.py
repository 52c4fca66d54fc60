"""Two policies in the same episodes: differences are paired, and the page shows both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import foveal
from chromium import visit
from foveal.auditing.conditions import Condition
from foveal.auditing.filming import CHANGES, worth_filming
from foveal.auditing.report_comparison import policy_names
from foveal.auditing.report_films import fitted
from foveal.auditing.results import Difference, Point
from foveal.cli import main
from foveal.errors import FovealError
from foveal.evaluation.statistics import bootstrap_interval
from small_policies import LENGTH, SIDE, Halves, Sides, guessing, looking

PROBE = """
addEventListener("load", () => setTimeout(() => {
  const player = document.querySelector(".compare");
  const [left, right] = player.querySelectorAll(".side");
  const of = (side) => ({
    label: side.querySelector("canvas").getAttribute("aria-label"),
    told: side.querySelector("output").textContent,
    width: side.querySelector("canvas").width,
  });
  const bytes = (side) => { const c = side.querySelector("canvas");
    return [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data].reduce((a, b) => a + b, 0); };
  const slider = player.querySelector("input[type=range]");
  const first = [of(left), of(right)], painted = [bytes(left), bytes(right)];
  slider.value = slider.max;
  slider.dispatchEvent(new Event("input"));
  const last = [of(left), of(right)];
  const choice = right.querySelector("select[data-choice=layer]");
  choice.value = 0;
  choice.dispatchEvent(new Event("change"));
  const changed = of(right);
  const link = document.querySelector("a[data-condition]");
  link.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
  const jumped = [of(left), of(right)], focused = document.activeElement === slider;
  player.querySelector("button").click();
  const button = player.querySelector("button").textContent;
  const parts = [...player.querySelectorAll("select, input, canvas")];
  const labelled = parts.every((part) => part.getAttribute("aria-label"));
  const images = [...document.images].map((image) => image.complete ? image.naturalWidth : 0);
  const wide = document.documentElement.scrollWidth - innerWidth;
  const probe = document.body.appendChild(document.createElement("pre"));
  probe.id = "probe";
  const link_label = link.getAttribute("aria-label");
  probe.textContent = JSON.stringify({ shown: !player.hidden, first, painted, last, changed, jumped, focused, button,
    labelled, images, wide, link_label });
}, 200));
"""


def clumsy(observation: Any) -> int:
    """Looks, but is fooled where the picture is bright."""
    return looking(observation) if observation.mean() < 110 else 0


def audited(policy: Any, env: Any, **options: Any) -> foveal.Audit:
    settings = {"changes": ["brightness", "hue"], "severities": [1, 5], "maps": (), "out": None, **options}
    return foveal.audit(policy, env, progress=False, **settings)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> foveal.Audit:
    page = tmp_path_factory.mktemp("compared") / "page.html"
    return audited(looking, Sides(), against=clumsy, out=page)


# --- the numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_differences_are_paired_by_episode(found: foveal.Audit) -> None:
    assert found.against is not None and found.against.maps == ()
    others = {point.condition: point for point in (*found.against.clean, *found.against.blind, *found.against.points)}
    points = {point.condition: point for point in (*found.clean, *found.blind, *found.points)}
    assert {one.condition for one in found.differences} == set(points)
    for one in found.differences:
        expected = np.subtract(points[one.condition].values, others[one.condition].values)
        assert one.values == tuple(expected) and one.mean == pytest.approx(expected.mean())
        assert (one.low, one.high) == bootstrap_interval(expected)
    seeds = [[episode.seed for episode in audit.points[0].episodes] for audit in (found, found.against)]
    assert seeds[0] == seeds[1] == [0, 1, 2, 3, 4]


def test_a_policy_beside_itself_differs_in_nothing() -> None:
    found = audited(looking, Sides(), against=looking, changes=["noise"], severities=[5])
    assert {value for one in found.differences for value in one.values} == {0.0}
    assert not any(one.sure for one in found.differences)
    assert policy_names(found) == ["function looking, the first", "function looking, the other"]


@pytest.mark.slow
def test_what_is_surely_better_is_said(found: foveal.Audit) -> None:
    worst = max(found.differences, key=lambda one: one.mean)
    assert worst.condition == Condition("brightness", 5) and worst.sure
    better = sum(one.sure for one in found.differences[5:])
    assert found.summary[-1].startswith(f"Beside function clumsy in the same episodes it is surely better at {better} ")
    assert "difference is +0 (+0 to +0)" in found.summary[-1]


@pytest.mark.parametrize(
    ("one", "other", "sure"),
    [
        ([3.0] * 5, [1.0] * 5, True),
        ([1.0] * 5, [3.0] * 5, True),
        ([3.0] * 4, [1.0] * 4, False),
        ([1, 3] * 3, [2] * 6, False),
    ],
)
def test_a_difference_is_sure_on_one_side_of_zero_and_of_enough_episodes(one: Any, other: Any, sure: bool) -> None:
    points = [Point(Condition("hue", 1), tuple(values), 0.0, 0.0, 0.0) for values in (one, other)]
    assert Difference.of(*points).sure is sure


def test_all_of_it_is_written_as_json_and_printed(found: foveal.Audit, tmp_path: Path) -> None:
    state = json.loads(found.save(tmp_path / "report.json").read_text())
    assert state["against"]["policy"]["kind"] == "function clumsy" and len(state["against"]["changes"]) == 4
    assert [row["values"] for row in state["differences"]] == [list(one.values) for one in found.differences]
    told = str(found)
    assert "return, difference" in told and "Against:\nfunction clumsy in Sides" in told
    assert "against" not in audited(looking, Sides(), changes=["hue"], episodes=1).as_dict()


def test_frames_and_policies_that_do_not_fit_are_refused_before_work_starts() -> None:
    with pytest.raises(FovealError, match="leave one of against and frames out"):
        foveal.audit(looking, None, None, frames="film.mp4", against=guessing)
    with pytest.raises(FovealError, match=r"shape \(3,\).*Discrete\(2\)"):
        audited(looking, Sides(), against=lambda seen: np.zeros(3))


# --- the films --------------------------------------------------------------------------------------------------------


def test_films_are_of_the_episodes_that_were_measured(found: foveal.Audit) -> None:
    assert found.against is not None
    for audit in (found, found.against):
        points = {point.condition: point for point in (*audit.clean, *audit.points)}
        assert [film.condition for film in audit.films] == [point.condition for point in worth_filming(found)]
        for film in audit.films:
            assert film.episode == points[film.condition].episodes[0]
            assert film.frames.shape == (LENGTH, SIDE, SIDE, 3) and film.steps == tuple(range(LENGTH))
            assert film.totals[0] == 0.0 and film.totals[-1] in (film.episode.total, film.episode.total - 1.0)
    one, other = found.films[0], found.against.films[0]
    assert np.array_equal(one.frames, other.frames)  # the sides are drawn alike, whatever was done
    assert len(found.films) == 1 + min(CHANGES, 2)


def test_without_a_page_there_are_no_films() -> None:
    assert audited(looking, Sides(), changes=["hue"], episodes=1).films == ()


@pytest.mark.slow
def test_long_episodes_are_thinned_and_maps_are_beside_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("foveal.auditing.comparing.MOMENTS", 4)
    monkeypatch.setattr("foveal.auditing.filming.LARGEST", 24)
    page = tmp_path / "page.html"
    options: Any = {"episodes": 1, "maps": ["gradient", "occlusion"], "pixels": "unit", "out": page}
    found = audited(Halves(), Sides(), changes=["hue"], **options)
    film = found.films[1]
    assert film.steps == (0, 3, 6, 9) and film.frames.shape == (4, 24, 24, 3)
    assert list(film.maps) == ["gradient"] and film.maps["gradient"].shape == (4, 24, 24)  # occlusion takes too long
    assert film.levels["gradient"] > 0


# --- the page ---------------------------------------------------------------------------------------------------------


def test_both_curves_the_differences_and_the_films_are_on_the_page(found: foveal.Audit) -> None:
    assert found.page is not None
    page = found.page.read_text(encoding="utf-8")
    for said in ("Beside the other policy", "What it did", "hue, severity 5, function clumsy", 'data-choice="policy"'):
        assert said in page
    assert page.count('class="film"') == 2 and page.count('id="film-') == 6
    assert re.search(r'<svg[^>]* role="group" aria-label="return over the severity of brightness"', page)


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of two policies with maps."""
    page = tmp_path_factory.mktemp("looked") / "page.html"
    audited(Halves(), Sides(), against=Halves(), episodes=2, maps=["gradient"], pixels="unit", out=page)
    return page.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1000, 500])
def test_left_and_right_are_chosen_played_and_reached_from_curves(width: int, looked: str, tmp_path: Path) -> None:
    probed, console = visit(looked, tmp_path, width=width, probe=PROBE)
    assert console == [] and probed["wide"] <= 0 and probed["shown"] and probed["labelled"]
    assert min(probed["images"]) >= SIDE and min(probed["painted"]) > 0
    first, second = (side["label"] for side in probed["first"])
    assert "the first" in first and "the other" in second and first.endswith("gradient")
    assert probed["first"][0]["told"] == "step 0 · return so far 0.0"
    assert probed["last"][0]["told"].startswith(f"step {LENGTH - 1} · return so far")
    assert probed["changed"]["label"].endswith("as it was seen")
    name, severity = re.fullmatch(r"show (\w+), severity (\d), in the player", probed["link_label"]).groups()
    assert all(f"{name}, severity {severity}" in side["label"] for side in probed["jumped"])
    assert probed["focused"] and probed["button"] == "Pause"


def test_films_of_noise_lose_quality_before_a_page_grows_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    sheets = {"noise": noise, "grey": np.full_like(noise, 90)}
    whole = fitted(sheets)
    monkeypatch.setattr("foveal.auditing.report_films.BUDGET", len(whole["noise"]) - 1)
    smaller = fitted(sheets)
    assert smaller["grey"] == whole["grey"]  # the largest first
    assert sum(map(len, smaller.values())) < len(whole["noise"])
    assert whole["noise"].startswith("data:image/webp;base64,") and smaller["noise"].startswith("data:image/webp;")


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_the_command_compares_two_policies(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gymnasium.register("Sides-v0", entry_point=Sides, max_episode_steps=LENGTH)
    request.addfinalizer(lambda: gymnasium.registry.pop("Sides-v0"))
    policy, page = tmp_path / "halves.pt", tmp_path / "page.html"
    torch.jit.trace(Halves(), torch.zeros(1, 3, SIDE, SIDE)).save(str(policy))
    arguments = ["audit", str(policy), "--against", str(policy), "--env", "Sides-v0", "--out", str(page)]
    arguments += ["--pixels", "unit"]
    arguments += ["--episodes", "1", "--longest", "3", "--severities", "5", "--changes", "noise", "--maps", "gradient"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "Against:" in told and re.search(r"noise:5 +\+0 ", told)
    assert page.stat().st_size < 2_000_000
