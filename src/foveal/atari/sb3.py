"""Atari games as a vector environment of Stable-Baselines3's, for its agents."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.atari.vector import AtariVector
from foveal.errors import FovealError

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise FovealError('games for Stable-Baselines3 need the extra: pip install "foveal[atari,sb3]"') from error


class AtariVecEnv(VecEnv):
    """``foveal.atari.vector.AtariVector`` in the words of Stable-Baselines3.

    ``infos[i]`` holds ``lives``; at the end of an episode ``terminal_observation`` and ``TimeLimit.truncated``; at the
    end of a game also ``episode``, with its true score as ``r`` and its agent steps as ``l``.

    Args:
        env: id such as ``"atari/breakout"``.
        count: how many games.
        seed: of how they begin.
        **options: keyword arguments of ``AtariVector``.

    Raises:
        FovealError: there is no such game.
    """

    render_mode = None

    def __init__(self, env: str, count: int, seed: int, **options: Any) -> None:
        self.games = AtariVector(env, count, seed, **options)
        super().__init__(count, self.games.single_observation_space, self.games.single_action_space)
        self._actions: NDArray[np.int64] = np.zeros(count, np.int64)

    def reset(self) -> NDArray[np.uint8]:
        """New games: (count, 4, 84, 84)."""
        return self.games.reset()[0]

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Say what to do: (count,) indices into the game's minimal action set."""
        self._actions = actions

    def step_wait(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Observations, rewards, dones and infos; where an episode ended, the observation is the next one's first."""
        seen, rewards, terminated, truncated, infos = self.games.step(self._actions)
        described: list[dict[str, Any]] = [{"lives": int(lives)} for lives in infos["lives"]]
        for index in np.flatnonzero(terminated | truncated):
            described[index]["terminal_observation"] = infos["final_obs"][index]
            described[index]["TimeLimit.truncated"] = bool(truncated[index])
        for index in np.flatnonzero(infos.get("_episode", [])):
            score, length = infos["episode"]["r"][index], infos["episode"]["l"][index]
            described[index]["episode"] = {"r": float(score), "l": int(length)}
        return seen, rewards, terminated | truncated, described

    def close(self) -> None:
        """Let go of the emulators."""
        self.games.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same for each game."""
        return [getattr(self.games, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Never: games have none of their own."""
        raise AttributeError(f"the games have no attribute {attr_name!r} of their own")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Never: games have none of their own."""
        raise AttributeError(f"the games have no method {method_name!r} of their own")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """None is."""
        return [False] * len(list(self._get_indices(indices)))
