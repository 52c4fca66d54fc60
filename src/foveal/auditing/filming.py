"""Films of an audit: one episode under some conditions, moment by moment, and what the policy looks at in it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from foveal.auditing.cameras import Camera
from foveal.auditing.covering import Sampling
from foveal.auditing.film import Film
from foveal.auditing.looking import Looker
from foveal.auditing.playing import Player
from foveal.auditing.results import Audit, Point
from foveal.explanation.attention import batches
from foveal.explanation.pictures import Picture, brightest, resized
from foveal.progress import watched

MOMENTS = 250
"""Of an episode at most; of each where two policies are compared, half as many."""
CHANGES = 3
"""That are filmed beside the picture as it is, the weakest points of the policy."""
LARGEST = 160
"""Pixels of the longer side of a film's pictures."""
MOST_MAPS = 3


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
        wanted = range(0, sys.maxsize, -(-point.episodes[0].length // moments))
        sampling = Sampling([wanted])
        with player.place.open(point.condition.perturbation) as env:
            noting = _Noting(env)
            episode = player.watch(point.condition, noting, sampling)
        views = [view for view, _ in sampling.kept[0]]
        steps = tuple(wanted[: len(views)])
        frames = np.stack([_small(camera.picture(view)) for view in views])
        rewards, actions = np.array(noting.rewards), np.stack(noting.actions)
        before = list(accumulate(noting.rewards, initial=0.0))
        totals = tuple(before[step] for step in steps)
        maps = {} if looker is None else _maps(looker, views, frames.shape[1:3])
        levels = {name: brightest(name, strengths) for name, strengths in maps.items()}
        found.append(Film(point.condition, steps, totals, episode, frames, rewards, actions, maps, levels))
    return tuple(found)


def _maps(looker: Looker, views: Sequence[Any], size: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    found = {}
    for name in [name for name in looker.names if looker.quick(name)][:MOST_MAPS]:
        strengths = torch.cat([looker.strengths(name, batch) for batch in batches(views)])
        found[name] = resized(strengths.numpy(), size)
    return found


def _small(picture: Picture) -> Picture:
    """At most ``LARGEST`` pixels wide and high."""
    height, width, _ = picture.shape
    share = LARGEST / max(height, width)
    if share >= 1:
        return picture
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
