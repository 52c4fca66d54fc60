"""One game in ale-py's native vector environment, recorded so that it can be brought back to where it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveal.atari.maps import SCREEN

FRAME_SKIP = 4
SIZE = 84
MOST_NOOPS = 30
RESEED_AFTER = 2000
"""Agent steps after which the next game starts from a new seed. Seeding takes 80 ms, any other reset 5 ms."""

_RESET = 255  # in a history, where the game was reset; there are at most 18 actions


class Moment(NamedTuple):
    """What one agent step shows.

    Attributes:
        frame: (size, size) ``uint8``, the maximum of the last two emulator frames, grey; or (210, 160, 3) in colour.
        reward: points, unclipped.
        lives: left; 0 in games that know none.
        over: the game is over.
        cut: it was cut off at the frame limit.
    """

    frame: NDArray[np.uint8]
    reward: int
    lives: int
    over: bool
    cut: bool


class Emulator:
    """A single game with four frames a step. Each one has its own native environment, so that it can be stepped alone.

    ale-py can't save the emulator of a vector environment, but a seed and the actions since determine its state, so
    these are kept; a new seed now and then keeps them few.

    Args:
        rom: ale-py's name of the game.
        frame_limit: emulator frames after which a game is cut off.
        sticky: probability, in every emulator frame, that the action before is carried out again.
        in_color: show the whole screen in colour, for people, instead of what agents see. It is the same game.
        size: side of a grey frame, in pixels.

    Attributes:
        actions: how many the game has.
        opening: the actions that begin a game or a life which waits for FIRE: that, looked up by its meaning, and, as
            OpenAI baselines do, the one after it. None elsewhere.
        nothing: the actions that do nothing for a step; no action where the game's set has none that does.
    """

    def __init__(
        self, rom: str, frame_limit: int, *, sticky: float = 0.0, in_color: bool = False, size: int = SIZE
    ) -> None:
        height, width = SCREEN if in_color else (size, size)
        from ale_py import Action  # of an extra: agents load without it
        from ale_py.vector_env import AtariVectorEnv

        self._native = AtariVectorEnv(
            rom,
            1,
            num_threads=1,
            stack_num=1,
            frameskip=FRAME_SKIP,
            img_height=height,
            img_width=width,
            grayscale=not in_color,
            noop_max=MOST_NOOPS + 1,  # which ale-py never reaches
            use_fire_reset=False,
            reward_clipping=False,
            max_num_frames_per_episode=frame_limit,
            repeat_action_probability=sticky,
        )
        actions = self._native.ale.get_action_set()
        self.actions = len(actions)
        fire = actions.index(Action.FIRE) if Action.FIRE in actions else None
        self.opening = () if fire is None else (fire, fire + 1)
        self.nothing = tuple(index for index, action in enumerate(actions) if action == Action.NOOP)
        self.noops = 0  # before the running game
        self._seed = 0
        self._history: list[int] = []

    def reset(self, random: np.random.Generator, *, reseed: bool = False) -> Moment:
        """A new game after 1 to 30 single frames of doing nothing, from a new seed where one is due or asked for."""
        if reseed or not self._history or len(self._history) >= RESEED_AFTER:
            self._seed, self._history = int(random.integers(2**31 - 1)), []
            moment = self._reset(self._seed)
        else:
            moment = self._again()
        while self.noops == 0:  # ale-py draws from 0
            moment = self._again()
        return moment

    def send(self, action: int) -> None:
        """Begin a step; ``receive`` waits for its end."""
        self._history.append(action)
        self._native.send(np.array([action], np.int64))

    def receive(self) -> Moment:
        """The end of the step that ``send`` began."""
        frames, rewards, over, cut, info = self._native.recv()
        return Moment(frames[0, 0], int(rewards[0]), int(info["lives"][0]), bool(over[0]), bool(cut[0]))

    def step(self, action: int) -> Moment:
        """One whole step."""
        self.send(action)
        return self.receive()

    def state(self) -> dict[str, Any]:
        """The seed and everything done since."""
        return {"seed": self._seed, "history": np.array(self._history, np.uint8)}

    def _again(self) -> Moment:
        self._history.append(_RESET)
        return self._reset(None)

    def _reset(self, seed: int | None) -> Moment:
        frames, info = self._native.reset(seed=None if seed is None else np.array([seed]))
        self.noops = int(info["episode_frame_number"][0])
        return Moment(frames[0, 0], 0, int(info["lives"][0]), over=False, cut=False)


def replay(emulators: Sequence[Emulator], states: Sequence[dict[str, Any]]) -> list[Moment]:
    """Bring emulators to where others were, side by side; returns what each one shows last."""
    moments = []
    for emulator, state in zip(emulators, states, strict=True):
        emulator._seed, emulator._history = int(state["seed"]), [int(entry) for entry in state["history"]]
        moments.append(emulator._reset(emulator._seed))
    for position in range(max(len(emulator._history) for emulator in emulators)):
        running = []
        for index, emulator in enumerate(emulators):
            if position >= len(emulator._history):
                continue
            if emulator._history[position] == _RESET:
                moments[index] = emulator._reset(None)
            else:
                emulator._native.send(np.array([emulator._history[position]], np.int64))
                running.append(index)
        for index in running:
            moments[index] = emulators[index].receive()
    return moments
