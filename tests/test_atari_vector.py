"""Atari games in Stable-Baselines3's interface, compared step by step with Stable-Baselines3's own wrappers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("ale_py", reason="needs the extra 'atari'")
pytest.importorskip("stable_baselines3", reason="needs the extra 'atari'")

import ale_py
from stable_baselines3.common import atari_wrappers
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

from foveal.atari import emulator, games
from foveal.atari.vector import AtariVecEnv

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
    name = "".join(part.title() for part in games.rom(games_.env_id).split("_"))

    def build(shadowed: emulator.Emulator) -> Callable[[], gymnasium.Env[Any, Any]]:
        def make() -> gymnasium.Env[Any, Any]:
            gymnasium.register_envs(ale_py)
            env: Any = gymnasium.make(f"{name}NoFrameskip-v4", obs_type=obs_type)
            if obs_type == "grayscale":  # SB3 wants a channel
                env = gymnasium.wrappers.ReshapeObservation(env, (210, 160, 1))
            return atari_wrappers.AtariWrapper(Monitor(SameStart(env, shadowed)))

        return make

    return VecFrameStack(DummyVecEnv([build(e) for e in games_._emulators]), 4, channels_order="last")


def set_noops(theirs: VecFrameStack, ours: AtariVecEnv) -> None:
    for env, shadowed in zip(theirs.unwrapped.envs, ours._emulators, strict=True):  # type: ignore[attr-defined]
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
    ("game", "steps"),
    [("breakout", 600), ("ms_pacman", 500), ("space_invaders", 500), ("seaquest", 400), ("freeway", 60)],
)
def test_every_step_is_that_of_the_wrappers(game: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = AtariVecEnv(f"atari/{game}", 2, seed=1)
    found = play(ours, wrapped(ours, monkeypatch), steps, seed=5)
    assert found["frames"].max() <= 1  # the resize's rounding
    assert (found["frames"] > 0).mean() < 0.01
    if game != "freeway":
        assert found["points"] > 0 and found["games"] > 0 and found["lives"] > 0
