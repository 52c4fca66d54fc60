"""Where agents act: which conditions there are, and how episodes under one of them are played.

``evaluate`` and ``explain`` know no kind of agent. An agent that acts by rules of its own, in games or on an arm,
brings them as its ``world``; all others act in ``foveal.evaluation.pixel_world.PixelWorld``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.evaluation.recording import Recording
from foveal.evaluation.results import Condition
from foveal.progress import seconds_between_draws
from foveal.registry import nearest
from foveal.saliency.evenness import Evenness, EvennessMeter

TRAIN = "train"
"""The name of the environment as it is, without any change."""

SEED_OFFSET = 42
"""DMC-GB's test environments are seeded with the training seed plus this."""

OF_GAMES = ("protocol", "sticky", "frame_limit")
"""What can be asked for of Atari games alone."""


@dataclass(frozen=True)
class WorldOptions:
    """What ``evaluate`` and ``explain`` were asked for; a world refuses what it can't do.

    Attributes:
        on: a condition, or several; None for those that are usual in the world.
        seed: of the episodes; None for the world's own choice.
        data, quality, env, adapt, workers: see ``foveal.evaluate``.
        skill: see ``foveal.explain``.
        protocol, sticky, frame_limit: see ``foveal.evaluate``; of games alone.
    """

    on: str | Sequence[str] | None = TRAIN
    seed: int | None = None
    data: str | Path | None = None
    quality: str | None = None
    env: EnvLike | None = None
    adapt: bool = False
    workers: int = 1
    skill: int | None = None
    protocol: str | None = None
    sticky: float | None = None
    frame_limit: int | None = None

    def conditions(self, usual: Sequence[str], known: Sequence[str], kind: str = "perturbation") -> tuple[str, ...]:
        """The names of ``on``, checked.

        Args:
            usual: where no name is given.
            known: all that there are.
            kind: what they are called.

        Raises:
            FovealError: a name is unknown, or one is given twice, or none.
        """
        if self.on is None:
            return tuple(usual)
        names = (self.on,) if isinstance(self.on, str) else tuple(self.on)
        if not names:
            raise FovealError(f"nothing to evaluate on: name {TRAIN!r} or a {kind}")
        for position, name in enumerate(names):
            if name not in known:
                raise FovealError(f"unknown {kind} {name!r}: {nearest(name, list(known))}")
            if name in names[:position]:
                raise FovealError(f"{name!r} is named twice; name every {kind} once")
        return names

    def seed_or(self, otherwise: int) -> int:
        """The seed.

        Raises:
            FovealError: it is negative.
        """
        seed = otherwise if self.seed is None else self.seed
        if seed < 0:
            raise FovealError(f"seed must not be negative, and it is {seed}")
        return seed

    def refuse(self, what: str, *names: str) -> None:
        """Refuse options that mean nothing in a world.

        Args:
            what: can't be combined with them.
            names: of fields.

        Raises:
            FovealError: one of them is given.
        """
        given = [name for name in names if getattr(self, name) is not None and getattr(self, name) is not False]
        if given:
            raise FovealError(f"{given[0]} means nothing for {what}: leave it out")


class World(ABC):
    """The world of one agent, with what was asked for checked when it is made.

    Attributes:
        conditions: names, in the order asked for.
        seed: of the episodes.
        policy: who acts, as results say it.
        data: folder of benchmark data, or None.
    """

    conditions: tuple[str, ...]
    seed: int
    policy: Mapping[str, Any]
    data: str | Path | None = None

    def rehearse(self) -> None:  # noqa: B027 - most worlds have nothing to do
        """Fail now where conditions can't be made, and not after an hour."""

    @abstractmethod
    def play(self, condition: str, episodes: int, bar: Bar) -> tuple[dict[str, Any], Condition]:
        """Episodes under one condition, and what the environment is, as results say it."""

    def play_all(self, episodes: int, bar: Bar) -> list[tuple[dict[str, Any], Condition]]:
        """Episodes under every condition, in order: what ``play`` gives for each."""
        return [self.play(name, episodes, bar) for name in self.conditions]

    @abstractmethod
    def record(self, condition: str, most: int, bar: Bar) -> Recording:
        """One episode under one condition.

        Args:
            condition: its name.
            most: how many steps will be looked at: so many sights at least, or every step's, at even distances.
            bar: moves with every step.
        """

    def by_chance(self) -> World:
        """The same world, in which chance acts: what any agent has to beat.

        Raises:
            FovealError: there is no such thing.
        """
        raise FovealError(f"there is no random policy to show beside {self.policy.get('name', 'this one')}")

    def close(self) -> None:  # noqa: B027 - the same
        """Let go of what ``play`` needed."""


class BringsWorld(Protocol):
    """An agent that acts by rules of its own."""

    def world(self, options: WorldOptions) -> World:
        """Where it acts.

        Raises:
            FovealError: what was asked for can't be done there.
        """


class Attending:
    """Acts, and measures how even the attention is with which it acts.

    Args:
        act: observations -> actions.
        agent: who acts; its ``latest_attention`` is looked at, if it has that.

    Attributes:
        follows: whether the next observation continues an episode; of several environments side by side, (N,).
    """

    def __init__(self, act: Callable[[Any], Any], agent: object = None) -> None:
        self._act, self._agent, self._meter = act, agent, EvennessMeter()
        self.follows: NDArray[np.bool_] | bool = False

    def __call__(self, observation: Any) -> Any:
        """The actions."""
        actions = self._act(observation)
        maps: NDArray[np.float32] | None = getattr(self._agent, "latest_attention", None)
        if maps is not None:
            self._meter.add(maps, self.follows)
        self.follows = True
        return actions

    @property
    def found(self) -> Evenness | None:
        """Of all actions so far; None where there is no attention."""
        return self._meter.read()


class Bar:
    """One bar over all conditions, counted in episodes; where an episode's length is known it moves with every step.

    Args:
        episodes: of all conditions together.
        visible: show it; on standard error.
    """

    def __init__(self, episodes: int, *, visible: bool) -> None:
        layout = "{desc}{percentage:3.0f}% |{bar}| {elapsed} passed, {remaining} left{postfix}"
        self._bar = tqdm(
            total=float(episodes),
            disable=not visible,
            bar_format=layout,
            smoothing=0.1,
            mininterval=seconds_between_draws(),
        )
        self._at = self._base = 0.0
        self._longest: int | None = None
        self._steps = 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def enter(self, condition: str, longest: int | None = None) -> None:
        """Begin a condition whose episodes last at most ``longest`` steps."""
        self._base, self._steps, self._longest = round(self._at), 0, longest
        self._bar.set_description(condition)

    def step(self, *_: object) -> None:
        """One step more in this episode."""
        self._steps += 1
        if self._longest:
            self._move(self._base + min(1.0, self._steps / self._longest))
        else:
            self._bar.set_postfix_str(f"{self._steps:,} steps", refresh=False)
            self._bar.update(0)

    def finish(self) -> None:
        """An episode is over."""
        self._base, self._steps = self._base + 1, 0
        self._move(self._base)

    def _move(self, position: float) -> None:
        self.gain(position - self._at)

    def gain(self, episodes: float) -> None:
        """So many more episodes, or such a part of one, are over."""
        self._at += episodes
        self._bar.update(round(self._at, 6) - self._bar.n)  # sums of steps must not pass the end by a rounding
