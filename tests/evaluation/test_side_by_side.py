"""Conditions that are played at the same time: the same results, and an end to all of them when one fails."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import gymnasium
import numpy as np
import pytest

import foveal
from foveal.envs import make
from foveal.envs.vector import make_apart
from foveal.evaluation import pixel_world as room
from foveal.evaluation.pixel_world import pixel_world
from foveal.evaluation.rollouts import evaluate, random_returns, run
from foveal.evaluation.side_by_side import Stopped, side_by_side
from foveal.evaluation.world import Bar, WorldOptions
from small_env import SavedCounter

CONDITIONS = ["train", "color_hard"]
SMALL = {"image_size": 36, "quality": "draft", "action_repeat": 100}
TASK = "dmc/cartpole-swingup"


class Looking:
    """Acts by what it sees, and notes from how many threads at once."""

    env_id, env_options, seed = TASK, SMALL, 3

    def __init__(self) -> None:
        self.inside = self.most = 0

    def predict(self, observation: np.ndarray, *, deterministic: bool = False) -> tuple[np.ndarray, None]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.001)
        action = np.array([observation.mean() / 128.0 - 1.0], np.float32)
        self.inside -= 1
        return action, None


@pytest.mark.slow
def test_results_are_those_of_one_condition_after_the_other() -> None:
    policy, played = Looking(), []
    for workers in (1, 2):
        results = evaluate(policy, CONDITIONS, episodes=2, workers=workers, progress=False)
        played.append((results.environment, results.conditions))
    assert played[0] == played[1]
    assert len({condition.returns.tobytes() for condition in played[0][1]}) == len(CONDITIONS)  # it does see them
    assert policy.most == 1  # the policy is asked one thing at a time
    world = pixel_world(policy, WorldOptions(CONDITIONS, workers=2)).by_chance()
    chance = random_returns(TASK, CONDITIONS, 2, policy.seed + 42, SMALL, progress=False)
    assert run(world, 2, progress=False).conditions == chance.conditions


@pytest.mark.slow
def test_one_environment_in_a_process_of_its_own() -> None:
    here, there = make(SavedCounter), make_apart(SavedCounter)
    try:
        assert there.spec_info == here.spec_info and there.action_space == here.action_space
        for seed in (5, None):
            (seen, _), (told, _) = here.reset(seed=seed), there.reset(seed=seed)
            over = False
            while not over:
                assert np.array_equal(seen, told)
                action = here.action_space.sample()
                (seen, *rest), (told, *same) = here.step(action), there.step(action)
                assert rest == same
                over = rest[1] or rest[2]
    finally:
        here.close()
        there.close()


@pytest.mark.slow
def test_ctrl_c_is_for_the_process_that_asked() -> None:
    class Telling(SavedCounter):
        def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
            return super().reset(**options)[0], {"heeds": signal.getsignal(signal.SIGINT) is not signal.SIG_IGN}

    here, there = make(Telling), make_apart(Telling)
    assert here.reset(seed=0)[1] == {"heeds": True} and there.reset(seed=0)[1] == {"heeds": False}
    there.close()


@pytest.mark.slow
def test_who_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that is the user's own object, a policy that adapts, and a single condition have no processes."""
    monkeypatch.setattr(room, "make_apart", None)
    evaluate(Looking(), "train", episodes=1, workers=2, progress=False)
    assert pixel_world(foveal.Agent(SavedCounter, preset="debug"), WorldOptions(adapt=True, workers=2)).workers == 1
    env: gymnasium.Env[Any, Any] = SavedCounter()
    world = pixel_world(Looking(), WorldOptions(["color_hard", "train"], env=env, workers=2))
    with pytest.raises(foveal.FovealError, match="SavedCounter is none"):  # asked of the object itself, in this process
        run(world, 1, progress=False)


def test_one_that_fails_ends_the_others() -> None:
    ended, begun = [], threading.Event()

    def play(name: str, bar: Bar) -> str:
        bar.enter(name)
        if name == "bad":
            begun.wait(10)
            raise ValueError("no such thing")
        try:
            while True:
                begun.set()
                bar.step()
                time.sleep(0.001)
        except Stopped:
            ended.append(name)
            raise

    with pytest.raises(ValueError, match="no such thing"), Bar(3, visible=False) as bar:
        side_by_side(play, ["good", "bad", "never begun"], bar, 2)
    assert ended == ["good"]


def test_their_bar_is_that_of_all() -> None:
    moved = []

    class Whole(Bar):
        def gain(self, episodes: float) -> None:
            moved.append(episodes)

    def play(name: str, bar: Bar) -> str:
        for _ in range(2):
            bar.enter(name, 4)
            for _ in range(3):
                bar.step()
            bar.finish()
        return name.upper()

    with Whole(6, visible=False) as bar:
        assert side_by_side(play, ["a", "b", "c"], bar, 2) == ["A", "B", "C"]
    assert sum(moved) == pytest.approx(6.0)
