"""Car Racing is Gymnasium's, drawn once per action; it is saved by its actions; colours change nothing but pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import foveal
from foveal.cli import main
from foveal.envs import PERTURBATIONS, PixelEnv, known_ids, make
from foveal.envs.family import gymnasium_id
from foveal.envs.perturbations import usual_perturbations
from foveal.errors import FovealError
from small_env import differing

pytest.importorskip("pygame", reason="needs the extra 'box2d'")

BUTTONS, WHEEL = "box2d/car-racing-discrete", "box2d/car-racing"
GAS = 3


def race(name: str = BUTTONS, **options: Any) -> PixelEnv:
    return make(name, **{"image_size": 96, "frame_stack": 1, **options})


def inner(env: PixelEnv) -> Any:
    return env.inner.unwrapped


def drive(env: PixelEnv, actions: list[int]) -> list[Any]:
    """All that is seen, with a reset where an episode ends."""
    seen: list[Any] = []
    for action in actions:
        seen += env.step(action)[:4]
        if seen[-1] or seen[-2]:
            seen.append(env.reset()[0])
    return seen


def random_actions(count: int, seed: int = 0) -> list[int]:
    """Gas at first, so that the track moves."""
    return [GAS] * 6 + np.random.default_rng(seed).integers(5, size=count).tolist()


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# --- the race ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_pictures_and_rewards_are_gymnasiums() -> None:
    """With each of its steps drawn, as it does it; the score in the picture included."""
    ours = race(action_repeat=6)
    from gymnasium.envs.box2d.car_racing import CarRacing

    theirs = CarRacing(continuous=False)
    first, _ = theirs.reset(seed=3)
    np.testing.assert_array_equal(ours.reset(seed=3)[0].transpose(1, 2, 0), first)
    for env in (inner(ours), theirs):  # the picture shows 42 points before it takes the last step's 0.1, and 41 after
        env.reward = env.prev_reward = 42.05
    for action in [0, GAS, GAS, GAS, GAS, 1, 2, 4, 0, GAS, 1]:
        frame, reward, terminated, truncated, _ = ours.step(action)
        steps = [theirs.step(action) for _ in range(6)]
        np.testing.assert_array_equal(frame.transpose(1, 2, 0), steps[-1][0])
        assert reward == pytest.approx(sum(float(step[1]) for step in steps))
        assert not (terminated or truncated or any(step[2] for step in steps))
    assert inner(ours).tile_visited_count == theirs.tile_visited_count > 5
    theirs.close()


@pytest.mark.slow
def test_ends() -> None:
    """After 1000 steps the time is up; off the field the race is lost, for 100 points, and no step is taken after."""
    env = race(action_repeat=300)
    env.reset(seed=0)
    assert [env.step(0)[2:4] for _ in range(4)] == [(False, False)] * 3 + [(False, True)]
    assert inner(env).t == pytest.approx(1001 / 50)
    env.reset(seed=0)
    inner(env).car.hull.position = (400.0, 0.0)
    _, reward, terminated, truncated, _ = env.step(0)
    assert (terminated, truncated) == (True, False) and reward == -100.0 and inner(env).t == pytest.approx(2 / 50)


def test_one_picture_for_each_action(monkeypatch: pytest.MonkeyPatch) -> None:
    env = race()
    env.reset(seed=0)
    drawn: list[Any] = []
    race_class: Any = type(inner(env))
    real = race_class._render_road
    monkeypatch.setattr(race_class, "_render_road", lambda self, *view: (drawn.append(view), real(self, *view)))
    env.step(GAS)
    assert len(drawn) == 1 and inner(env).t == pytest.approx(5 / 50)  # four steps, and the one of the reset
    assert env.spec_info.action_repeat == 4 and env.spec_info.max_agent_steps == 250
    assert race(action_repeat=8).spec_info.max_agent_steps == 125


def test_polygons_in_view_are_those_that_leave_a_trace() -> None:
    from foveal.envs.box2d.car_racing import _in_view

    turn = 0.3
    square = np.array([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)])
    places = np.array([(0, 0), (-700, 0), (700, 0), (0, 700), (-15, 0)])  # of the window's 1000x800 pixels
    back = np.array([[np.cos(-turn), np.sin(-turn)], [-np.sin(-turn), np.cos(-turn)]])
    polygons = (square[None] + places[:, None] - 5.0) @ back  # turned by ``turn``, they are where they were
    assert _in_view(polygons, 1.0, (500, 400), turn).tolist() == [0, 4]
    assert _in_view(polygons, 1.0, (0, 400), turn).tolist() == [0, 2]
    assert _in_view(polygons, 0.5, (500, 400), turn).tolist() == [0, 1, 2, 3, 4]


def test_wheel_and_buttons() -> None:
    assert {BUTTONS, WHEEL} <= set(known_ids())
    buttons, wheel = race(), race(WHEEL)
    assert buttons.action_space == spaces.Discrete(5)
    assert wheel.action_space == spaces.Box(-1.0, 1.0, (3,), np.float32)
    wheel.reset(seed=0)
    wheel.step(np.array([-1.0, 1.0, -1.0], np.float32))  # left, all of the gas, no brake
    car = inner(wheel).car
    assert car.wheels[0].steer == 1.0 and car.wheels[2].gas > 0 and car.wheels[0].brake == 0


@pytest.mark.slow
def test_gymnasiums_checker_is_content() -> None:
    check_env(gymnasium.make(gymnasium_id(BUTTONS), image_size=20).unwrapped, skip_render_check=True)


# --- state ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("perturbation", [None, "track_colors"])
@pytest.mark.slow
def test_a_race_goes_on_bit_for_bit(perturbation: str | None) -> None:
    env, fresh = race(perturbation=perturbation, seed=5), race(perturbation=perturbation, seed=99)
    env.reset()
    drive(env, random_actions(4))
    env.reset()
    drive(env, random_actions(12))
    saved = env.get_state()
    after = random_actions(20, seed=1)
    expected = [*drive(env, after), env.reset()[0], *drive(env, after[:8])]
    fresh.reset()
    drive(fresh, random_actions(3, seed=2))
    fresh.set_state(saved)
    assert same([*drive(fresh, after), fresh.reset()[0], *drive(fresh, after[:8])], expected)


def without_an_action(state: dict[str, Any]) -> None:
    state["actions"] = state["actions"][:-1]


def without_the_track(state: dict[str, Any]) -> None:
    state["began"] = np.random.default_rng(1).bit_generator.state


def without_colors(state: dict[str, Any]) -> None:
    state["colors"] = state["colors"] + 1


@pytest.mark.slow
@pytest.mark.parametrize("forget", [without_an_action, without_the_track, without_colors])
def test_nothing_in_the_state_is_idle(forget: Callable[[dict[str, Any]], None]) -> None:
    """Negative controls: one part of the state lost, and what follows differs."""
    env = race(seed=5)
    env.reset()
    drive(env, random_actions(2))
    saved, fresh = env.get_state(), race(seed=5)
    expected = drive(env, [1, 2, GAS])
    forget(saved["layers"][-1]["state"])
    fresh.set_state(saved)
    assert not same(drive(fresh, [1, 2, GAS]), expected)


@pytest.mark.slow
def test_an_episode_depends_on_its_seed_alone() -> None:
    """And not on what the simulated world has held before."""
    env, actions = race(), random_actions(4)
    env.reset(seed=1)
    drive(env, actions)
    again = [env.reset(seed=7)[0], *drive(env, actions)]
    fresh = race()
    assert same(again, [fresh.reset(seed=7)[0], *drive(fresh, actions)])
    assert not same(again, [fresh.reset(seed=8)[0], *drive(fresh, actions)])


# --- colours ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_colours_change_pictures_and_not_the_race() -> None:
    plain, painted = race(), race(perturbation="track_colors")
    frames = [env.reset(seed=2)[0] for env in (plain, painted)]
    assert not np.array_equal(*frames) and inner(plain).track == inner(painted).track
    for action in random_actions(4):
        one, other = plain.step(action), painted.step(action)
        assert one[1:4] == other[1:4] and not np.array_equal(one[0], other[0])
    assert painted.spec_info.perturbation == "track_colors" and painted.spec_info.perturbation_source is None


def test_colours_are_drawn_as_gymnasium_draws_them() -> None:
    """Uniform up to 210 of 255, the grass like the field but for 20 more of one colour; anew for each episode."""
    env = PERTURBATIONS.get("track_colors")(None).apply(race().inner)
    painted: Any = env.unwrapped
    drawn: list[np.ndarray[Any, Any]] = []

    def note(**_: Any) -> Any:
        drawn.append(np.stack([painted.road_color, painted.bg_color, painted.grass_color]))
        return np.zeros((96, 96, 3), np.uint8), {}

    painted.reset = note
    env.reset(seed=0)
    for _ in range(300):
        env.reset()
    road, field, grass = np.stack(drawn, 1)
    assert 0 <= road.min() < 10 and 200 < road.max() <= 210 and 95 < field.mean() < 115
    np.testing.assert_allclose(np.sort(grass - field, axis=1), np.tile([0.0, 0.0, 20.0], (301, 1)), atol=1e-9)
    assert len(np.unique(road[:, 0])) == 301
    env.reset(seed=0)
    np.testing.assert_array_equal(drawn[-1], drawn[0])


@pytest.mark.slow
def test_where_colours_belong() -> None:
    assert usual_perturbations(BUTTONS) == ("track_colors",)
    assert usual_perturbations("dmc/walker-walk") == ("color_hard", "video_hard")
    assert usual_perturbations("CarRacing-v3") == usual_perturbations("ur5e/bowl") == ()
    with pytest.raises(FovealError, match="track_colors changes the colours of box2d/car-racing, and ControlSuiteEnv"):
        make("dmc/cartpole-balance", image_size=16, perturbation="track_colors")
    with pytest.raises(FovealError, match="CarRacingEnv is none"):
        race(perturbation="color_hard")


# --- without the extra, and end to end --------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["pygame", "Box2D"])
def test_without_the_extra_one_message_names_it(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FovealError, match=rf'pip install "foveal\[box2d\]" \({module} is missing\)'):
        race()
    assert BUTTONS in known_ids()


@pytest.mark.slow
def test_train_resume_evaluate_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command line, without naming a learner; a resumed run is the same as one that was never stopped."""
    command = f"train {BUTTONS} --preset debug --method sgqn --training.initial-random-steps 8 --evaluate-every 0"
    command += " --environment.action-repeat 40"  # 25 actions an episode
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main([*command.split(), "--steps", "40", "--out", str(whole)]) == 0
    assert "--on train track_colors" in capsys.readouterr().out
    assert main([*command.split(), "--steps", "20", "--out", str(cut)]) == 0
    assert main(["train", "--resume", str(cut), "--steps", "40"]) == 0
    one, other = foveal.load(whole), foveal.load(cut)
    assert isinstance(one, foveal.Agent) and isinstance(other, foveal.Agent)
    assert one.learner_name == "dqn" and one.updates > 30 and differing(one.state()[0], other.state()[0]) == []
    capsys.readouterr()
    assert main(["evaluate", str(whole), "--episodes", "1", "--random"]) == 0
    table = capsys.readouterr().out
    assert table.count("track_colors") == 2 and f"{BUTTONS} · random" in table
    page = tmp_path / "page.html"
    assert main(["explain", str(whole), "--on", "track_colors", "--out", str(page), "--frames", "2"]) == 0
    assert page.stat().st_size > 10_000
