"""Whether maps follow what matters: closed forms on made-up maps and screens, and one short run of a fresh agent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("ale_py", reason="needs the extra 'atari'")

import fls_causal
import fls_cues
from fls_causal import (
    BALL,
    SIDE,
    Change,
    ball_changes,
    ball_of,
    ceiling,
    even_look,
    findings,
    following,
    measured,
    mirrored,
    played,
    random_look,
    region,
    seen,
    share,
)
from fls_cues import LASTING, PLACES, Planted, changes, paired_following, planted, predictive_side, value_rises

import foveal
from foveal.atari.vector import AtariVector
from foveal.envs import games
from foveal.errors import FovealError
from foveal.networks.attention import Rendering

SPARSE = Rendering(36, 8, 0)


def screens(count: int = 6, column: int = 30, row: int = 150) -> NDArray[np.uint8]:
    """(count, 4, 210, 160, 3) of a ball of 2 x 4 pixels that falls, with bricks and paddle of its colour."""
    found = np.zeros((count, 4, 210, 160, 3), np.uint8)
    found[..., 57:63, 8:152, :] = found[..., 189:193, 60:76, :] = BALL
    for moment in range(count):
        for frame in range(4):
            top = row + moment + 2 * frame
            found[moment, frame, top : top + 4, column : column + 2] = BALL
    return found


def on_bright(observations: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A map that lies on what is bright between bricks and paddle in the newest frame, and nowhere else."""
    maps = np.zeros((len(observations), SIDE, SIDE))
    maps[:, 40:74, 5:79] = observations[:, -1, 40:74, 5:79]
    return maps


def drawn_at(position: int) -> NDArray[np.float64]:
    grid = torch.zeros(1, 1, 7, 7)
    grid.view(-1)[position] = 1
    return SPARSE.render(grid, (SIDE, SIDE))[0].numpy().astype(np.float64)


# --- the ball ---------------------------------------------------------------------------------------------------------


def test_the_ball_is_found_and_bricks_and_paddle_are_not() -> None:
    ball = ball_of(screens())
    assert (ball.sum((2, 3)) == 8).all()
    rows, columns = np.nonzero(ball[0, -1])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (156, 159, 30, 31)
    other = np.nonzero(mirrored(ball)[0, -1])[1]
    assert (other.min(), other.max()) == (128, 129) and 30 - 8 == 151 - 129  # as far from the other wall


def test_nothing_but_the_ball_is_changed() -> None:
    found = ball_changes(screens())
    ball = ball_of(screens())
    for name, change in found.items():
        differs = (change.before != change.after).any(1)
        touched = region(ball) | region(mirrored(ball))
        assert differs.any((1, 2)).all() and not (differs & ~touched).any(), name
    np.testing.assert_array_equal(found["moved"].before, seen(screens()))
    assert not found["erased"].reached.any() and not (found["moved"].left & found["moved"].reached).any()
    field = found["erased"].after[:, :, 40:74, 5:79]
    assert not field.any()


def test_moments_without_a_ball_are_left_out() -> None:
    some = screens()
    some[2, :, 95:188, 8:152] = 0
    assert len(ball_changes(some)["moved"].before) == 5
    with pytest.raises(FovealError, match="ball is in none of these moments: take more"):
        ball_changes(some[2:3])
    with pytest.raises(FovealError, match="in none"):
        ball_changes(screens(column=79))  # in the middle, where moving it leads nowhere


# --- the measure ------------------------------------------------------------------------------------------------------


def test_shares_by_hand() -> None:
    maps, where = np.ones((3, 4, 4)), np.zeros((3, 4, 4), bool)
    where[:, 0] = True
    maps[1, 0], maps[2] = 3.0, 0.0
    np.testing.assert_allclose(share(maps, where), [0.25, 12 / 24, np.nan])


def test_a_map_on_the_object_follows_and_others_do_not() -> None:
    flat = np.ones((SIDE, SIDE))
    moved, erased = (ball_changes(screens())[name] for name in ("moved", "erased"))
    assert measured(moved, on_bright, flat).following.mean == 1.0
    assert measured(moved, even_look(flat), flat).following.mean == 0.0
    assert measured(moved, even_look(drawn_at(5)), flat).following.mean == 0.0  # uneven, but always the same
    assert measured(moved, even_look(flat), flat).on_it == pytest.approx(1.0)
    noise = measured(moved, random_look(0), flat).following
    assert abs(noise.mean) < 0.01
    region_share = moved.left.mean()
    assert measured(moved, on_bright, flat).on_it == pytest.approx(1 / region_share, rel=0.05)

    def half_even(observations: NDArray[np.uint8]) -> NDArray[np.float64]:
        maps = on_bright(observations)
        return maps / maps.sum((1, 2), keepdims=True) + 1 / SIDE**2

    half = measured(moved, half_even, flat)
    assert half.following.mean == pytest.approx(0.5)  # half of its mass is even
    assert np.isnan(following(erased, on_bright(erased.before), on_bright(erased.after))).all()  # nothing is left


