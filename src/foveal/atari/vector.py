"""Atari games as a vector environment of Gymnasium's, on ale-py's native one.

Preprocessing is that of the Nature DQN as OpenAI's baselines and Stable-Baselines3 do it: 1 to 30 frames of doing
nothing, four frames a step, the maximum of the last two, 84x84 grey, four frames stacked, rewards clipped to their
sign, a lost life ends an episode but not the game, FIRE pressed where a game waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from foveal import checkpoint
from foveal.atari.emulator import SIZE, Emulator, Moment, replay
from foveal.atari.maps import SCREEN
from foveal.envs import games
from foveal.errors import FovealError

STACK = 4


class AtariVector(VectorEnv[NDArray[np.uint8], NDArray[np.int64], NDArray[Any]]):
    """Several games of one kind, stepped together, each in a thread of its own.

    The step that ends an episode shows the next one's first observation (Gymnasium's SAME_STEP). ``infos`` has
    ``lives`` of every game, ``final_obs`` of each episode that ended, and at the end of a game ``episode``, with its
    true score as ``r`` and its agent steps as ``l``, whatever lives it took. ``_final_obs`` and ``_episode`` say where.

    Args:
        env: id such as ``"atari/breakout"``.
        count: how many games.
        seed: of how they begin; the same seed and the same actions give the same games.
        life_loss: a lost life ends an episode.
        clip_rewards: rewards are -1, 0 or 1; scores never are.
        frame_limit: emulator frames after which a game is cut off, which is no termination; None for those of the
            protocol "v4" (``foveal.envs.games.PROTOCOLS``).
        sticky: probability, in every emulator frame, that the action before is carried out again.
        in_color: observations are whole screens in colour, (count, 4, 210, 160, 3), for people to look at.
        repeat_first: the first observation of an episode has its first frame four times, as OpenAI baselines' DQN has
            it, and as replay stores it; otherwise three black ones before it, as their PPO has it.
        size: side of a grey frame, in pixels.

    Raises:
        FovealError: the extra is missing, or there is no such game.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        env: str,
        count: int,
        seed: int,
        *,
        life_loss: bool = True,
        clip_rewards: bool = True,
        frame_limit: int | None = None,
        sticky: float = 0.0,
        in_color: bool = False,
        repeat_first: bool = False,
        size: int = SIZE,
    ) -> None:
        self.env_id = games.env_id(env)
        self.life_loss = life_loss
        self.clip_rewards = clip_rewards
        self._random = np.random.default_rng(seed)
        self.repeat_first = repeat_first
        rom, limit = games.rom(self.env_id), frame_limit or games.PROTOCOLS["v4"].limit(self.env_id)
        self._emulators = [Emulator(rom, limit, sticky=sticky, in_color=in_color, size=size) for _ in range(count)]
        shape = (STACK, *SCREEN, 3) if in_color else (STACK, size, size)
        self._stacks = np.zeros((count, *shape), np.uint8)  # oldest first
        self._lives = [0] * count
        self._scores = [0] * count
        self._lengths = [0] * count
        self.num_envs = count
        self.single_observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.single_action_space = spaces.Discrete(self._emulators[0].actions)
        self.observation_space = batch_space(self.single_observation_space, count)
        self.action_space = batch_space(self.single_action_space, count)

    # --- stepping -------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """New games, (count, 4, size, size), and ``lives``.

        Args:
            seed: begin as if made with this one.
            options: none are known.

        Raises:
            FovealError: several seeds are given: one decides how all games begin.
        """
        if isinstance(seed, list):
            raise FovealError("Atari games are begun from one seed for all of them, not from a list of seeds")
        if seed is not None:
            self._random = np.random.default_rng(seed)
        for index in range(self.num_envs):
            self._begin_game(index, reseed=seed is not None)
        return self._stacks.copy(), {"lives": np.array(self._lives)}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Observations, rewards, terminations, truncations and infos.

        Args:
            actions: (count,) indices into the game's minimal action set.
        """
        for emulator, action in zip(self._emulators, actions, strict=True):
            emulator.send(int(action))
        found = [self._advance(index, emulator.receive()) for index, emulator in enumerate(self._emulators)]
        rewards = np.array([step.reward for step in found], np.float32)
        ended = np.array([step.final is not None for step in found])
        cut = np.array([step.cut for step in found])
        if self.clip_rewards:
            rewards = np.sign(rewards)
        return self._stacks.copy(), rewards, ended & ~cut, cut, _as_infos(found)

    def _advance(self, index: int, moment: Moment) -> _Step:
        """Account for a step, and begin the next episode where it ended one."""
        lost = self.life_loss and 0 < moment.lives < self._lives[index]
        self._count(index, moment)
        self._lengths[index] += 1
        self._push(index, moment)
        if not (moment.over or moment.cut or lost):
            return _Step(moment.reward, moment.lives)
        final = self._stacks[index].copy()
        game = self._end_game(index) if moment.over or moment.cut else self._begin_life(index)
        return _Step(moment.reward, moment.lives, final, moment.cut and not lost, game)

    def _begin_game(self, index: int, *, reseed: bool = False) -> None:
        emulator = self._emulators[index]
        while True:
            moment = emulator.reset(self._random, reseed=reseed)
            self._scores[index] = self._lengths[index] = 0
            self._lives[index] = moment.lives
            if self._open(index, moment, emulator.opening):
                return

    def _begin_life(self, index: int) -> tuple[float, int] | None:
        """Go on after a lost life; in a new game if this one ends on the way, whose result is given then."""
        emulator = self._emulators[index]
        return None if self._open(index, None, emulator.nothing + emulator.opening) else self._end_game(index)

    def _end_game(self, index: int) -> tuple[float, int]:
        """Begin another game; gives the score and the agent steps of the one that ended."""
        game = float(self._scores[index]), self._lengths[index]
        self._begin_game(index)
        return game

    def _open(self, index: int, moment: Moment | None, actions: Sequence[int]) -> bool:
        """The steps that nobody learns from; False if the game ended within them."""
        for action in actions:
            moment = self._emulators[index].step(action)
            self._count(index, moment)
            if moment.over or moment.cut:
                return False
        assert moment is not None
        self._stacks[index] = moment.frame if self.repeat_first else 0
        self._push(index, moment)
        return True

    def _count(self, index: int, moment: Moment) -> None:
        self._scores[index] += moment.reward
        self._lives[index] = moment.lives

    def _push(self, index: int, moment: Moment) -> None:
        stack = self._stacks[index]
        stack[:-1] = stack[1:]
        stack[-1] = moment.frame

    # --- state ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on, for ``checkpoint.split``."""
        return {
            "random": checkpoint.numpy_state(self._random),
            "emulators": [emulator.state() for emulator in self._emulators],
            "stacks": self._stacks.copy(),
            "lives": list(self._lives),
            "scores": list(self._scores),
            "lengths": list(self._lengths),
        }

    def load_state(self, state: Mapping[str, Any]) -> bool:
        """Play the games again up to where they were; False, and new games, if that leads elsewhere.

        It does on another version of ale-py, whose emulator may differ.
        """
        checkpoint.load_numpy_state(self._random, state["random"])
        moments = replay(self._emulators, state["emulators"])
        stacks, lives = np.asarray(state["stacks"]), [int(lives) for lives in state["lives"]]
        same = [np.array_equal(m.frame, stack[-1]) for m, stack in zip(moments, stacks, strict=True)]
        if not all(same) or lives != [moment.lives for moment in moments]:
            self.reset()
            return False
        self._stacks[:] = stacks
        self._lives = lives
        self._scores = [int(score) for score in state["scores"]]
        self._lengths = [int(length) for length in state["lengths"]]
        return True

    @property
    def observation(self) -> NDArray[np.uint8]:
        """(count, 4, size, size): what the games show now."""
        return self._stacks.copy()

    @property
    def scores(self) -> list[int]:
        """Points of every running game so far."""
        return list(self._scores)

    def close_extras(self, **kwargs: Any) -> None:
        """Let go of the emulators."""
        self._emulators = []


