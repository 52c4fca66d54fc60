"""Saving in the middle of an episode: what follows is the same to the last bit, over the next reset too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from foveal.envs import PixelEnv, make, make_vector
from foveal.errors import FovealError

BEFORE, AFTER = 7, 50


def cheap(name: str, **options: Any) -> PixelEnv:
    return make(f"dmc/{name}", **{"image_size": 16, "quality": "draft", **options})


def roll(env: PixelEnv, steps: int, seed: int, *, reset_at: int | None = None) -> list[Any]:
    """Everything that a run of random actions shows, with a reset on the way."""
    random = np.random.default_rng(seed)
    seen: list[Any] = []
    for step in range(steps):
        if step == reset_at:
            seen.append(env.reset()[0])
        observation, reward, terminated, truncated, _ = env.step(random.uniform(-1, 1, env.action_space.shape))
        seen += [observation, reward, terminated, truncated]
        if terminated or truncated:
            seen.append(env.reset()[0])
    return seen


def same(one: list[Any], two: list[Any]) -> bool:
    return len(one) == len(two) and all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def is_plain(value: Any) -> bool:
    """JSON values and numeric arrays, through and through."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf"
    return value is None or isinstance(value, (bool, int, float, str))


def through_a_file(value: Any) -> Any:
    """As JSON and back, so that nothing is shared with the environment that was saved."""
    if isinstance(value, dict):
        return {key: through_a_file(item) for key, item in value.items()}
    if isinstance(value, list):
        return [through_a_file(item) for item in value]
    return value.copy() if isinstance(value, np.ndarray) else json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "name",
    [
        "cartpole-swingup",
        "reacher-easy",
        "ball_in_cup-catch",
        "finger-turn_easy",
        "walker-walk",
        "point_mass-hard",
        "swimmer-swimmer6",
        "humanoid-run_pure_state",
        "quadruped-escape",
        "manipulator-bring_ball",
        "fish-swim",
    ],
)
@pytest.mark.slow
def test_a_run_goes_on_bit_for_bit(name: str) -> None:
    common = name in ("cartpole-swingup", "reacher-easy", "ball_in_cup-catch", "finger-turn_easy", "walker-walk")
    after = AFTER if common else 6
    env, fresh = cheap(name, seed=5), cheap(name, seed=99)
    env.reset()
    roll(env, BEFORE, seed=0, reset_at=3)
    saved = env.get_state()
    assert is_plain(saved)
    saved = through_a_file(saved)
    expected = roll(env, after, seed=1, reset_at=after - 5)
    if common:
        fresh.reset()
        roll(fresh, 3, seed=2)  # neither what it did before nor its own seed may be left
    fresh.set_state(saved)
    assert same(roll(fresh, after, seed=1, reset_at=after - 5), expected)
    env.close()
    fresh.close()


def without_warm_start(env: PixelEnv) -> None:
    env.inner.unwrapped.physics.data.qacc_warmstart[:] = 0.0  # type: ignore[attr-defined]


def without_target(env: PixelEnv) -> None:
    env.inner.unwrapped.physics.named.model.geom_pos["target", :2] += 0.05  # type: ignore[attr-defined]


def without_random_state(env: PixelEnv) -> None:
    env.inner.unwrapped._env.task.random.seed(0)  # type: ignore[attr-defined]


def without_step_count(env: PixelEnv) -> None:
    env.inner.unwrapped._steps = 998  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "forget"),
    [
        ("walker-walk", without_warm_start),
        ("reacher-easy", without_target),
        ("cartpole-swingup", without_random_state),
        ("cartpole-swingup", without_step_count),
    ],
)
def test_nothing_in_the_state_is_idle(name: str, forget: Callable[[PixelEnv], None]) -> None:
    """Negative controls: one part of the state lost, and what follows differs in some bit."""
    env = cheap(name, seed=5, image_size=8)
    env.reset()
    roll(env, 6, seed=0)
    saved = env.get_state()
    expected = roll(env, 9, seed=1, reset_at=7)
    env.set_state(saved)
    forget(env)
    assert not same(roll(env, 9, seed=1, reset_at=7), expected)
    env.close()