def test_a_map_that_comes_where_the_object_was_follows_the_other_way() -> None:
    moved = ball_changes(screens())["moved"]
    back = Change(moved.before, moved.after, moved.reached, moved.left)
    assert following(back, on_bright(back.before), on_bright(back.after)).mean() == -1.0


def test_the_ceiling_of_a_coarse_map() -> None:
    moved = ball_changes(screens())["moved"]
    best = ceiling(moved, lambda maps: SPARSE.render(maps, (SIDE, SIDE)), (7, 7))
    area = moved.left.sum((1, 2)).mean()
    assert best <= area / 36**2 + 1e-9 and best > 0.5 * area / 36**2  # all mass on one field of 36 x 36 pixels
    one = ball_changes(screens(1))["moved"]
    places = torch.from_numpy(np.stack([one.left[0], one.reached[0]])).float()
    sharp = ceiling(one, lambda maps: torch.einsum("np,phw->nhw", maps[:, 0, 0], places), (1, 2))
    assert sharp == pytest.approx(1.0)  # positions that are drawn as the object is


# --- cues -------------------------------------------------------------------------------------------------------------


def planted_games(count: int = 2, predictive: int = 0, **rules: Any) -> Planted:
    return Planted("atari/freeway", count, 3, predictive=predictive, frame_limit=4000, **rules)


def steps_of(env: Planted, steps: int) -> list[Any]:
    return [env.step(np.zeros(env.num_envs, np.int64)) for _ in range(steps)]


@pytest.mark.slow
@pytest.mark.parametrize("predictive", [0, 1])
def test_one_square_is_followed_by_a_reward_and_its_twin_is_not(predictive: int) -> None:
    env = planted_games(predictive=predictive)
    env.reset()
    shown = np.zeros(2, int)
    lengths, paid_after = [], []
    before = np.zeros((2, 2), bool)
    for observations, rewards, *_ in steps_of(env, 400):
        squares = np.stack([(observations[:, -1, rows, cols] == 255).all((1, 2)) for rows, cols in PLACES], 1)
        assert not squares.all(1).any()
        for game in (0, 1):
            side = int(squares[game].argmax())
            shown[game] = shown[game] + 1 if squares[game].any() else 0
            assert rewards[game] == float(shown[game] == LASTING and side == predictive)  # nobody crosses by standing
            if shown[game] == LASTING:
                lengths.append(side)
                paid_after.append(rewards[game])
                shown[game] = 0
        before = squares
    assert before.shape == (2, 2)
    assert {0, 1} == set(lengths) and sum(paid_after) == lengths.count(predictive) > 3


@pytest.mark.slow
def test_squares_pass_through_the_stack_and_end_with_the_episode() -> None:
    env = Planted("atari/freeway", 1, 3, predictive=0, frame_limit=400)
    plain = AtariVector("atari/freeway", 1, 3, frame_limit=400)
    env.reset(), plain.reset()
    for (observations, *_, infos), bare in zip(steps_of(env, 220), steps_of(plain, 220), strict=True):  # type: ignore[arg-type]
        differs = (observations != bare[0])[0]
        for rows, columns in PLACES:
            differs[:, rows, columns] = False
        assert not differs.any()
        if "final_obs" in infos:
            np.testing.assert_array_equal(observations, bare[0])  # none at the beginning of an episode