class _Step(NamedTuple):
    """What became of one game in one step.

    Attributes:
        reward: points.
        lives: left.
        final: the last observation of the episode that ended, else None.
        cut: a time limit ended it.
        game: score and agent steps of the game that ended, else None.
    """

    reward: int
    lives: int
    final: NDArray[np.uint8] | None = None
    cut: bool = False
    game: tuple[float, int] | None = None


def _as_infos(steps: Sequence[_Step]) -> dict[str, Any]:
    """As Gymnasium's vector environments give them: arrays over all games, and masks."""
    infos: dict[str, Any] = {"lives": np.array([step.lives for step in steps])}
    if any(step.final is not None for step in steps):
        infos["final_obs"] = np.array([None] * len(steps), dtype=object)
        for index, step in enumerate(steps):
            infos["final_obs"][index] = step.final
        infos["_final_obs"] = np.array([step.final is not None for step in steps])
    if any(step.game is not None for step in steps):
        scores, lengths = zip(*(step.game or (0.0, 0) for step in steps), strict=True)
        infos["episode"] = {"r": np.array(scores), "l": np.array(lengths)}
        infos["_episode"] = np.array([step.game is not None for step in steps])
    return infos


def finished_games(infos: Mapping[str, Any]) -> Iterator[tuple[int, float, int]]:
    """Number, true score and agent steps of each game that ended in a step."""
    for index in np.flatnonzero(infos.get("_episode", [])):
        yield int(index), float(infos["episode"]["r"][index]), int(infos["episode"]["l"][index])
