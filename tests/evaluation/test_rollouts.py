"""Rollouts on small environments whose returns are known, and everything that a result must tell."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from foveal.envs import make
from foveal.envs.perturbations import PERTURBATIONS, Perturbation
from foveal.errors import FovealError
from foveal.evaluation import pixel_world
from foveal.evaluation.recording import Recording
from foveal.evaluation.results import Condition, Episode, Results, describe_policy, write_json
from foveal.evaluation.rollouts import evaluate, random_returns
from foveal.evaluation.statistics import SuccessRate, summary
from foveal.evaluation.world import SEED_OFFSET, Bar, World, WorldOptions
from small_env import small_agent

OPTIONS = {"image_size": 16, "frame_stack": 2, "action_repeat": 1, "quality": "fast", "camera": 0}


class Corridor(gymnasium.Env[Any, Any]):
    """Pays the action each step; its length is drawn at reset, and odd lengths end in a terminal state."""

    observation_space = spaces.Box(0, 255, (16, 16, 3), np.uint8)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self) -> None:
        self.seeds: list[int | None] = []
        self.closed = False
        self.reward: Callable[[float, int], float] = lambda action, step: action

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.length, self.step_count = int(self.np_random.integers(3, 9)), 0
        return self._image(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.step_count += 1
        over = self.step_count == self.length
        reward = self.reward(float(np.asarray(action).item()), self.step_count)
        return self._image(), reward, over and self.length % 2 == 1, over and self.length % 2 == 0, {}

    def close(self) -> None:
        self.closed = True

    def _image(self) -> np.ndarray:
        return np.full((16, 16, 3), self.step_count, np.uint8)


class Half:
    """Always acts 0.5, and checks what it is asked."""

    env_id = "Corridor"
    env_options = OPTIONS
    seed = 7
    method_name, learner_name, steps, updates = "sgqn", "sac", 100, 50

    def predict(self, observation: np.ndarray, *, deterministic: bool = False) -> tuple[np.ndarray, None]:
        assert deterministic
        assert observation.shape == (6, 16, 16)
        assert observation.dtype == np.uint8
        return np.full(1, 0.5, np.float32), None


class Negative(gymnasium.ObservationWrapper[Any, Any, Any]):
    def observation(self, observation: np.ndarray) -> np.ndarray:
        return 255 - observation


@pytest.fixture
def negative() -> Iterator[str]:
    """A perturbation that any environment can have, registered for one test."""

    @PERTURBATIONS.register("negative")
    class NegativePerturbation(Perturbation):
        source = "generated"
        items = 1

        def apply(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
            return Negative(env)

    yield "negative"
    del PERTURBATIONS._entries["negative"]


@pytest.fixture
def made() -> tuple[Callable[[], Corridor], list[Corridor]]:
    """A callable that makes corridors, and all that it has made."""
    corridors: list[Corridor] = []

    def corridor() -> Corridor:
        corridors.append(Corridor())
        return corridors[-1]

    return corridor, corridors


def lengths_of(seed: int, count: int) -> list[int]:
    env = Corridor()
    found = []
    for index in range(count):
        env.reset(seed=seed if index == 0 else None)
        found.append(env.length)
    return found


def test_returns_lengths_and_ends_are_those_of_the_environment(made: Any, negative: str) -> None:
    corridor, corridors = made
    results = evaluate(Half(), ["train", negative], episodes=6, env=corridor, progress=False)
    expected = lengths_of(7 + SEED_OFFSET, 6)
    assert len(set(expected)) > 1
    for condition in results.conditions:
        assert [episode.length for episode in condition.episodes] == expected
        assert condition.returns.tolist() == [0.5 * length for length in expected]
        assert [episode.terminated for episode in condition.episodes] == [length % 2 == 1 for length in expected]
        assert [episode.index for episode in condition.episodes] == list(range(6))
        assert {episode.seed for episode in condition.episodes} == {49}
        assert condition.summary == summary(condition.returns)
    # Seeded once, then reset without a seed: the benchmark's order of colours and videos.
    assert all(env.seeds == [49] + [None] * 5 for env in corridors)
    assert all(env.closed for env in corridors)


def test_perturbed_episodes_see_the_perturbation(made: Any, negative: str) -> None:
    seen: dict[str, list[int]] = {"train": [], negative: []}

    class Recorder(Half):
        name = ""

        def predict(self, observation: np.ndarray, *, deterministic: bool = False) -> tuple[np.ndarray, None]:
            seen[self.name].append(int(observation[0, 0, 0]))
            return np.zeros(1, np.float32), None

    agent = Recorder()
    for agent.name in seen:
        evaluate(agent, agent.name, episodes=1, env=made[0], progress=False)
    assert seen[negative] == [255 - value for value in seen["train"]]


def test_results_tell_what_was_measured_and_where(made: Any, negative: str) -> None:
    results = evaluate(Half(), ["train", negative], episodes=2, env=made[0], progress=False)
    told = json.loads(json.dumps(results.as_dict(), allow_nan=False))
    assert told["policy"] == {
        "name": "half",
        "method": "sgqn",
        "learner": "sac",
        "seed": 7,
        "steps": 100,
        "updates": 50,
    }
    assert told["environment"]["image_size"] == 16
    assert told["environment"]["frame_stack"] == 2
    assert told["perturbations"][negative]["source"] == "generated"
    assert told["perturbations"]["train"]["source"] is None
    assert len(told["perturbations"][negative]["episodes"]) == 2
    assert set(told["perturbations"]["train"]["episodes"][0]) == {
        "index", "seed", "return", "length", "terminated", "quality"
    }  # fmt: skip
    assert {"python", "torch", "numpy", "gymnasium"} <= set(told["versions"])
    assert told["machine"]["cores"] >= 1
    assert "negative (generated)" in results.table()
    assert str(results) == results.table()
    assert "sgqn on sac, 50 updates" in results.title


def test_the_table_aligns_numbers(made: Any) -> None:
    lines = evaluate(Half(), episodes=3, env=made[0], progress=False).table().splitlines()
    head, row = lines[2], lines[4]
    assert head.index("mean") + len("mean") == row.index(".") + 2
    assert "[" in row


def test_saved_results_load_equal(tmp_path: Path, made: Any, negative: str) -> None:
    results = evaluate(Half(), ["train", negative], episodes=3, env=made[0], progress=False)
    path = results.save(tmp_path / "new" / "results.json")
    assert Results.load(path) == results
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
    assert results[negative].label == "negative (generated)"
    assert results.get("color_hard") is None
    with pytest.raises(KeyError):
        results["color_hard"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("{", "no JSON"),
        ("[]", "format"),
        ('{"format": "foveal.results/1"}', "incomplete"),
        ('{"format": "foveal.results/1", "perturbations": {"train": {}}}', "incomplete"),
    ],
)
def test_bad_files_give_one_clear_error(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FovealError, match=message) as caught:
        Results.load(path)
    assert "results.json" in str(caught.value)


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_json(tmp_path / "a.json", {"old": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FovealError, match="No space left"):
        write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_random_returns_are_seeded_and_uniform(made: Any) -> None:
    first, again = (random_returns(made[0], episodes=40, seed=3, options=OPTIONS, progress=False) for _ in range(2))
    other = random_returns(made[0], episodes=40, seed=4, options=OPTIONS, progress=False)
    assert first["train"].returns.tolist() == again["train"].returns.tolist()
    assert first["train"].returns.tolist() != other["train"].returns.tolist()
    assert first.policy == {"name": "random"}
    steps = sum(episode.length for episode in first["train"].episodes)
    assert abs(first["train"].returns.sum() / steps) < 4 * (1 / 3 / steps) ** 0.5  # mean 0, variance 1/3 a step


def test_evaluation_is_repeatable_and_its_seed_is_free(made: Any) -> None:
    def lengths(seed: int | None) -> list[int]:
        results = evaluate(Half(), episodes=8, seed=seed, env=made[0], progress=False)
        return [episode.length for episode in results["train"].episodes]

    assert lengths(None) == lengths(49) != lengths(50)


def test_success_is_kept_where_the_environment_tells_it(made: Any) -> None:
    class Telling(Corridor):
        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            seen, reward, terminated, truncated, _ = super().step(action)
            return seen, reward, terminated, truncated, {"success": terminated}

    results = evaluate(Half(), episodes=6, env=Telling, progress=False)
    ends = [length % 2 == 1 for length in lengths_of(7 + SEED_OFFSET, 6)]
    assert [episode.success for episode in results["train"].episodes] == ends
    assert results["train"].success == SuccessRate.of(ends)
    assert evaluate(Half(), episodes=2, env=made[0], progress=False)["train"].success is None


def test_an_agents_own_world_is_asked_for_everything(made: Any) -> None:
    """An agent whose episodes no environment of ours plays: a world written here."""

    class Coin(World):
        conditions, seed, policy = ("train",), 5, {"name": "coin"}
        closed = False

        def play(self, condition: str, episodes: int, bar: Bar) -> tuple[dict[str, Any], Condition]:
            bar.enter(condition)
            played = tuple(Episode(i, self.seed, float(i % 2), 1, True, None, i % 2 == 1) for i in range(episodes))
            return {"id": "coin"}, Condition(condition, None, None, played)

        def record(self, condition: str, most: int, bar: Bar) -> Recording:
            raise NotImplementedError

        def close(self) -> None:
            self.closed = True

    class Tosser:
        asked: WorldOptions
        coin = Coin()

        def world(self, options: WorldOptions) -> World:
            options.refuse("coins", "env", "adapt")
            self.asked = options
            return self.coin

    agent = Tosser()
    results = evaluate(agent, None, 4, seed=9, quality="fast", workers=3, progress=False)
    assert results.environment == {"id": "coin"} and results["train"].returns.tolist() == [0, 1, 0, 1]
    assert results.title == "coin · coin · evaluation seed 5" and agent.coin.closed
    assert agent.asked == WorldOptions(None, 9, None, "fast", None, adapt=False, workers=3)
    with pytest.raises(FovealError, match="adapt means nothing for coins: leave it out"):
        evaluate(agent, adapt=True, progress=False)
    with pytest.raises(FovealError, match="there is no random policy to show beside coin"):
        agent.coin.by_chance()


def test_the_agents_own_environment_is_used(made: Any) -> None:
    agent = Half()
    agent.env = made[0]  # type: ignore[attr-defined]
    evaluate(agent, episodes=1, progress=False)
    assert len(made[1]) == 1


def test_a_users_environment_is_left_open() -> None:
    env = Corridor()
    for _ in range(2):
        evaluate(Half(), episodes=2, env=env, progress=False)
    assert not env.closed


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_stops_and_names_the_step(made: Any, bad: float) -> None:
    def broken() -> Corridor:
        env = made[0]()
        env.reward = lambda action, step: bad if step == 3 else 0.0
        return env

    with pytest.raises(FovealError, match=r"reward of .* is (nan|inf) at step 3 of episode 0 \(seed 49\)"):
        evaluate(Half(), episodes=2, env=broken, progress=False)
    assert all(env.closed for env in made[1])


@pytest.mark.parametrize(
    ("on", "message"),
    [
        ("color_herd", "color_hard"),
        (["train", "tran"], "'train'"),
        (["train", "color_hard", "train"], "twice"),
        ([], "nothing to evaluate"),
    ],
)
def test_bad_names_are_refused_before_any_rollout(made: Any, on: Any, message: str) -> None:
    with pytest.raises(FovealError, match=message):
        evaluate(Half(), on, env=made[0], progress=False)
    assert not made[1]


def test_bad_numbers_are_refused_before_any_rollout(made: Any) -> None:
    for numbers in ({"episodes": 0}, {"seed": -1}):
        with pytest.raises(FovealError, match=next(iter(numbers))):
            evaluate(Half(), env=made[0], progress=False, **numbers)  # type: ignore[arg-type]
    assert not made[1]


def test_benchmark_data_force_exact_rendering(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []

    def spy(env: Any, **options: Any) -> Any:
        calls.append(options)
        return make(Corridor, **{**options, "perturbation": None, "data": None})

    monkeypatch.setattr(pixel_world, "make", spy)
    evaluate(Half(), ["train", "video_hard"], episodes=1, data=tmp_path, quality="draft", progress=False)
    assert {call["quality"] for call in calls} == {"exact"}
    assert {(call["perturbation"], call["data"]) for call in calls} == {(None, None), ("video_hard", tmp_path)}
    assert calls[0]["perturbation"] == "video_hard"  # tried before the first rollout, so bad data is found at once
    calls.clear()
    evaluate(Half(), ["train", "video_hard"], episodes=1, quality="draft", progress=False)
    assert {call["quality"] for call in calls} == {"draft"}
    calls.clear()
    evaluate(Half(), episodes=1, progress=False)
    assert calls[0]["quality"] == "fast"


def test_bad_data_are_found_before_the_first_rollout(tmp_path: Path) -> None:
    class Never(Half):
        env_id = "dmc/cartpole-balance"

        def predict(self, observation: np.ndarray, *, deterministic: bool = False) -> tuple[np.ndarray, None]:
            raise AssertionError("a rollout began")

    with pytest.raises(FovealError):
        evaluate(Never(), ["train", "color_hard"], data=tmp_path, progress=False)


@pytest.mark.slow
def test_a_real_environment_under_generated_perturbations() -> None:
    options = {"image_size": 24, "frame_stack": 1, "action_repeat": 100, "quality": "draft", "camera": 0}
    on = ["train", "color_hard", "video_easy"]
    results = random_returns("dmc/cartpole-balance", on, 2, 5, options, progress=False)
    assert [condition.note for condition in results.conditions] == ["", "generated", "generated"]
    assert results.environment["id"] == "dmc/cartpole-balance"
    assert results.environment["action_repeat"] == 100
    for condition in results.conditions:
        assert condition.quality == "draft"
        assert [episode.length for episode in condition.episodes] == [10, 10]
        # The physics do not depend on the picture, so the same seed gives the same returns.
        assert condition.returns.tolist() == results["train"].returns.tolist()


def test_the_bar_shows_name_and_time_left(made: Any, negative: str, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(Half(), ["train", negative], episodes=2, env=made[0])
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "left" in shown
    assert f"{negative}: " in shown and ": :" not in shown
    evaluate(Half(), "train", episodes=2, env=made[0], progress=False)
    assert capsys.readouterr().err == ""


def test_notes_say_how_far_the_benchmark_is_there() -> None:
    episodes = (Episode(0, 1, 2.0, 3, False, "exact"),)
    whole = Condition("video_hard", "dmc-gb", "exact", episodes, 100, True)
    part = Condition("video_hard", "dmc-gb", "exact", episodes, 20, False, 100)
    assert (whole.note, whole.label, whole.comparable) == ("DMC-GB", "video_hard", True)
    assert (part.note, part.label, part.comparable) == ("20 of 100", "video_hard (20 of 100)", False)
    results = Results({}, {"name": "random"}, 1, (whole, replace(part, perturbation="video_easy")))
    assert "video_easy (20 of 100)" in results.table()
    told = results.as_dict()["perturbations"]["video_easy"]
    assert (told["items"], told["benchmark_items"], told["comparable"]) == (20, 100, False)
    assert Results.from_dict(results.as_dict())["video_easy"].note == "20 of 100"
    older = replace(part, benchmark_items=None)  # a file of an earlier version
    assert older.label == "video_hard (20 of DMC-GB's)" and not older.comparable


@pytest.mark.slow
def test_a_part_of_the_benchmarks_videos_is_said_to_be_one(dmcgb: Path) -> None:
    options = {"image_size": 36, "quality": "draft", "action_repeat": 250}
    for name, whole in (("video_easy", 10), ("video_hard", 100)):
        there = len(list((dmcgb / name).glob("video*.mp4")))
        condition = random_returns("dmc/walker-stand", name, 1, options=options, data=dmcgb, progress=False)[name]
        assert (condition.items, condition.benchmark_items) == (there, whole)
        assert condition.label == (name if there == whole else f"{name} ({there} of {whole})")


def test_policies_in_words() -> None:
    assert describe_policy({"name": "random"}) == "random"
    assert describe_policy({"method": "none", "learner": "sac", "updates": 12000}) == "none on sac, 12,000 updates"
    knowing = {"learner": "sac", "updates": 5, "privileged": True}
    assert describe_policy({"method": "tstm", **knowing}) == "tstm on sac, 5 updates, privileged"
    behind = "tstm behind a shield (privileged)"
    assert describe_policy({"method": behind, **knowing}) == f"{behind} on sac, 5 updates"


@pytest.mark.parametrize("method", ["foveal", "svea", "foveal+svea"])
def test_a_policy_that_learned_from_the_simulator_says_so(method: str) -> None:
    results = evaluate(small_agent(method=method), episodes=1, progress=False)
    assert ("privileged" in results.title) == results.policy.get("privileged", False) == (method != "svea")