@pytest.mark.slow
def test_games_with_squares_go_on_from_their_state() -> None:
    env, other = planted_games(), planted_games()
    env.reset(), other.reset()
    steps_of(env, 50)
    assert other.load_state(env.state())
    for one, two in zip(steps_of(env, 60), steps_of(other, 60), strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


def test_cue_and_twin_are_measured_apart() -> None:
    observations = np.random.default_rng(0).integers(0, 90, (20, 4, SIDE, SIDE)).astype(np.uint8)
    both = changes(observations, predictive=1)
    np.testing.assert_array_equal(both["cue"].after, planted(observations, 1).after)
    knows, sees = (both["cue"].reached[0] * 1.0, (both["cue"].reached[0] | both["twin"].reached[0]) * 1.0)

    def look(wanted: NDArray[np.float64]) -> Any:
        """On squares where it is wanted, if one is to be seen there; else even."""

        def maps(seen_: NDArray[np.uint8]) -> NDArray[np.float64]:
            bright = (seen_[:, -1] == 255) * wanted
            return np.where(bright.any((1, 2), keepdims=True), bright, 1.0)

        return maps

    flat = np.ones((SIDE, SIDE))
    found = {name: measured(change, look(knows), flat).following.mean for name, change in both.items()}
    area = both["cue"].reached[0].mean()
    assert found == {"cue": pytest.approx(1 - area), "twin": 0.0}
    found = {name: measured(change, look(sees), flat).following.mean for name, change in both.items()}
    assert found["cue"] == found["twin"] == pytest.approx(1 - area)


class Knowing:
    """An agent whose value of a state is how bright the left square's place is."""

    env_id = "atari/breakout"
    device = torch.device("cpu")

    def values(self, obs: torch.Tensor) -> torch.Tensor:
        return obs[:, -1, 48:56, 8:16].mean((1, 2))[None]


def test_whether_an_agent_knows_the_cue() -> None:
    both = changes(np.zeros((12, 4, SIDE, SIDE), np.uint8), predictive=0)
    rises = value_rises(Knowing(), both)
    assert (rises["cue"] == 255.0).all() and (rises["twin"] == 0.0).all() and len(rises["cue"]) == 12


# --- a fresh agent ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh") / "agent"
    agent = foveal.Agent("atari/breakout", preset="debug", encoder="sparse-fls", training={"precision": "float32"})
    agent.save(folder, policy_only=True)
    return folder


@pytest.mark.slow
def test_screens_in_colour_are_what_the_agent_saw(fresh: Path) -> None:
    agent: Any = foveal.load(fresh)
    found = played(agent, 12, 3, 5)
    again, grey = foveal.load(fresh), AtariVector("atari/breakout", 1, 5, **games.rules(agent.env_options))
    observation, _ = grey.reset()
    for step in range(1, 37):
        observation = grey.step(again.predict(observation)[0])[0]  # type: ignore[union-attr]
        if step % 3 == 0:
            difference = np.abs(seen(found[step // 3 - 1 : step // 3]).astype(int) - observation)
            assert difference.max() <= 2  # rounding
    assert ball_of(found)[:, -1].any((1, 2)).sum() > 2


@pytest.mark.slow
def test_the_study_of_the_ball(fresh: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    out = tmp_path / "ball.json"
    monkeypatch.setattr(sys, "argv", ["x", str(fresh), "--moments", "30", "--every", "3", "--json", str(out)])
    fls_causal.main()
    state, shown = json.loads(out.read_text()), capsys.readouterr().out
    assert state["moments"] > 3 and f"{state['moments']} moments with a ball" in shown
    moved = state["changes"]["moved"]
    assert set(moved) == {"attention", "gradient", "even", "random"}
    assert moved["even"]["following"]["mean"] == pytest.approx(0.0, abs=1e-12)
    assert abs(moved["attention"]["following"]["mean"]) < moved["attention"]["ceiling"] < 1
    assert moved["even"]["on_it"] == pytest.approx(1.0)
    assert shown.count("| erased | gradient |") == 2  # and before training
    for kind in ("attention", "gradient"):  # a fresh agent has learnt nothing; it was kept in half precision
        before, now = (state[when]["moved"][kind]["following"]["mean"] for when in ("untrained", "changes"))
        assert before == pytest.approx(now, abs=1e-3)
    foveal.Agent("atari/pong", preset="debug", encoder="nature").save(tmp_path / "pong")
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "pong")])
    with pytest.raises(FovealError, match="plays atari/pong, and the ball is Breakout's"):
        fls_causal.main()


@pytest.mark.slow
def test_the_study_of_cues(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    run, out = tmp_path / "run", tmp_path / "cues.json"
    line = f"x train atari/breakout --preset debug --seed 1 --steps 64 --out {run}"
    monkeypatch.setattr(sys, "argv", line.split())
    fls_cues.main()
    monkeypatch.setattr(sys, "argv", f"x measure {run} --moments 20 --every 2 --json {out}".split())
    fls_cues.main()
    state = json.loads(out.read_text())
    assert set(state["changes"]) == {"cue", "twin"} and state["steps"] == 64 and predictive_side(1) == 1
    assert set(state["paired"]) == set(state["paired_untrained"]) == {"attention", "gradient"}
    assert set(state["value"]) == {"cue", "twin", "cue_minus_twin"} and set(state["untrained"]) == {"cue", "twin"}
    assert state["value"]["cue_minus_twin"]["mean"] == pytest.approx(state["value"]["cue"] - state["value"]["twin"])
    shown = capsys.readouterr().out
    assert "following of the cue minus that of its twin, attention:" in shown
    means = [state["changes"][name]["gradient"]["following"]["mean"] for name in ("cue", "twin")]
    assert state["paired"]["gradient"]["mean"] == pytest.approx(means[0] - means[1])
    agent: Any = foveal.load(run)
    both = changes(np.zeros((10, 4, SIDE, SIDE), np.uint8), 1)
    assert set(paired_following(findings(agent, both, ("attention",), 0))) == {"attention"}


@pytest.mark.slow
def test_a_stopped_training_with_squares_goes_on_with_them(tmp_path: Path) -> None:
    asked = fls_cues.Train("atari/breakout", tmp_path / "run", steps=64, preset="debug")
    fls_cues.begun(asked).train(32)
    trainer = fls_cues.begun(asked)
    assert isinstance(trainer.work, fls_cues.PlantedWork) and isinstance(trainer.work.env, Planted)
    trainer.train(32)
    agent: Any = foveal.load(asked.out)
    assert agent.steps == 64
