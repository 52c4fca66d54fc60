"""Environments of other people: which are served, how, and what is said of the others."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from foveal.envs import make, make_vector
from foveal.envs.wrappers import area_weights
from foveal.errors import FovealError

RGB = spaces.Box(0, 255, (12, 16, 3), np.uint8)
MOVE = spaces.Box(-1.0, 1.0, (2,), np.float32)


class Toy(gymnasium.Env[Any, Any]):
    """Any spaces; remembers the actions it was given and ends after ``length`` steps."""

    def __init__(self, observation: spaces.Space[Any] = RGB, action: spaces.Space[Any] = MOVE, length: int = 5) -> None:
        self.observation_space, self.action_space, self.length = observation, action, length
        self.actions: list[Any] = []
        self.last: Any = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.actions = []
        return self._observe(), {"began": True}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(action)
        return self._observe(), 1.0, len(self.actions) >= self.length, False, {}

    def _observe(self) -> Any:
        self.last = self.observation_space.sample()
        return self.last


def test_channels_last_and_channels_first_become_the_same_frames() -> None:
    for shape, axes in [((16, 16, 3), (2, 0, 1)), ((3, 16, 16), (0, 1, 2))]:
        toy = Toy(spaces.Box(0, 255, shape, np.uint8))
        env = make(toy, image_size=16, frame_stack=2)
        first = env.reset(seed=1)[0]
        assert np.array_equal(first[:3], toy.last.transpose(axes))
        second = env.step(np.zeros(2))[0]
        assert np.array_equal(second[:3], first[3:])
        assert np.array_equal(second[3:], toy.last.transpose(axes))


def test_images_are_resized_by_area() -> None:
    toy = Toy(spaces.Box(0, 255, (12, 18, 3), np.uint8))
    env = make(toy, image_size=6, frame_stack=1)
    frame = env.reset(seed=0)[0]
    blocks = toy.last.reshape(6, 2, 6, 3, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(frame - blocks).max() <= 0.5 + 1e-3


@given(st.integers(1, 130), st.integers(1, 130))
def test_area_weights_lose_no_light(source: int, target: int) -> None:
    weights = area_weights(source, target)
    assert weights.shape == (target, source)
    assert np.allclose(weights.sum(axis=1), 1.0, atol=1e-5)
    assert np.allclose(weights.sum(axis=0), target / source, atol=1e-4)
    assert np.array_equal(area_weights(source, source), np.eye(source, dtype=np.float32))


def test_vectors_beside_the_image_are_one_flat_vector() -> None:
    parts = {
        "b": spaces.Box(-1.0, 1.0, (2, 2), np.float64),
        "a": spaces.Box(-np.inf, np.inf, (3,), np.float32),
        "camera": RGB,
    }
    toy = Toy(spaces.Dict(parts))
    env = make(toy, image_size=10)
    high = np.array([np.inf] * 3 + [1] * 4, np.float32)
    image, vector = spaces.Box(0, 255, (9, 10, 10), np.uint8), spaces.Box(-high, high, dtype=np.float32)
    assert env.observation_space == spaces.Dict({"image": image, "vector": vector})
    observation = env.reset(seed=3)[0]
    expected = np.concatenate([toy.last["a"], toy.last["b"].ravel()]).astype(np.float32)
    assert observation["image"].shape == (9, 10, 10)
    assert observation["vector"].dtype == np.float32
    assert np.array_equal(observation["vector"], expected)


def test_a_dict_of_an_image_alone_is_an_image() -> None:
    env = make(Toy(spaces.Dict({"camera": RGB})), image_size=10)
    assert env.observation_space == spaces.Box(0, 255, (9, 10, 10), np.uint8)
    assert env.reset()[0].shape == (9, 10, 10)


def test_actions_are_rescaled_and_reshaped() -> None:
    toy = Toy(action=spaces.Box(np.array([[0.0], [-4.0]]), np.array([[10.0], [4.0]]), dtype=np.float64))
    env = make(toy, image_size=8)
    assert env.action_space == MOVE
    env.reset()
    for action in ([-1.0, -1.0], [0.0, 0.5], [1.0, 2.0]):
        env.step(np.array(action, np.float32))
    assert np.allclose(np.array(toy.actions)[..., 0], [[0, -4], [5, 2], [10, 4]])
    assert toy.actions[0].dtype == np.float64


@pytest.mark.slow
def test_frames_are_averaged_after_they_were_perturbed() -> None:
    """Keyed pixel by pixel at the benchmark's size; noise of single pixels averages out."""
    frames, masks = {}, {}
    for rendered in (None, 84):
        env = make("dmc/walker-walk", image_size=42, quality="draft", perturbation="noise:5", rendered_size=rendered)
        frames[rendered] = env.reset(seed=0)[0]
        masks[rendered] = env.agent_mask(), env.scene_mask()
        assert env.spec_info.image_size == 42 and env.spec_info.rendered_size == rendered
        assert frames[rendered].shape == env.observation_space.shape == (9, 42, 42)
        env.close()
    large = make("dmc/walker-walk", image_size=84, quality="draft", perturbation="noise:5")
    fine = large.reset(seed=0)[0]
    assert np.abs(frames[84] - fine.reshape(9, 42, 2, 42, 2).mean((2, 4))).max() <= 0.5
    blocks = large.agent_mask().reshape(42, 2, 42, 2).mean((1, 3))
    assert np.array_equal(masks[84][0], blocks >= 0.5) and masks[84][1].shape == (42, 42)
    large.close()
    with pytest.raises(FovealError, match="rendered_size is 41; it must be a whole number of at least 42"):
        make("dmc/walker-walk", image_size=42, rendered_size=41)


