"""Demonstrations in memory: stacked frames, and what is to be predicted of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.checkpoint import load_numpy_state, numpy_state
from foveal.errors import FovealError
from foveal.skills.config import CloneConfig
from foveal.skills.minari import Episode


@dataclass(frozen=True)
class Samples:
    """N steps of demonstrations over F frames.

    Attributes:
        depth: (F, H, W) ``uint16`` millimetres.
        frame: (N,) index of the present frame.
        first: (N,) index of its episode's first frame, which stands for what is before it.
        skill: (N,) number.
        velocity: (N, horizons, 3) of the actions to predict.
        closes: (N, horizons) whether the gripper closes in them.
        things: (F, M, 3) centres of things, metres, or None.
    """

    depth: NDArray[np.uint16]
    frame: NDArray[np.int64]
    first: NDArray[np.int64]
    skill: NDArray[np.int64]
    velocity: NDArray[np.float32]
    closes: NDArray[np.bool_]
    things: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.frame)

    def frames(self, chosen: Any, stack: int) -> NDArray[np.uint16]:
        """(B, stack, H, W): of the chosen samples, the present frame last."""
        back = np.arange(1 - stack, 1)
        index = np.maximum(self.frame[chosen][:, None] + back, self.first[chosen][:, None])  # (B, stack)
        return self.depth[index]


def sampled(episodes: Iterable[Episode], config: CloneConfig, *, flat: bool = False) -> Samples:
    """All steps of some episodes.

    Actions beyond the end of a skill are its last one, in which it holds still.

    Args:
        episodes: of one size.
        config: horizons and ``early``.
        flat: forget the skills: the whole episode is one.

    Raises:
        FovealError: there is no episode, or their frames differ in size.
    """
    shown = list(episodes)
    if not shown:
        raise FovealError("there is no episode to learn from: collect more")
    if len({episode.depth.shape[1:] for episode in shown}) > 1:
        raise FovealError("the demonstrations' depth frames differ in size: clone those of one size")
    starts = np.cumsum([0, *(len(episode.depth) for episode in shown)])
    steps = [np.arange(len(episode)) for episode in shown]
    labels = [_labels(episode, config, flat) for episode in shown]
    things = [episode.things for episode in shown if episode.things is not None]
    return Samples(
        depth=np.concatenate([episode.depth for episode in shown]),
        frame=np.concatenate([start + step for start, step in zip(starts, steps, strict=False)]),
        first=np.concatenate([np.full(len(step), start) for start, step in zip(starts, steps, strict=False)]),
        skill=np.concatenate([np.zeros_like(episode.skill) if flat else episode.skill for episode in shown]),
        velocity=np.concatenate([velocity for velocity, _ in labels]),
        closes=np.concatenate([closes for _, closes in labels]),
        things=np.concatenate(things) if len(things) == len(shown) else None,
    )


def _labels(episode: Episode, config: CloneConfig, flat: bool) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(T, horizons, 3) and (T, horizons)."""
    ends = _ends(np.zeros_like(episode.skill) if flat else episode.skill)  # (T,)
    ahead = np.arange(len(episode))[:, None] + np.array(config.horizons) - 1  # (T, horizons)
    velocity = episode.advice[np.minimum(ahead, ends[:, None]), :3]
    closes = episode.advice[np.minimum(ahead + config.early, ends[:, None]), 3] > 0.0
    return velocity, closes


def _ends(skill: NDArray[np.int64]) -> NDArray[np.int64]:
    """(T,) index of the last step before another skill begins."""
    last = np.flatnonzero(np.append(skill[1:] != skill[:-1], True))
    return last[np.searchsorted(last, np.arange(len(skill)))]


class BalancedSampler:
    """Draws of samples, every skill equally likely, and its steps equally likely.

    Args:
        skill: (N,) numbers.
        random: where the draws come from.
    """

    def __init__(self, skill: NDArray[np.int64], random: np.random.Generator) -> None:
        self._members = [np.flatnonzero(skill == number) for number in np.unique(skill)]
        self._random = random

    def state(self) -> dict[str, Any]:
        """Where the draws are; JSON values."""
        return numpy_state(self._random)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo of ``state``."""
        load_numpy_state(self._random, state)

    def draw(self, count: int) -> NDArray[np.int64]:
        """(count,) indices."""
        which = self._random.integers(len(self._members), size=count)
        share = self._random.random(count)
        sizes = np.array([len(members) for members in self._members])[which]
        places = (share * sizes).astype(np.int64)
        return np.array([self._members[group][place] for group, place in zip(which, places, strict=True)])
