"""Atari games as Stable-Baselines3's vector environment, on ale-py's native one.

Preprocessing is that of the Nature DQN as OpenAI's baselines and Stable-Baselines3 do it: 1 to 30 frames of doing
nothing, four frames a step, the maximum of the last two, 84x84 grey, four frames stacked, rewards clipped to their
sign, a lost life ends an episode but not the game, FIRE pressed where a game waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from foveal import checkpoint
from foveal.atari import games
from foveal.atari.emulator import FRAME_LIMIT, SIZE, Emulator, Moment, replay
from foveal.atari.maps import SCREEN

STACK = 4
_NOTHING, _FIRE, _SECOND = 0, 1, 2  # actions of every minimal set that has FIRE


class AtariVecEnv(VecEnv):
    """Several games of one kind, stepped together, each in a thread of its own.

    ``infos[i]`` holds ``lives``; at the end of an episode ``terminal_observation`` and ``TimeLimit.truncated``; at the
    end of a game also ``episode``, with its true score as ``r`` and its agent steps as ``l``, whatever lives it took.

    Args:
        env: id such as ``"atari/breakout"``.
        count: how many games.
        seed: of how they begin; the same seed and the same actions give the same games.
        life_loss: a lost life ends an episode.
        clip_rewards: rewards are -1, 0 or 1; scores never are.
        frame_limit: emulator frames after which a game is cut off, which is no termination.
        in_color: observations are whole screens in colour, (count, 4, 210, 160, 3), for people to look at.

    Raises:
        FovealError: the extra is missing, or there is no such game.
    """

    render_mode = None

    def __init__(
        self,
        env: str,
        count: int,
        seed: int,
        *,
        life_loss: bool = True,
        clip_rewards: bool = True,
        frame_limit: int = FRAME_LIMIT,
        in_color: bool = False,
    ) -> None:
        self.env_id = games.env_id(env)
        self.life_loss = life_loss
        self.clip_rewards = clip_rewards
        self._random = np.random.default_rng(seed)
        self._emulators = [Emulator(games.rom(self.env_id), frame_limit, in_color=in_color) for _ in range(count)]
        shape = (STACK, *SCREEN, 3) if in_color else (STACK, SIZE, SIZE)
        self._stacks = np.zeros((count, *shape), np.uint8)  # oldest first
        self._lives = [0] * count
        self._scores = [0] * count
        self._lengths = [0] * count
        observations = spaces.Box(0, 255, shape, np.uint8)
        super().__init__(count, observations, spaces.Discrete(self._emulators[0].actions))

    # --- stepping -------------------------------------------------------------------------------------------------

    def reset(self) -> NDArray[np.uint8]:
        """New games: (count, 4, 84, 84)."""
        for index in range(self.num_envs):
            self._begin_game(index)
        return self._stacks.copy()

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Begin a step of every game: (count,) indices into the game's minimal action set."""
        for emulator, action in zip(self._emulators, actions, strict=True):
            emulator.send(int(action))

    def step_wait(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Observations, rewards, dones and infos; where an episode ended, the observation is the next one's first."""
        rewards = np.zeros(self.num_envs, np.float32)
        dones = np.zeros(self.num_envs, np.bool_)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index, emulator in enumerate(self._emulators):
            moment = emulator.receive()
            rewards[index], dones[index], infos[index] = self._advance(index, moment)
        if self.clip_rewards:
            rewards = np.sign(rewards)
        return self._stacks.copy(), rewards, dones, infos

    def _advance(self, index: int, moment: Moment) -> tuple[float, bool, dict[str, Any]]:
        """Account for a step, and begin the next episode where it ended one."""
        lost = self.life_loss and 0 < moment.lives < self._lives[index]
        self._count(index, moment)
        self._lengths[index] += 1
        self._push(index, moment)
        info: dict[str, Any] = {"lives": moment.lives}
        if not (moment.over or moment.cut or lost):
            return moment.reward, False, info
        info["terminal_observation"] = self._stacks[index].copy()
        info["TimeLimit.truncated"] = moment.cut and not lost
        if moment.over or moment.cut:
            info["episode"] = self._result(index)
            self._begin_game(index)
        else:
            self._begin_life(index, info)
        return moment.reward, True, info

    def _begin_game(self, index: int) -> None:
        emulator = self._emulators[index]
        while True:
            moment = emulator.reset(self._random)
            self._scores[index] = self._lengths[index] = 0
            self._lives[index] = moment.lives
            if self._open(index, moment, [_FIRE, _SECOND] if emulator.needs_fire else []):
                return

    def _begin_life(self, index: int, info: dict[str, Any]) -> None:
        """Go on after a lost life, in a new game if this one ends on the way."""
        fire = [_FIRE, _SECOND] if self._emulators[index].needs_fire else []
        if not self._open(index, None, [_NOTHING, *fire]):
            info["episode"] = self._result(index)
            self._begin_game(index)

    def _open(self, index: int, moment: Moment | None, actions: Sequence[int]) -> bool:
        """The steps that nobody learns from; False if the game ended within them."""
        for action in actions:
            moment = self._emulators[index].step(action)
            self._count(index, moment)
            if moment.over or moment.cut:
                return False
        assert moment is not None
        self._stacks[index] = 0
        self._push(index, moment)
        return True

    def _count(self, index: int, moment: Moment) -> None:
        self._scores[index] += moment.reward
        self._lives[index] = moment.lives

    def _push(self, index: int, moment: Moment) -> None:
        stack = self._stacks[index]
        stack[:-1] = stack[1:]
        stack[-1] = moment.frame

    def _result(self, index: int) -> dict[str, Any]:
        return {"r": float(self._scores[index]), "l": self._lengths[index]}

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
        """(count, 4, 84, 84): what the games show now."""
        return self._stacks.copy()

    @property
    def scores(self) -> list[int]:
        """Points of every running game so far."""
        return list(self._scores)

    # --- the rest of the interface --------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the emulators."""
        self._emulators = []

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError(f"the games have no attribute {attr_name!r} of their own")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        raise AttributeError(f"the games have no method {method_name!r} of their own")

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> Any:
        return [False] * len(list(self._get_indices(indices)))