def test_discrete_actions_are_kept_and_counted_from_zero() -> None:
    toy = Toy(action=spaces.Discrete(3, start=4))
    env = make(toy, image_size=8)
    assert env.action_space == spaces.Discrete(3)
    env.reset()
    for action in range(3):
        env.step(action)
    assert toy.actions == [4, 5, 6]
    plain = make(Toy(action=spaces.Discrete(2)), image_size=8)
    assert plain.action_space == spaces.Discrete(2)


def test_action_repeat_sums_rewards_and_stops_at_the_end() -> None:
    toy = Toy(length=5)
    env = make(toy, image_size=8, action_repeat=3)
    assert env.spec_info.action_repeat == 3
    env.reset()
    assert env.step(np.zeros(2))[1:4] == (3.0, False, False)
    assert env.step(np.zeros(2))[1:4] == (2.0, True, False)
    assert make(Toy(), image_size=8).spec_info.action_repeat == 1


def test_ids_callables_and_time_limits() -> None:
    gymnasium.register("foveal-test/Toy-v0", entry_point=Toy, max_episode_steps=4)
    try:
        for env in (make("foveal-test/Toy-v0", image_size=8), make(Toy, image_size=8)):
            assert env.reset()[1] == {"began": True}
        by_id = make("foveal-test/Toy-v0", image_size=8, action_repeat=3)
        assert by_id.spec_info.id == "foveal-test/Toy-v0"
        assert by_id.spec_info.max_agent_steps == 2
        by_id.reset()
        assert [by_id.step(np.zeros(2))[3] for _ in range(2)] == [False, True]
        with pytest.raises(FovealError, match="did you mean 'foveal-test/Toy-v0'"):
            make("foveal-test/Toys-v0")
    finally:
        del gymnasium.registry["foveal-test/Toy-v0"]


def test_what_can_only_be_said_of_dmc() -> None:
    env = make(Toy(), image_size=8)
    env.reset()
    with pytest.raises(FovealError, match="Toy can't tell which pixels"):
        env.agent_mask()
    for perturbation in ("color_easy", "video_hard"):
        with pytest.raises(FovealError, match="of dmc/ environments, and Toy is none"):
            make(Toy(), perturbation=perturbation)


@pytest.mark.filterwarnings("ignore:.*not having a spec")
def test_gymnasiums_checker_is_content() -> None:
    parts = {"camera": RGB, "joints": spaces.Box(-1.0, 1.0, (3,), np.float32)}
    check_env(make(Toy(spaces.Dict(parts)), image_size=10))


FLOATS = spaces.Box(0.0, 1.0, (3,), np.float32)