@pytest.mark.slow
def test_observations_of_sensors_are_carried_over() -> None:
    """Acceleration sensors are computed with the step before, so that the integration state does not hold them."""
    env, fresh = cheap("quadruped-walk", seed=0), cheap("quadruped-walk", seed=1)
    env.reset()
    roll(env, 4, seed=0)
    fresh.set_state(env.get_state())
    inside, restored = (e.inner.unwrapped._env for e in (env, fresh))  # type: ignore[attr-defined]
    for name, value in inside.task.get_observation(inside.physics).items():
        assert np.array_equal(value, restored.task.get_observation(restored.physics)[name]), name
    env.close()
    fresh.close()


@pytest.mark.slow
def test_before_the_first_reset_and_after_the_last_step() -> None:
    env, fresh = cheap("cartpole-swingup", seed=5, action_repeat=500), cheap("cartpole-swingup", action_repeat=500)
    fresh.set_state(through_a_file(env.get_state()))
    first = env.reset()[0]
    assert np.array_equal(fresh.reset()[0], first)  # its seed was still to be used
    for _ in range(2):
        env.step(env.action_space.sample())
    fresh.set_state(env.get_state())
    with pytest.raises(FovealError, match="call reset"):
        fresh.step(fresh.action_space.sample())
    assert np.array_equal(fresh.reset()[0], env.reset()[0])
    env.close()
    fresh.close()


@pytest.fixture(scope="module")
def saved() -> dict[str, Any]:
    """The state of ``cartpole-swingup`` in an episode."""
    env = cheap("cartpole-swingup")
    env.reset()
    state = env.get_state()
    env.close()
    return state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cartpole-balance", {}, "is of dmc/cartpole-swingup"),
        ("cartpole-swingup", {"frame_stack": 2}, "another image_size or frame_stack"),
        ("cartpole-swingup", {"image_size": 24}, "another image_size or frame_stack"),
        ("cartpole-swingup", {"perturbation": "color_easy"}, "is built as"),
    ],
)
def test_a_state_of_something_else_is_refused(
    name: str, options: dict[str, Any], message: str, saved: dict[str, Any]
) -> None:
    other = cheap(name, **options)
    with pytest.raises(FovealError, match=message):
        other.set_state(saved)
    other.close()


class Counter(gymnasium.Env[Any, Any]):
    """An environment of somebody else's: its picture shows how many steps it has made."""

    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.count = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        return np.full((8, 8, 3), self.count, np.uint8), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        return np.full((8, 8, 3), self.count, np.uint8), 1.0, False, False, {}


class SavedCounter(Counter):
    def get_state(self) -> dict[str, Any]:
        return {"count": self.count}

    def set_state(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


def test_an_environment_of_ones_own_is_saved_if_it_can_be() -> None:
    def limited() -> gymnasium.Env[Any, Any]:
        return gymnasium.wrappers.TimeLimit(SavedCounter(), 5)

    env, fresh = make(limited, image_size=4), make(limited, image_size=4)
    env.reset()
    for _ in range(3):
        env.step(0)
    fresh.set_state(through_a_file(env.get_state()))
    ends = [fresh.step(0)[3] for _ in range(2)]
    assert ends == [False, True]
    assert fresh.render().max() == 5


def test_one_that_cant_be_saved_says_so() -> None:
    env = make(Counter(), image_size=4)
    env.reset()
    with pytest.raises(FovealError, match=r"Counter can't be saved.*get_state\(\)"):
        env.get_state()
    wrapped = make(gymnasium.wrappers.TransformReward(SavedCounter(), lambda reward: -reward), image_size=4)
    with pytest.raises(FovealError, match=r"TransformReward can't be saved.*get_state\(\)"):
        wrapped.get_state()


@pytest.mark.slow
def test_every_environment_of_a_vector_is_saved_with_its_pending_reset() -> None:
    options: dict[str, Any] = {"image_size": 16, "quality": "draft", "action_repeat": 250, "seed": 0}
    one, two = (make_vector("dmc/point_mass-easy", 2, **options) for _ in range(2))
    one.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (9, 2, 2)).astype(np.float32)
    for action in actions[:4]:  # the last of them ends both episodes
        *_, truncated, _ = one.step(action)
    assert truncated.all()
    two.set_state(through_a_file(one.get_state()))  # type: ignore[attr-defined]
    for action in actions[4:]:
        assert same(list(one.step(action)[:4]), list(two.step(action)[:4]))
    with pytest.raises(FovealError, match="of 2 environments"):
        make_vector("dmc/point_mass-easy", 1, **options).set_state(one.get_state())  # type: ignore[attr-defined]
    one.close()
    two.close()
