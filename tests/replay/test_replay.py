"""Replay against an oracle that keeps whole episodes in lists, and its behaviour at the edges."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foveal.errors import FovealError
from foveal.replay import ReplayBuffer

SHAPE = (3, 1, 2)
GAMMA = 0.9


def frame(stream: int, episode: int, step: int) -> np.ndarray:
    """A frame that says where it comes from, one number a channel."""
    return np.broadcast_to(np.array([stream, episode, step], np.uint8)[:, None, None], SHAPE)


def stacked(stream: int, episode: int, step: int, stack: int) -> np.ndarray:
    return np.concatenate([frame(stream, episode, max(0, step - back)) for back in range(stack - 1, -1, -1)])


@dataclass
class Episode:
    """An episode as the oracle keeps it; the lists hold its steps 1, 2, ..."""

    row: int  # of its first observation, in its stream
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False
    closed: bool = False


class Driver:
    """Feeds a replay and an oracle the same steps."""

    def __init__(self, capacity: int, stack: int, n_step: int, streams: int, vector: bool, **options: Any) -> None:
        self.stack, self.n_step, self.capacity = stack, n_step, capacity // streams
        self.vector = vector
        self.replay = ReplayBuffer(
            capacity,
            SHAPE,
            stack,
            (2,),
            vector_size=2 if vector else 0,
            streams=streams,
            n_step=n_step,
            discount=GAMMA,
            **options,
        )
        self.episodes: list[list[Episode]] = [[] for _ in range(streams)]
        self.rows = [0] * streams

    def observation(self, stream: int, episode: int, step: int) -> Any:
        image = stacked(stream, episode, step, self.stack)
        return {"image": image, "vector": np.array([episode, step], np.float32)} if self.vector else image

    def begin(self, stream: int) -> None:
        if self.episodes[stream]:
            self.episodes[stream][-1].closed = True
        self.episodes[stream].append(Episode(self.rows[stream]))
        self.rows[stream] += 1
        self.replay.begin(stream, self.observation(stream, len(self.episodes[stream]) - 1, 0))

    def step(self, stream: int, terminated: bool = False, truncated: bool = False) -> None:
        """One step; or the first observation of an episode, where none is running."""
        if not self.episodes[stream] or self.episodes[stream][-1].closed:
            self.begin(stream)
            return
        number, episode = len(self.episodes[stream]) - 1, self.episodes[stream][-1]
        step = len(episode.rewards) + 1
        reward = float(number * 100 + step)
        action = np.array([number / 100, step / 100], np.float32)
        self.replay.add(stream, action, reward, terminated, truncated, self.observation(stream, number, step))
        episode.rewards.append(reward)
        episode.terminated, episode.closed = terminated, terminated or truncated
        self.rows[stream] += 1

    def expected(self) -> dict[tuple[int, int, int], tuple[float, float, int]]:
        """(stream, episode, step) of every transition -> its reward, discount and the step that it leads to."""
        found = {}
        for stream, episodes in enumerate(self.episodes):
            oldest = self.rows[stream] - self.capacity
            for number, episode in enumerate(episodes):
                for step in range(len(episode.rewards)):
                    end = min(step + self.n_step, len(episode.rewards))
                    if end - step < self.n_step and not episode.closed:
                        continue
                    if episode.row + max(0, step - self.stack + 1) < oldest:
                        continue
                    reward = sum(GAMMA**j * r for j, r in enumerate(episode.rewards[step:end]))
                    over = episode.terminated and end == len(episode.rewards)
                    found[stream, number, step] = reward, 0.0 if over else GAMMA ** (end - step), end
        return found

    def check(self) -> None:
        """Every sample is one of the expected transitions, and every expected one is sampled."""
        expected = self.expected()
        assert len(self.replay) == len(expected)
        if not expected:
            with pytest.raises(FovealError, match="no complete transition"):
                self.replay.sample(1)
            return
        # The chance that some transition is never drawn is below 1e-9.
        size = int(len(expected) * (np.log(len(expected)) + 21)) + 1
        batch = self.replay.sample(size)
        seen = set()
        for i, image in enumerate(batch.obs.image.numpy()):
            stream, episode, step = (int(channel[0, 0]) for channel in image[-3:])
            reward, discount, end = expected[stream, episode, step]
            seen.add((stream, episode, step))
            np.testing.assert_array_equal(image, stacked(stream, episode, step, self.stack))
            np.testing.assert_array_equal(batch.next_obs.image[i], stacked(stream, episode, end, self.stack))
            np.testing.assert_allclose(batch.reward[i], reward, rtol=1e-6)
            np.testing.assert_allclose(batch.discount[i], discount, rtol=1e-6)
            np.testing.assert_allclose(batch.action[i], [episode / 100, (step + 1) / 100], rtol=1e-6)
            if self.vector:
                assert batch.obs.vector is not None and batch.next_obs.vector is not None
                assert batch.obs.vector[i].tolist() == [episode, step]
                assert batch.next_obs.vector[i].tolist() == [episode, end]
        assert seen == set(expected)


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["step"] * 6 + ["terminated", "truncated", "begin"])), max_size=120
)


def drive(driver: Driver, steps: list[tuple[int, str]]) -> None:
    for stream, what in steps:
        stream %= len(driver.rows)
        if what == "begin":
            driver.begin(stream)
        else:
            driver.step(stream, what == "terminated", what == "truncated")


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 30), st.booleans())
@example([(0, "step")] * 40, 3, 3, 1, 0, False)  # one endless episode in the smallest ring
@example([(0, "step"), (0, "terminated")] * 30, 3, 3, 1, 4, True)  # episodes shorter than the n-step window
@example([(0, "begin")] * 20 + [(0, "step")] * 3, 2, 2, 1, 2, False)  # empty episodes
# An episode ends on a slot behind which an overwritten episode's rows have just the steps that would come next.
@example([(0, "step")] * 10 + [(0, "begin"), (0, "step"), (0, "terminated")], 1, 3, 1, 6, False)
@pytest.mark.slow
def test_samples_are_exactly_the_transitions_of_the_oracle(
    steps: list[tuple[int, str]], stack: int, n_step: int, streams: int, spare: int, vector: bool
) -> None:
    driver = Driver(streams * (stack + n_step) + spare, stack, n_step, streams, vector)
    for position in range(0, len(steps), 40):
        drive(driver, steps[position : position + 40])
        driver.check()


@settings(max_examples=60, deadline=None)
@given(STEPS, STEPS, st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(0, 30), st.integers(1, 20))
@pytest.mark.slow
def test_a_restored_buffer_goes_on_bit_for_bit(
    before: list[tuple[int, str]],
    after: list[tuple[int, str]],
    stack: int,
    n_step: int,
    streams: int,
    spare: int,
    length: int,
) -> None:
    def make() -> Driver:
        return Driver(streams * (stack + n_step) + spare, stack, n_step, streams, True, segment_length=length)

    original, copy = make(), make()
    stored: dict[str, Any] = {}
    for position in range(0, len(before), 30):  # as a run's checkpoints do: sealed segments are read only once
        drive(original, before[position : position + 30])
        live = {s.name: s for s in original.replay.segments()}
        fresh = {name: s.read() for name, s in live.items() if not s.sealed or name not in stored}
        stored = {name: stored[name] for name in live if name not in fresh} | fresh
    original.check()  # moves the generator on
    copy.replay.load_state(json.loads(json.dumps(original.replay.state())), stored)
    copy.episodes, copy.rows = [list(map(clone, e)) for e in original.episodes], list(original.rows)
    drive(original, after)
    drive(copy, after)
    original_state, copy_state = original.replay.state(), copy.replay.state()
    for stream in original_state["rows"] + copy_state["rows"]:
        stream.pop("sealed")  # names after a resume are new ones
    assert original_state == copy_state
    if len(original.replay):
        assert_same(original.replay.sample(50), copy.replay.sample(50))
    copy.check()


def clone(episode: Episode) -> Episode:
    return Episode(episode.row, list(episode.rewards), episode.terminated, episode.closed)


def assert_same(one: Any, other: Any) -> None:
    for name in ("action", "reward", "discount"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    for name in ("obs", "next_obs"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            assert (a is None and b is None) or torch.equal(a, b)


def filled(steps: int, **options: Any) -> ReplayBuffer:
    replay = ReplayBuffer(64, SHAPE, 3, **options)
    replay.begin(0, stacked(0, 0, 0, 3))
    for step in range(1, steps + 1):
        replay.add(0, 0.5, 1.0, False, False, stacked(0, 0, step, 3))
    return replay


def test_sealed_segments_never_change() -> None:
    driver = Driver(50, 3, 3, 1, True, segment_length=8)
    known: dict[str, dict[str, np.ndarray]] = {}
    for step in range(120):
        driver.step(0, terminated=step % 7 == 6, truncated=step % 11 == 10)
        for segment in driver.replay.segments():
            if not segment.sealed:
                continue
            now = segment.read()
            then = known.setdefault(segment.name, now)
            for key in now:  # only overwritten rows, the oldest ones, may be missing by now
                np.testing.assert_array_equal(now[key], then[key][len(then[key]) - len(now[key]) :])
    assert len(known) == driver.rows[0] // 8


def test_names_of_sealed_segments_are_never_used_again() -> None:
    replay, other = filled(20, segment_length=8), filled(20, segment_length=8)

    def names(replay: ReplayBuffer) -> set[str]:
        return {segment.name for segment in replay.segments() if segment.sealed}

    assert len(names(replay)) == 2 and not names(replay) & names(other)
    state, segments = replay.state(), {s.name: s.read() for s in replay.segments()}
    futures = []
    for _ in range(2):  # a run that is resumed from the same state twice may go on differently
        replay.load_state(state, segments)
        for step in range(21, 31):
            replay.add(0, 0.5, 1.0, False, False, stacked(0, 0, step, 3))
        futures.append(names(replay))
    assert len(futures[0] & futures[1]) == 2 and len(futures[0] | futures[1]) == 4


@pytest.mark.slow
def test_sampling_is_uniform() -> None:
    driver = Driver(400, 3, 3, 2, False)
    for step in range(1000):
        driver.step(0, terminated=step % 13 == 12)
        if step % 3 == 0:
            driver.step(1, truncated=step % 50 == 0)
    keys = {key: i for i, key in enumerate(driver.expected())}
    drawn = driver.replay.sample(200 * len(keys)).obs.image[:, -3:, 0, 0].numpy()
    counts = np.bincount([keys[tuple(key)] for key in drawn.tolist()], minlength=len(keys))
    chi_square = ((counts - 200) ** 2 / 200).sum()
    freedom = len(keys) - 1
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


def test_the_seed_alone_decides_what_is_sampled() -> None:
    one, same, other = (filled(40, seed=seed) for seed in (1, 1, 2))
    first = one.sample(32)
    assert_same(first, same.sample(32))
    assert not torch.equal(first.obs.image, other.sample(32).obs.image)


def test_types_and_shapes_of_a_batch() -> None:
    replay = ReplayBuffer(20, (3, 4, 5), 2, (), np.int64)
    replay.begin(0, np.zeros((6, 4, 5), np.uint8))
    replay.add(0, np.int64(3), 1.0, True, False, np.ones((6, 4, 5), np.uint8))
    batch = replay.sample(7)
    assert batch.obs.image.shape == batch.next_obs.image.shape == (7, 6, 4, 5)
    assert batch.obs.image.dtype == torch.uint8 and batch.obs.vector is None
    assert batch.action.tolist() == [3] * 7 and batch.action.dtype == torch.int64
    assert batch.reward.tolist() == [1.0] * 7 and batch.reward.dtype == torch.float32
    assert batch.discount.tolist() == [0.0] * 7 and batch.discount.dtype == torch.float32


@pytest.mark.gpu
def test_a_buffer_on_a_gpu_gives_the_same_samples() -> None:
    cpu, gpu = filled(100, segment_length=8), filled(100, segment_length=8, device="cuda")
    one, other = cpu.sample(64), gpu.sample(64)
    assert other.obs.image.is_cuda and other.reward.is_cuda
    assert_same(one, other.to("cpu"))
    restored = filled(0, segment_length=8, device="cuda")
    restored.load_state(gpu.state(), {s.name: s.read() for s in gpu.segments()})
    assert_same(cpu.sample(64), restored.sample(64).to("cpu"))


def test_each_frame_is_stored_once() -> None:
    assert 100 * ReplayBuffer(5_000, (3, 84, 84), 3, (6,), n_step=3).nbytes < 11e9  # of 500,000 frames


class Counter(gymnasium.Env[np.ndarray, int]):
    """Episodes of ``length`` steps; the picture holds the episode and the step."""

    observation_space = gymnasium.spaces.Box(0, 255, (9, 1, 2), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, number: int, length: int) -> None:
        self.number, self.length, self.episode, self.steps = number, length, -1, 0

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.episode, self.steps = self.episode + 1, 0
        return stacked(self.number, self.episode, 0, 3), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        over = self.steps == self.length
        terminated = over and self.episode % 2 == 0
        return stacked(self.number, self.episode, self.steps, 3), 1.0, terminated, over and not terminated, {}


def test_the_reset_step_of_a_vector_environment_is_no_transition() -> None:
    lengths = [3, 5]
    envs = gymnasium.vector.SyncVectorEnv([lambda i=i, n=n: Counter(i, n) for i, n in enumerate(lengths)])
    assert envs.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode.NEXT_STEP
    replay = ReplayBuffer(400, SHAPE, 3, (), np.int64, streams=2)
    obs, _ = envs.reset()
    for stream in range(2):
        replay.begin(stream, obs[stream])
    ended = np.zeros(2, bool)
    for _ in range(60):
        obs, reward, terminated, truncated, _ = envs.step(np.ones(2, np.int64))
        for stream in range(2):
            if ended[stream]:
                replay.begin(stream, obs[stream])
            else:
                replay.add(stream, 1, reward[stream], terminated[stream], truncated[stream], obs[stream])
        ended = terminated | truncated
    assert len(replay) == 45 + 50  # of 60 steps, one in 4 and one in 6 was a reset
    batch = replay.sample(3000)
    now, then = (o.image[:, -3:, 0, 0].to(torch.int64) for o in (batch.obs, batch.next_obs))  # (B, 3)
    assert (batch.reward == 1).all()  # a reset step gives 0
    assert torch.equal(now[:, :2], then[:, :2])  # one environment, one episode
    assert torch.equal(now[:, 2] + 1, then[:, 2])
    last = then[:, 2] == torch.tensor(lengths)[now[:, 0]]
    assert torch.equal(batch.discount == 0, last & (now[:, 1] % 2 == 0))  # terminated, not truncated


def test_mistakes_raise_one_clear_error() -> None:
    image = stacked(0, 0, 0, 3)
    replay = ReplayBuffer(20, SHAPE, 3, (2,))
    action = np.zeros(2, np.float32)
    with pytest.raises(FovealError, match="no complete transition"):
        replay.sample(4)
    with pytest.raises(FovealError, match="stream 0: add was called before begin"):
        replay.add(0, action, 0.0, False, False, image)
    replay.begin(0, image)
    cases: list[tuple[str, tuple[Any, ...]]] = [
        ("no stream 1", (1, action, 0.0, False, False, image)),
        ("stream 0, step 1 of the episode: the reward is nan", (0, action, np.nan, False, False, image)),
        ("the action must be", (0, np.zeros(3, np.float32), 0.0, False, False, image)),
        ("the action must be", (0, np.zeros(2, np.int64), 0.0, False, False, image)),
        ("the action must be", (0, np.array([0, np.inf]), 0.0, False, False, image)),
        (r"the image must be \(9, 1, 2\) uint8", (0, action, 0.0, False, False, image.astype(np.float32))),
        (r"the image must be \(9, 1, 2\) uint8", (0, action, 0.0, False, False, image[:6])),
        ("observation holds", (0, action, 0.0, False, False, {"image": image, "vector": np.zeros(2)})),
    ]
    for message, arguments in cases:
        with pytest.raises(FovealError, match=message):
            replay.add(*arguments)
    replay.add(0, action, 0.0, True, False, stacked(0, 0, 1, 3))
    assert len(replay) == 1  # nothing that was refused has left a trace
    with pytest.raises(FovealError, match="after the episode's end; call begin"):
        replay.add(0, action, 0.0, False, False, image)
    with pytest.raises(FovealError, match="must repeat its first frame"):
        replay.begin(0, stacked(0, 0, 2, 3))
    with pytest.raises(FovealError, match="vector must be 2 finite numbers"):
        ReplayBuffer(20, SHAPE, vector_size=2).begin(0, {"image": image, "vector": np.array([0, np.nan])})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capacity": 5, "n_step": 3}, "capacity of 5 is too small: 1 stream.* need at least 6"),
        ({"capacity": 100, "n_step": 0}, "n_step must be at least 1"),
        ({"capacity": 100, "discount": 1.5}, "discount must be within 0 and 1"),
        ({"capacity": 10**15}, "can't reserve .* use a smaller replay capacity"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        ReplayBuffer(**options)


def test_a_state_that_does_not_fit_is_refused() -> None:
    replay = filled(20, segment_length=8)
    state, segments = replay.state(), {s.name: s.read() for s in replay.segments()}
    with pytest.raises(FovealError, match=r"saved with other settings: n_step 1 \(now 3\)"):
        filled(0, segment_length=8, n_step=3).load_state(state, segments)
    with pytest.raises(FovealError, match="'s0-tail' is missing"):
        filled(0, segment_length=8).load_state(state, {k: v for k, v in segments.items() if k != "s0-tail"})
    short = {key: array[:-1] for key, array in segments["s0-tail"].items()}
    with pytest.raises(FovealError, match="'s0-tail' does not fit"):
        filled(0, segment_length=8).load_state(state, segments | {"s0-tail": short})


def test_a_batch_may_hold_a_single_transition_of_one_action_and_one_number() -> None:
    replay = ReplayBuffer(20, SHAPE, frame_stack=1, action_shape=(1,), vector_size=1)
    picture = {"image": np.zeros(SHAPE, np.uint8), "vector": np.array([5.0], np.float32)}
    replay.begin(0, picture)
    replay.add(0, np.array([0.25], np.float32), 1.0, False, True, picture)
    batch = replay.sample(1)
    assert batch.action.tolist() == [[0.25]] and batch.reward.tolist() == [1.0]
    assert batch.obs.vector is not None and batch.obs.vector.tolist() == [[5.0]]