@pytest.mark.parametrize(
    ("observation", "action", "message"),
    [
        (FLOATS, MOVE, "is a vector of 3 numbers, not an image; gymnasium.wrappers.AddRenderObservation"),
        (spaces.Discrete(4), MOVE, "is a Discrete, not an image"),
        (spaces.Tuple((RGB, FLOATS)), MOVE, "is a Tuple, not an image"),
        (spaces.Box(0.0, 1.0, (8, 8, 3), np.float32), MOVE, "an image of float32: give it as uint8"),
        (spaces.Box(0, 255, (8, 8), np.uint8), MOVE, "a grayscale image"),
        (spaces.Box(0, 255, (8, 8, 1), np.uint8), MOVE, "a grayscale image"),
        (spaces.Box(0, 255, (8, 8, 4), np.uint8), MOVE, "no axis is RGB"),
        (spaces.Box(0, 255, (9, 8, 8), np.uint8), MOVE, "not yet stacked"),
        (spaces.Box(0, 255, (3, 8, 3), np.uint8), MOVE, "can't be told"),
        (spaces.Box(0, 255, (8, 8, 3), np.int32), MOVE, "type int32"),
        (spaces.Dict({"joints": FLOATS}), MOVE, "no image among its observations ['joints']"),
        (spaces.Dict({"left": RGB, "right": RGB}), MOVE, "2 images ('left', 'right')"),
        (
            spaces.Dict({"eye": spaces.Box(0.0, 1.0, (8, 8, 3), np.float32)}),
            MOVE,
            "'eye' of Toy is an image of float32",
        ),
        (spaces.Dict({"eye": RGB, "key": spaces.Discrete(2)}), MOVE, "'key' of Toy is Discrete(2)"),
        (spaces.Dict({"eye": RGB, "in": spaces.Dict({"a": FLOATS})}), MOVE, "'in' of Toy"),
        (RGB, spaces.MultiDiscrete([2, 3]), "takes MultiDiscrete actions"),
        (RGB, spaces.Box(-np.inf, np.inf, (2,), np.float32), "unbounded Box"),
        (RGB, spaces.Box(0, 5, (2,), np.int64), "a Box of int64"),
    ],
)
def test_what_cant_be_served_is_told(observation: Any, action: Any, message: str) -> None:
    with pytest.raises(FovealError) as told:
        make(Toy(observation, action))
    assert message in str(told.value)


def test_an_image_that_is_not_what_was_declared() -> None:
    toy = Toy()
    env = make(toy, image_size=8)
    toy._observe = lambda: np.zeros((12, 16, 3), np.float32)  # type: ignore[method-assign]
    with pytest.raises(FovealError, match="returned one of float32"):
        env.reset()


def test_an_environment_made_by_us_is_not_made_twice() -> None:
    with pytest.raises(FovealError, match="already made"):
        make(make(Toy(), image_size=8))


@pytest.mark.parametrize("n", [1, 3])
def test_vectors_reset_in_the_next_step(n: int) -> None:
    env = make_vector(Toy, n, image_size=8, seed=10)
    assert env.num_envs == n
    assert env.spec_info.id == "Toy"  # type: ignore[attr-defined]
    first, _ = env.reset()
    assert first.shape == (n, 9, 8, 8)
    assert np.array_equal(first[-1], make(Toy, image_size=8, seed=10 + n - 1).reset()[0])
    actions = np.zeros((n, 2), np.float32)
    for _ in range(5):
        last, reward, terminated, *_ = env.step(actions)
    assert reward.tolist() == [1.0] * n
    assert terminated.all()
    begun, reward, terminated, *_ = env.step(actions)
    assert reward.tolist() == [0.0] * n
    assert not terminated.any()
    assert np.array_equal(begun[:, :3], begun[:, 6:])  # the first frame of an episode, repeated
    assert not np.array_equal(begun, last)


def test_vectors_of_several_callables_and_of_mistakes() -> None:
    env = make_vector([Toy, lambda: Toy(length=2)], image_size=8)
    env.reset()
    for _ in range(2):
        _, _, terminated, *_ = env.step(np.zeros((2, 2), np.float32))
    assert terminated.tolist() == [False, True]
    assert make_vector(Toy(), image_size=8).num_envs == 1
    for source, n, message in [
        (Toy, 0, "n is 0"),
        (Toy(), 2, "can't be 2"),
        ([Toy], 2, "1 callables were given for 2"),
        ([], None, "0 callables"),
        ("dmc/walker-wolk", 2, "dmc/walker-walk"),
    ]:
        with pytest.raises(FovealError, match=message):
            make_vector(source, n)


@pytest.mark.slow
def test_processes_of_their_own() -> None:
    env = make_vector("dmc/cartpole-swingup", 1, asynchronous=True, image_size=8, quality="draft", seed=4)
    alone = make("dmc/cartpole-swingup", image_size=8, quality="draft", seed=4)
    assert env.spec_info == alone.spec_info  # type: ignore[attr-defined]
    assert np.array_equal(env.reset()[0][0], alone.reset()[0])
    with pytest.raises(FovealError, match="asynchronous=False"):
        env.get_state()  # type: ignore[attr-defined]
    assert np.array_equal(env.step(np.ones((1, 1), np.float32))[0][0], alone.step(np.ones(1, np.float32))[0])
    env.close()
    alone.close()
