"""Atari games as vector environments, compared step by step with Stable-Baselines3's own wrappers."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("ale_py", reason="needs the extra 'atari'")
pytest.importorskip("stable_baselines3", reason="needs the extra 'sb3'")

import ale_py
from stable_baselines3.common import atari_wrappers
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

from foveal import checkpoint
from foveal.atari import emulator, vector
from foveal.atari.sb3 import AtariVecEnv
from foveal.atari.vector import AtariVector, finished_games
from foveal.envs import games
from foveal.errors import FovealError

# --- the oracle: SB3's wrappers around ale-py's ordinary environment --------------------------------------------------


def area_weights(size: int, target: int) -> NDArray[np.float64]:
    """(target, size): how much of each source pixel an output pixel covers. OpenCV's INTER_AREA when shrinking."""
    edges = np.arange(target + 1) * size / target
    pixels = np.arange(size)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(covered, 0, None) * target / size


def resize(frame: NDArray[np.uint8], size: tuple[int, int], interpolation: int) -> NDArray[np.uint8]:
    height, width = frame.shape
    shrunk = area_weights(height, size[1]) @ frame.astype(np.float64) @ area_weights(width, size[0]).T
    return np.rint(shrunk).astype(np.uint8)


def grey(frame: NDArray[np.uint8], code: int) -> NDArray[np.uint8]:
    if frame.ndim == 2 or frame.shape[-1] == 1:
        return frame.reshape(frame.shape[:2])
    return np.rint(frame @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


CV2 = SimpleNamespace(cvtColor=grey, resize=resize, COLOR_RGB2GRAY=7, INTER_AREA=3)


class SameStart(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Begins each game as the emulator that it shadows has just done: its seed, its resets, its noops."""

    def __init__(self, env: gymnasium.Env[Any, Any], shadowed: emulator.Emulator) -> None:
        super().__init__(env)
        self.shadowed = shadowed
        self.seed: int | None = None

    def reset(self, **_: Any) -> Any:
        ale: Any = self.env.unwrapped.ale  # type: ignore[attr-defined]
        history, end = self.shadowed._history, 0
        opening = len(history) - 1 - history[::-1].index(255) if 255 in history else -1
        while opening - end >= 0 and history[opening - end] == 255:
            end += 1
        if self.shadowed._seed != self.seed:
            self.seed = self.shadowed._seed
            ale.setInt("random_seed", self.seed)
            ale.loadROM(ale_py.roms.get_rom_path(self.env.unwrapped._game))  # type: ignore[attr-defined]
            end += 1
        for _ in range(end - 1):
            ale.reset_game()
        return self.env.reset()


def wrapped(games_: AtariVecEnv, monkeypatch: pytest.MonkeyPatch, obs_type: str = "grayscale") -> VecFrameStack:
    """SB3's wrappers, each around an environment that begins its games like ours."""
    monkeypatch.setattr(atari_wrappers, "cv2", CV2)
    name = "".join(part.title() for part in games.rom(games_.games.env_id).split("_"))

    def build(shadowed: emulator.Emulator) -> Callable[[], gymnasium.Env[Any, Any]]:
        def make() -> gymnasium.Env[Any, Any]:
            gymnasium.register_envs(ale_py)
            env: Any = gymnasium.make(f"{name}NoFrameskip-v4", obs_type=obs_type)
            if obs_type == "grayscale":  # SB3 wants a channel
                env = gymnasium.wrappers.ReshapeObservation(env, (210, 160, 1))
            return atari_wrappers.AtariWrapper(Monitor(SameStart(env, shadowed)))

        return make

    return VecFrameStack(DummyVecEnv([build(e) for e in games_.games._emulators]), 4, channels_order="last")


def set_noops(theirs: VecFrameStack, ours: AtariVecEnv) -> None:
    for env, shadowed in zip(theirs.unwrapped.envs, ours.games._emulators, strict=True):  # type: ignore[attr-defined]
        while not isinstance(env, atari_wrappers.NoopResetEnv):
            env = env.env
        env.override_num_noops = shadowed.noops


def channels_first(frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.moveaxis(np.asarray(frames), -1, -3).astype(np.int64)


def play(ours: AtariVecEnv, theirs: VecFrameStack, steps: int, seed: int) -> dict[str, Any]:
    """The same actions in both; compares everything but frames, and collects the differences of these."""
    random = np.random.default_rng(seed)
    mine = ours.reset()
    set_noops(theirs, ours)
    counts = {"lives": 0, "games": 0, "points": 0.0}
    differences = [np.abs(mine - channels_first(theirs.reset()))]
    for step in range(steps):
        actions = random.integers(ours.action_space.n, size=ours.num_envs)  # type: ignore[attr-defined]
        mine, rewards, dones, infos = ours.step(actions)
        set_noops(theirs, ours)
        obs, wanted_rewards, wanted_dones, wanted_infos = theirs.step(actions)
        np.testing.assert_array_equal(rewards, wanted_rewards, str(step))
        np.testing.assert_array_equal(dones, wanted_dones, str(step))
        differences.append(np.abs(mine - channels_first(obs)))
        for info, wanted in zip(infos, wanted_infos, strict=True):
            assert ("terminal_observation" in info) == ("terminal_observation" in wanted)
            assert ("episode" in info) == ("episode" in wanted)
            if "episode" in info:
                counts["games"] += 1
                counts["points"] += info["episode"]["r"]
                assert info["episode"]["r"] == wanted["episode"]["r"]
            if "terminal_observation" in info:
                assert info["TimeLimit.truncated"] == wanted["TimeLimit.truncated"]
                final = np.abs(info["terminal_observation"] - channels_first(wanted["terminal_observation"]))
                # Where a game ends within a step, ale-py and SB3 leave out different frames of the newest picture.
                differences.append(final[: None if "episode" not in info else -1])
                counts["lives"] += "episode" not in info
    return counts | {"frames": np.concatenate([d.ravel() for d in differences])}


@pytest.mark.parametrize(
    ("game", "steps", "seen"),
    [
        ("breakout", 320, {"lives", "games", "points"}),
        ("ms_pacman", 500, {"lives", "games", "points"}),
        ("space_invaders", 210, {"lives"}),
        ("freeway", 40, set()),
    ],
)
@pytest.mark.slow
def test_every_step_is_that_of_the_wrappers(
    game: str, steps: int, seen: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator, "RESEED_AFTER", 300)  # so that games begin in both ways
    ours = AtariVecEnv(f"atari/{game}", 2, seed=1)
    found = play(ours, wrapped(ours, monkeypatch), steps, seed=5)
    assert found["frames"].max() <= 1  # the resize's rounding
    assert (found["frames"] > 0).mean() < 0.01
    assert {name for name in ("lives", "games", "points") if found[name]} == seen


@pytest.mark.slow
def test_colours_of_two_frames_are_mixed_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """SB3 takes the maximum of two colour frames and makes that grey; ale-py takes it of two grey ones."""
    ours = AtariVecEnv("atari/ms_pacman", 1, seed=1)
    found = play(ours, wrapped(ours, monkeypatch, "rgb"), 100, seed=5)
    assert 1 < found["frames"].max() < 64
    assert (found["frames"] > 1).mean() < 0.01


# --- scores, lives, limits --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_scores_are_true_while_rewards_are_clipped() -> None:
    clipped, whole = (AtariVector("atari/ms_pacman", 1, seed=2, clip_rewards=clip) for clip in (True, False))
    clipped.reset(), whole.reset()
    random, sums, score = np.random.default_rng(0), [0.0, 0.0], None
    while score is None:
        actions = random.integers(9, size=1)
        (_, small, _, _, infos), (_, large, _, _, others) = clipped.step(actions), whole.step(actions)
        np.testing.assert_array_equal(np.sign(large), small)
        sums = [sums[0] + small[0], sums[1] + large[0]]
        for _, score, _ in finished_games(infos):
            assert others["episode"]["r"] == [score]
    assert score == sums[1] > 10 * sums[0] - 1 > 0  # a pellet is worth 10; nothing is scored while a life begins


@pytest.mark.slow
def test_a_life_ends_an_episode_only_if_asked() -> None:
    ended = {}
    for life_loss in (True, False):
        env = AtariVector("atari/breakout", 1, seed=4, life_loss=life_loss)
        env.reset()
        ended[life_loss] = [env.step(np.array([1 + step % 2]))[2:] for step in range(400)]
    lost = [infos["lives"][0] for over, _, infos in ended[True] if over[0] and "episode" not in infos]
    assert lost[:4] == [4, 3, 2, 1]
    games_over = [infos for over, _, infos in ended[False] if over[0]]
    assert games_over and all("episode" in infos for infos in games_over)


@pytest.mark.slow
def test_after_an_episode_the_older_frames_are_black() -> None:
    env = AtariVector("atari/breakout", 1, seed=4)
    (frames, _), over = env.reset(), np.array([False])
    assert [bool(frame.any()) for frame in frames[0]] == [False, False, False, True]
    while not over[0]:
        frames, _, over, _, infos = env.step(np.array([1]))
    assert [bool(frame.any()) for frame in frames[0]] == [False, False, False, True]
    assert infos["final_obs"][0].any(axis=(1, 2)).all()


@pytest.mark.slow
def test_the_frame_limit_is_no_termination() -> None:
    env = AtariVector("atari/freeway", 1, seed=0, frame_limit=200)  # a game that waits for no FIRE
    env.reset()
    for step in range(1, 51):
        _, _, terminated, truncated, infos = env.step(np.array([1]))
        assert (terminated[0], truncated[0]) == (False, step == 50)
    assert [length for _, _, length in finished_games(infos)] == [50]


@pytest.mark.slow
def test_infos_are_those_of_gymnasium() -> None:
    """Arrays over all games, and masks that say which entries count; one game here is a step ahead of the other."""
    env = AtariVector("atari/freeway", 2, seed=0, frame_limit=40)
    frames, infos = env.reset()
    assert env.observation_space.contains(frames) and infos["lives"].tolist() == [0, 0]
    assert env.single_observation_space.shape == (4, 84, 84) and env.action_space.contains(np.array([2, 2]))
    env._lengths[1] = 5
    for _ in range(9):
        assert env.step(np.array([1, 1]))[4].keys() == {"lives"}
    frames, _, _, truncated, infos = env.step(np.array([1, 1]))
    assert truncated.all() and infos["_final_obs"].all() and infos["_episode"].all()
    assert infos["episode"]["l"].tolist() == [10, 15]
    assert all(env.single_observation_space.contains(final) for final in infos["final_obs"])
    mixed = vector._as_infos([vector._Step(1, 3), vector._Step(0, 2, frames[1], False, (7.0, 9))])
    assert mixed["final_obs"][0] is None and mixed["_final_obs"].tolist() == mixed["_episode"].tolist() == [False, True]
    assert list(finished_games(mixed)) == [(1, 7.0, 9)]


@pytest.mark.slow
def test_a_reset_with_a_seed_begins_anew() -> None:
    env, other = AtariVector("atari/breakout", 2, seed=3), AtariVector("atari/breakout", 2, seed=4)
    env.reset(), other.reset()
    wanted = steps_of(env, 10, seed=0)
    steps_of(other, 20, seed=1)
    other.reset(seed=3)
    assert steps_of(other, 10, seed=0) == wanted
    with pytest.raises(FovealError, match="one seed for all"):
        env.reset(seed=[1, 2])


# --- state ------------------------------------------------------------------------------------------------------------


def stored(state: dict[str, Any]) -> Any:
    """Through what checkpoints hold: tensors and JSON."""
    tensors, tree = checkpoint.split(state)
    return checkpoint.join(tensors, json.loads(json.dumps(tree)))


def steps_of(env: AtariVector, count: int, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        actions = random.integers(env.single_action_space.n, size=env.num_envs)
        frames, rewards, *ends, infos = env.step(actions)
        found.append((frames.tobytes(), rewards.tolist(), [end.tolist() for end in ends], list(finished_games(infos))))
    return found


@pytest.mark.parametrize("reseed_after", [150, 100_000])
@pytest.mark.slow
def test_games_go_on_where_they_were(reseed_after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "RESEED_AFTER", reseed_after)
    env = AtariVector("atari/breakout", 2, seed=7)
    env.reset()
    steps_of(env, 330, seed=0)
    state = stored(env.state())
    wanted = steps_of(env, 220, seed=1)
    assert any(games_ for *_, games_ in wanted)

    other = AtariVector("atari/breakout", 2, seed=8)
    assert other.load_state(state)
    np.testing.assert_array_equal(other.observation, state["stacks"])
    assert steps_of(other, 220, seed=1) == wanted


@pytest.mark.slow
def test_games_that_can_not_be_played_again_start_again() -> None:
    env = AtariVector("atari/breakout", 2, seed=7)
    env.reset()
    steps_of(env, 60, seed=0)
    state = stored(env.state())
    state["emulators"][1]["seed"] += 1
    state["emulators"][1]["history"][5:] = 3
    assert not env.load_state(state)
    assert steps_of(env, 5, seed=0)
    assert env.state()["lengths"] == [5, 5]


@pytest.mark.slow
def test_the_seed_decides_everything() -> None:
    runs = []
    for seed in (1, 1, 2):
        env = AtariVector("atari/seaquest", 2, seed=seed)
        env.reset()
        runs.append(steps_of(env, 80, seed=0))
    assert runs[0] == runs[1] != runs[2]


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["atari/ms_pacman", "atari/MsPacman", "atari/ms-pacman", "ms_pacman"])
def test_games_have_one_name(name: str) -> None:
    assert games.env_id(name) == "atari/ms_pacman"
    assert games.action_count("atari/ms_pacman") == 9


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("atari/brekout", "unknown Atari game 'brekout': did you mean 'breakout'"),
        ("atari/combat", "needs two players"),
    ],
)
def test_unknown_games(name: str, message: str) -> None:
    with pytest.raises(FovealError, match=message):
        AtariVector(name, 1, seed=0)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(FovealError, match=r'pip install "foveal\[atari\]"'):
        games.require_extra()


@pytest.mark.slow
def test_what_the_interface_of_stable_baselines_offers_beside() -> None:
    env = AtariVecEnv("atari/pong", 2, seed=0)
    assert env.get_attr("env_id") == ["atari/pong"] * 2 and env.render_mode is None
    assert env.env_is_wrapped(gymnasium.Wrapper, [0]) == [False]
    assert not env.has_attr("nonsense")
    with pytest.raises(AttributeError, match="no method 'jump'"):
        env.env_method("jump")
    with pytest.raises(AttributeError, match="no attribute 'lives'"):
        env.set_attr("lives", 9)
    env.close()


def test_the_extra_of_stable_baselines_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.vec_env", None)
    monkeypatch.delitem(sys.modules, "foveal.atari.sb3")
    with pytest.raises(FovealError, match=r'pip install "foveal\[atari,sb3\]"'):
        importlib.import_module("foveal.atari.sb3")
