"""Films of an audit: one episode under some conditions, moment by moment, and what the policy looks at in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from foveal.auditing.cameras import Camera
from foveal.auditing.covering import copied
from foveal.auditing.film import Film
from foveal.auditing.looking import Looker
from foveal.auditing.playing import Player
from foveal.auditing.results import Audit, Point
from foveal.explanation.attention import AT_ONCE
from foveal.explanation.pictures import Picture, brightest, resized
from foveal.progress import watched

MOMENTS = 250
"""Of an episode at most; of each where two policies are compared, half as many."""
CHANGES = 3
"""That are filmed beside the picture as it is, the weakest points of the policy."""
LARGEST = 160
"""Pixels of the longer side of a film's pictures."""
MOST_MAPS = 3


@dataclass
class _Keeping:
    """Keeps every so many observations of an episode, as the policy takes them, and changes none.

    Args:
        stride: agent steps from one to the next.
    """

    stride: int
    steps: list[int] = field(default_factory=list, init=False)
    views: list[Any] = field(default_factory=list, init=False)
    _step: int = field(default=0, init=False)

    def begin(self) -> None:
        """The episode begins."""

    def __call__(self, given: Any) -> Any:
        """The observation as it is."""
        if self._step % self.stride == 0:
            self.steps.append(self._step)
            self.views.append(copied(given))
        self._step += 1
        return given


class _Noting(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Keeps every action and reward."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.actions: list[NDArray[np.float64]] = []
        self.rewards: list[float] = []

    def step(self, action: Any) -> Any:
        self.actions.append(np.array(action, np.float64).reshape(-1))
        stepped = self.env.step(action)
        self.rewards.append(float(stepped[1]))
        return stepped


def worth_filming(audit: Audit) -> tuple[Point, ...]:
    """The picture as it is and the weakest changes, each where it broke the policy or at the highest severity tried."""
    return (audit.clean[0], *(curve.broke or curve.points[-1] for curve in audit.curves()[:CHANGES]))


def films(
    player: Player,
    points: Sequence[Point],
    camera: Camera,
    looker: Looker | None,
    moments: int = MOMENTS,
    *,
    progress: bool,
) -> tuple[Film, ...]:
    """The first episode of each point, played again.

    Args:
        player: the policy in its environment.
        points: of changes, or of the picture as it is.
        camera: the policy's first picture, in its own layout.
        looker: its maps, of which those that take one look at a frame are shown; None for none.
        moments: of an episode at most.
        progress: show a bar.
    """
    found = []
    for point in watched(points, len(points), "films", visible=progress, unit="film"):
        keeping = _Keeping(-(-point.episodes[0].length // moments))
        with player.place.open(point.condition.perturbation) as env:
            noting = _Noting(env)
            episode = player.watch(point.condition, noting, keeping)
        frames = np.stack([_small(camera.read(view)[-1].transpose(1, 2, 0)) for view in keeping.views])
        rewards, actions = np.array(noting.rewards), np.stack(noting.actions)
        before = list(accumulate(noting.rewards, initial=0.0))
        totals = tuple(before[step] for step in keeping.steps)
        maps = {} if looker is None else _maps(looker, keeping.views, frames.shape[1:3])
        levels = {name: brightest(name, strengths) for name, strengths in maps.items()}
        steps = tuple(keeping.steps)
        found.append(Film(point.condition, steps, totals, episode, frames, rewards, actions, maps, levels))
    return tuple(found)


def _maps(looker: Looker, views: Sequence[Any], size: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    batches = [views[start : start + AT_ONCE] for start in range(0, len(views), AT_ONCE)]
    names = [name for name in looker.names if looker.quick(name)][:MOST_MAPS]
    return {
        name: resized(torch.cat([looker.strengths(name, batch) for batch in batches]).numpy(), size) for name in names
    }


def _small(picture: Picture) -> Picture:
    """At most ``LARGEST`` pixels wide and high."""
    height, width, _ = picture.shape
    share = LARGEST / max(height, width)
    if share >= 1:
        return picture.copy()
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
