"""How far a policy's actions drift on recorded frames, under one condition after another.

The unit is the usual distance between its actions on frames of different pieces, the picture as it is: 0 where it acts
as before, 1 where it acts as if it saw another frame altogether. Distances are Euclidean, each number of an action in
units of its standard deviation; of discrete actions 1 where they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.auditing.adapters import Adapter
from foveal.auditing.blindness import Film
from foveal.auditing.cameras import Camera, check_sees, plain
from foveal.auditing.conditions import Condition, changed_under
from foveal.auditing.fitting import Fit
from foveal.auditing.playing import asked
from foveal.auditing.recording import Recording
from foveal.auditing.results import DRIFT, Picture, Point, point
from foveal.auditing.shielding import Shielding

Actions = NDArray[np.float64]
"""(frames, A) of one piece; (frames, 1) of discrete ones."""


@dataclass(frozen=True)
class Viewer:
    """A policy that is shown recorded frames.

    Attributes:
        adapter: who.
        recording: what.
        seed: of all changes.
        discrete: whether actions are choices; of several numbers the largest counts.
        shield: what may stand before the policy.
    """

    adapter: Adapter
    recording: Recording
    seed: int = 0
    discrete: bool = False
    shield: Any = None

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """Of the recording.

        Raises:
            FovealError: it has no picture.
        """
        return check_sees(self.recording.space, self.recording.name)

    def show(self, condition: Condition) -> tuple[list[Actions], float | None, tuple[Picture, ...]]:
        """Actions on every piece, share of alarms, and pictures, see ``Point``.

        Raises:
            FovealError: the policy refuses what it sees.
        """
        cameras, fit = self.cameras, self.adapter.fitting(self.recording.space)
        shielding = Shielding(self.shield, cameras) if condition.shielded else None
        done: list[Actions] = []
        pictures: tuple[Picture, ...] = ()
        for number, piece in enumerate(self.recording.pieces):
            others = [film for place, film in enumerate(self._films) if place != number]
            changed = changed_under(condition, cameras, others or self._films, self.seed)
            if changed is not None:
                changed.begin((self.seed, number))
            shown = [seen if changed is None else changed(seen) for seen in piece]
            given = shown if shielding is None else [shielding(seen) for seen in shown]
            if number == 0:
                views = [shown[-1], *([] if shielding is None else given[-1:])]
                pictures = tuple(cameras[0].picture(view) for view in views)
            done.append(self._actions(given, fit))
        return done, None if shielding is None else shielding.alarms.share, pictures

    def chooses(self) -> bool:
        """Whether actions are choices: the policy's space says so, or it gives whole numbers."""
        if self.adapter.action_space is not None:
            return isinstance(self.adapter.action_space, spaces.Discrete)
        fit = self.adapter.fitting(self.recording.space)
        self.adapter.reset()
        array = plain(self.adapter.act(fit(self.recording.pieces[0][0])))
        return array.size == 1 and bool(np.issubdtype(array.dtype, np.integer))

    def _actions(self, piece: Sequence[Any], fit: Fit) -> Actions:
        fit.reset()
        self.adapter.reset()
        self.adapter.begin_draws(0)  # the same under all changes
        found = []
        for seen in piece:
            output = asked(self.adapter, fit, seen, "what was recorded", self.recording.space)
            found.append(self._numbers(output))
        return np.stack(found)

    def _numbers(self, output: Any) -> NDArray[np.float64]:
        array = plain(output).reshape(-1)
        if self.discrete and array.size > 1:
            array = np.array([array.argmax()])
        return array.astype(np.float64)

    @cached_property
    def _films(self) -> list[Film]:
        """Of every piece."""
        cameras = self.cameras
        return [
            {camera.path: np.stack([camera.read(seen)[-1] for seen in piece]) for camera in cameras}
            for piece in self.recording.pieces
        ]


def drifted(
    condition: Condition, actions: Sequence[Actions], clean: Sequence[Actions], *, discrete: bool, **others: Any
) -> Point:
    """How far actions are from those on the picture as it is, piece by piece; see this module's docstring."""
    scale = np.ones(1) if discrete else _spread(np.concatenate(clean))
    usual = usual_distance(clean, scale, discrete=discrete)
    distances = [
        _distance(now, before, scale, discrete=discrete).mean() for now, before in zip(actions, clean, strict=True)
    ]
    values = [0.0 if distance == 0 else distance / usual if usual else 1.0 for distance in distances]
    return point(condition, values, DRIFT, **others)


def usual_distance(clean: Sequence[Actions], scale: NDArray[np.float64], *, discrete: bool) -> float:
    """Mean distance between actions on frames of different pieces; of one piece, between all of its frames."""
    pairs = [(a, b) for place, a in enumerate(clean) for b in clean[:place]] or [(clean[0], clean[0])]
    found = [_distance(a[:, None], b[None], scale, discrete=discrete).mean() for a, b in pairs]
    return float(np.mean(found))


def _spread(actions: Actions) -> NDArray[np.float64]:
    spread: NDArray[np.float64] = actions.std(0)
    return np.where(spread > 0, spread, 1.0)


def _distance(a: Actions, b: Actions, scale: NDArray[np.float64], *, discrete: bool) -> NDArray[np.float64]:
    if discrete:
        return np.asarray((a != b).any(-1), np.float64)
    return np.asarray(np.linalg.norm((a - b) / scale, axis=-1))
