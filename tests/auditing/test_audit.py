"""``foveal.audit`` from one end to the other: in environments, behind a shield, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import foveal
from foveal.auditing import Audit
from foveal.auditing.adapters import AdapterOptions, adapted
from foveal.auditing.places import place_for
from foveal.auditing.playing import Player
from foveal.cli import main
from foveal.errors import FovealError
from foveal.shield.wrapping import Restored
from small_policies import LENGTH, SIDE, Sides, Told, guessing, listening, looking


def audited(policy: Any, env: Any, **options: Any) -> Audit:
    settings = {"changes": ["hue", "delayed"], "severities": [1], "maps": (), "progress": False, **options}
    return foveal.audit(policy, env, settings.pop("out", None), **settings)


# --- what it finds ----------------------------------------------------------------------------------------------------


def test_a_policy_that_needs_its_camera_is_found_to_look() -> None:
    found = audited(looking, Sides())
    assert found.verdict == "looks"
    assert found.clean[0].mean == LENGTH and found.clean[0].kept == 1.0
    assert found.chance is not None and 2 < found.chance.mean < 8
    delayed, hue = found.curves()
    assert delayed.change == "delayed" and delayed.broke is not None and delayed.points[0].sure
    assert hue.broke is None and hue.points[0].kept == 1.0


def test_a_policy_that_ignores_its_camera_is_called_blind() -> None:
    found = audited(listening, Sides(beside=True))
    assert found.verdict == "blind"
    assert {point.kept for point in (*found.blind, *found.points)} == {1.0}


def test_one_that_knows_nothing_has_nothing_to_lose() -> None:
    found = audited(guessing, Sides())
    assert found.verdict == "unclear" and "nothing to lose" in found.summary[0]


def test_success_is_measured_where_the_environment_tells_it() -> None:
    found = audited(looking, Sides(success=True))
    assert found.measure == "success rate"
    assert (found.clean[0].mean, found.clean[0].low) == (1.0, pytest.approx(0.566, abs=1e-3))
    assert found.verdict == "looks"


@pytest.mark.slow
def test_every_condition_has_the_same_episodes_and_a_seed_repeats_them() -> None:
    first, again, other = (audited(looking, Sides(), seed=seed) for seed in (3, 3, 4))
    assert first.points == again.points and first.blind == again.blind
    assert [episode.seed for episode in first.points[0].episodes] == [3, 4, 5, 6, 7]
    assert first.chance != other.chance


def test_a_rehearsal_says_what_there_is_to_see_and_films_are_of_whole_episodes() -> None:
    adapter = adapted(looking, AdapterOptions())
    player = Player(place_for(adapter, Sides()), adapter, episodes=5, seed=0)
    cameras, masks = player.rehearse()
    assert [camera.path for camera in cameras] == [()] and not masks
    films = player.filmed(Sides())
    assert len(films) == 3 and films[0][()].shape == (LENGTH, 3, SIDE, SIDE)


def test_episodes_are_cut_where_that_is_asked() -> None:
    found = audited(looking, Sides(), longest=4)
    assert {episode.length for point in (*found.points, *found.clean) for episode in point.episodes} == {4}


@pytest.mark.slow
def test_backgrounds_are_changed_where_somebody_tells_the_task() -> None:
    found = audited(looking, Told(), changes=["background_flicker"], severities=[5])
    assert found.points[0].kept is not None and found.points[0].kept < 0.8
    assert found.settings["masks"]


@pytest.mark.slow
def test_an_environment_given_as_an_object_stays_open_and_one_that_was_made_is_closed() -> None:
    env, made = Sides(), []

    def make() -> Sides:
        made.append(Sides())
        return made[-1]

    audited(looking, env)
    audited(looking, make)
    assert not env.closed and made and all(one.closed for one in made)


def test_an_id_of_gymnasiums_is_enough(request: pytest.FixtureRequest) -> None:
    gymnasium.register("Sides-v0", entry_point=Sides, max_episode_steps=LENGTH)
    request.addfinalizer(lambda: gymnasium.registry.pop("Sides-v0"))
    found = audited(looking, "Sides-v0")
    assert found.place == "Sides-v0" and found.clean[0].mean == LENGTH


# --- behind a shield --------------------------------------------------------------------------------------------------


class Perfect:
    """A shield that draws the scene anew from the brighter half, and doubts pictures that are bright all over."""

    image_size, limit = SIDE, 100.0

    def restore(self, frames: Any) -> Restored:
        given = np.full_like(frames, 70)
        for number, frame in enumerate(frames):
            side = int(frame[:, :, 18:].astype(float).mean() > frame[:, :, :18].astype(float).mean())
            given[number, :, 10:26, 4 + 16 * side : 16 + 16 * side] = 180
        doubt = frames.mean((1, 2, 3), dtype=np.float32)
        return Restored(given, np.ones((len(frames), SIDE, SIDE), np.float32), doubt)


def by_absolute_brightness(observation: Any) -> int:
    """Looks, but takes every bright half for the block."""
    return int(observation[:, SIDE // 2 :].mean() > 82)


@pytest.mark.slow
def test_every_row_is_measured_again_behind_a_shield(tmp_path: Path) -> None:
    found = audited(
        by_absolute_brightness,
        Sides(),
        changes=["brightness"],
        severities=[3, 5],
        shield=Perfect(),
        out=tmp_path / "page.html",
    )
    assert found.shield == "Perfect" and len(found.clean) == 2 and len(found.blind) == 8
    (bare,), (behind,) = found.curves(), found.curves(shielded=True)
    assert bare.broke is not None and behind.broke is None
    assert {point.alarms for point in bare.points} == {None}
    assert found.clean[1].alarms == 0.0
    assert behind.points[0].alarms is not None and 0 < behind.points[-1].alarms < 1  # brighter or darker
    assert "Behind the shield it is 0 instead of 1." in found.summary[1]
    page = (tmp_path / "page.html").read_text()
    assert "behind the shield" in page and "alarms" in page


def test_what_a_shield_knew_and_where_it_is_from_is_remarked() -> None:
    shield: Any = Perfect()
    shield.privileged, shield.env_id = True, "Elsewhere"
    found = audited(looking, Sides(), changes=["hue"], episodes=1, shield=shield)
    assert "privileged" in found.remarks[0] and "the look of Elsewhere" in found.remarks[1]
    assert audited(looking, Sides(), changes=["hue"], episodes=1).remarks == ()


def test_a_shield_of_another_size_is_refused() -> None:
    shield = Perfect()
    shield.image_size = 84
    with pytest.raises(FovealError, match=r"frames of 84 x 84 pixels, and the picture is uint8 \(36, 36, 3\)"):
        audited(looking, Sides(), shield=shield)


# --- what it refuses --------------------------------------------------------------------------------------------------


class NoPicture(Sides):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Box(-1, 1, (4,))


class ManyActions(Sides):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = spaces.Dict({"hand": spaces.Discrete(2)})


def spaced(observed: Any = None, actions: Any = None) -> Any:
    return SimpleNamespace(observation_space=observed, action_space=actions, predict=lambda seen: 0)


@pytest.mark.parametrize(
    ("policy", "env", "said"),
    [
        (looking, NoPicture, r"no picture among its observations, float32 \(4,\)"),
        (spaced(spaces.Box(0, 255, (3, 84, 84), np.uint8)), Sides, r"uint8 \(3, 84, 84\).*uint8 \(36, 36, 3\)"),
        (spaced(actions=spaces.Discrete(5)), Sides, r"Discrete\(5\).*Discrete\(2\)"),
        (lambda seen: np.zeros(3), Sides, r"shape \(3,\).*Discrete\(2\)"),
        (
            lambda seen: seen["camera"],
            Sides,
            r"can't act on what the environment shows, uint8 \(36, 36, 3\): IndexError",
        ),
        (looking, None, r"name an environment .*--env.*--frames"),
        (looking, "dmc/walker-wlak", "unknown environment 'dmc/walker-wlak': did you mean"),
        (looking, "Sidse-v1", "unknown environment 'Sidse-v1'"),
        (looking, 7, "a builtins.int is no environment"),
        (looking, ManyActions, r"takes Dict\(.*wrap it so that it takes Box or Discrete ones"),
        (looking, lambda: 7, "made a int, and no gymnasium.Env"),
    ],
)
def test_what_does_not_fit_is_refused_before_work_starts(policy: Any, env: Any, said: str) -> None:
    with pytest.raises(FovealError, match=said):
        audited(policy, env)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"severities": [7]}, "from 1 to 5, not 7"),
        ({"changes": ["blurr"]}, "unknown change 'blurr': did you mean 'blur'"),
        ({"changes": ["color_hard"]}, "simulator of foveal's own"),
        ({"episodes": 0}, "episodes is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"longest": 0}, "longest is 0"),
        ({"frames": "film.mp4"}, "leave one of env and frames out"),
        ({"out": "."}, "is a folder"),
        ({"json": "."}, "is a folder"),
        ({"shield": "pretrained:nothing"}, "no pretrained shield 'nothing'"),
        ({"data": "nowhere"}, "data is 'nowhere'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(FovealError, match=said):
        audited(looking, Sides(), **options)


def test_a_reward_that_is_no_number_stops_the_audit() -> None:
    class Broken(Sides):
        def step(self, action: Any) -> Any:
            seen, _, terminated, truncated, info = super().step(action)
            return seen, float("nan"), terminated, truncated, info

    with pytest.raises(FovealError, match="the reward of Broken is nan at step 1"):
        audited(looking, Broken())


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_audits_a_policy_of_foveals_with_and_without_a_shield(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, record = tmp_path / "report.html", tmp_path / "report.json"
    arguments = ["audit", "pretrained:walker-stand-sgqn", "--env", "dmc/walker-stand", "--out", str(page)]
    arguments += ["--json", str(record), "--episodes", "1", "--longest", "3", "--severities", "3,5"]
    arguments += ["--changes", "noise,background", "frozen", "color_hard", "--shield", "pretrained:walker-stand"]
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert told.out.rstrip().endswith(str(page)) and "25 conditions" in told.err
    found = json.loads(record.read_text())
    assert found["format"] == "foveal.audit/1" and found["place"] == "dmc/walker-stand"
    assert found["policy"]["kind"].startswith("sgqn on sac")
    assert {row["change"] for row in found["changes"]} == {"noise", "background", "frozen", "color_hard"}
    assert {row["severity"] for row in found["changes"]} == {3, 5, None}
    assert [row["note"] for row in found["changes"] if row["change"] == "color_hard"] == ["generated"] * 2
    assert all(row["episodes"][0]["length"] == 3 for row in found["changes"])
    assert all((row["alarms"] is not None) == row["shielded"] for row in found["changes"])
    assert [row["map"] for row in found["maps"]] == ["gradient", "guided_backprop"]
    assert all(set(row["parts"]) > {"precision", "TID"} and row["likeness"] for row in found["maps"])
    text = page.read_text()
    assert "color_hard" in text and "1 episode can make nothing sure" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.zip", "--env", "dmc/walker-walk"], "there is no policy nowhere.zip"),
        (
            ["pretrained:walker-stand-sgqn", "--severities", "3,six"],
            "a severity is a whole number from 1 to 5, not six",
        ),
        pytest.param(
            ["pretrained:walker-stand-sgqn", "--frames", "nowhere"],
            "no folder of frames and no film nowhere",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_command_prints_one_line_for_a_mistake(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("foveal: error: ") and said in told and told.count("\n") == 1
