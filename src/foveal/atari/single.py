"""One Atari game as an environment of Gymnasium's: whole games, as whoever plays sees them, with their true scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from foveal.atari.vector import AtariVector, finished_games


class GameEnv(gymnasium.Env[NDArray[np.uint8], Any]):
    """A game from its beginning to its end.

    Observations are (4, size, size), the last four grey frames. A reward is the points of a step, unclipped, so that
    a return is the game's score. A lost life ends no episode; stacks begin anew with it where the rules say so.

    Args:
        env: id such as ``"atari/breakout"``.
        rules: keyword arguments of ``foveal.atari.vector.AtariVector``.

    Raises:
        FovealError: the extra is missing, or there is no such game.
    """

    def __init__(self, env: str, rules: Mapping[str, Any]) -> None:
        self._games = AtariVector(env, 1, 0, **rules)
        self.observation_space = self._games.single_observation_space
        self.action_space = self._games.single_action_space
        self._score = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """A new game; the same seed and the same actions give the same one."""
        super().reset(seed=seed)
        seen, _ = self._games.reset(seed=seed)
        self._score = float(self._games.scores[0])
        return seen[0], {}

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """One step of four frames; ``action`` is an index into the game's minimal action set."""
        seen, _, _, cut, infos = self._games.step(np.array([action]))
        ended = next(finished_games(infos), None)
        before, self._score = self._score, float(self._games.scores[0]) if ended is None else ended[1]
        if ended is None:
            return seen[0], self._score - before, False, False, {}
        return infos["final_obs"][0], self._score - before, not cut[0], bool(cut[0]), {}

    def close(self) -> None:
        """Let go of the emulator."""
        self._games.close()


@dataclass(frozen=True)
class GameMaker:
    """Makes a game again and again.

    Attributes:
        env: its id.
        rules: see ``GameEnv``.
    """

    env: str
    rules: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As results say it."""
        return self.env

    def __call__(self) -> GameEnv:
        """A new one."""
        return GameEnv(self.env, self.rules)
