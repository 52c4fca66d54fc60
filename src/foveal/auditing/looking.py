"""Are a policy's maps true? Maps of frames of its own episodes, tried in every way that needs no more than these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from foveal.auditing.adapters import Adapter
from foveal.auditing.adapters.differentiable import anywhere
from foveal.auditing.black_box import black_box_insides
from foveal.auditing.cameras import Camera
from foveal.auditing.changing import Mask, changed_by
from foveal.auditing.trials import ACTION, VALUE, Estimate, Path, Trial
from foveal.evaluation.insides import DEFAULT_QUANTILE, Insides
from foveal.explanation.pictures import heat
from foveal.saliency import ScalarFunction, needs_gradient
from foveal.saliency.agreement import agreement
from foveal.saliency.faithfulness import Curve, deletion, insertion, shifted
from foveal.saliency.randomisation import cascade, likeness, weights_of
from foveal.saliency.similarity import ssim
from foveal.saliency.tid import tid

GRADIENTS, BLACK_BOX = ("gradient", "guided_backprop"), ("occlusion", "rise")
"""Maps that are tried unless others are named."""
FRAMES, FEW = 6, 2
"""Of an episode; few of black boxes, whose maps ask the policy hundreds of times."""
MOST = 10
"""Episodes that maps are made of."""
STABLE_UNDER = (("noise", 3), ("hue", 3), ("shadow", 3))
"""Changes under which a map of the same state is made again; the first alone of black boxes."""


Measure = Callable[..., Curve]


@dataclass(frozen=True)
class Frames:
    """Some of an episode.

    Attributes:
        views: observations as the policy takes them.
        masks: which pixels of each are the task's own; None where nobody tells.
    """

    views: tuple[Any, ...]
    masks: tuple[Mask | None, ...]


@dataclass(frozen=True)
class Looker:
    """A policy's maps.

    Attributes:
        insides: of the policy.
        camera: the picture that they are of, as the policy takes it.
        names: of the maps.
        seed: of the changes.
        of: name of the scalar that maps are of; None for the policy's first.
    """

    insides: Insides
    camera: Camera
    names: tuple[str, ...]
    seed: int = 0
    of: str | None = None

    @classmethod
    def on(
        cls,
        adapter: Adapter,
        camera: Camera,
        actions: spaces.Space[Any] | None,
        names: Sequence[str] | None,
        seed: int,
        of: str | None = None,
    ) -> Looker:
        """With the maps' names checked.

        Args:
            adapter: the policy.
            camera: its first picture, in its own layout.
            actions: what it does; None where that is unknown, and numbers.
            names: of the maps; None for those that are usual.
            seed: of the changes.
            of: name of a scalar, or None.

        Raises:
            FovealError: a map or a scalar is unknown or the policy lacks it; of a black box, the message names those
                that need no gradient.
        """
        discrete = isinstance(actions, spaces.Discrete)
        insides = adapter.insides(camera, discrete=discrete)
        if insides is None:
            choices = int(actions.n) if isinstance(actions, spaces.Discrete) else None
            insides = black_box_insides(adapter, camera, choices)
        usual = (*GRADIENTS, *insides.maps) if insides.scalars else BLACK_BOX
        looker = cls(insides, camera, usual if names is None else tuple(names), seed, of)
        if of is not None:
            insides.scalar(of)
        for name in looker.names:
            insides.check_map(name)
        return looker

    @property
    def frames(self) -> int:
        """How many of each episode are wanted."""
        return FRAMES if self.insides.scalars else FEW

    def quick(self, name: str) -> bool:
        """Whether a map takes one look at a frame: those by gradients and the agent's own; others take hundreds."""
        return bool(self.insides.scalars) and (name in self.insides.maps or needs_gradient(name))

    def strengths(self, name: str, views: Sequence[Any]) -> Tensor:
        """(B, H, W), how much each pixel matters in any of the stacked frames."""
        return replace(self.insides, strength=anywhere).look(name, views, of=self.of)

    def tried(self, name: str, episodes: Sequence[Frames]) -> Trial:
        """A map of some frames of each episode."""
        strengths = [self.strengths(name, frames.views) for frames in episodes]
        layers, alike = self._random(name, episodes)
        watched = self._watched()
        place = len(episodes[0].views) // 2
        picture = self.camera.picture(episodes[0].views[place])
        return Trial(
            name,
            self.insides.scalar(self.of).meaning if self.insides.scalars else "the action",
            {what: self._path(deletion, bind, episodes, strengths) for what, bind in watched.items()},
            {what: self._path(insertion, bind, episodes, strengths) for what, bind in watched.items()},
            self._parts(name, episodes),
            layers,
            alike,
            *self._stable(name, episodes, strengths),
            picture=picture,
            marked=heat(picture, strengths[0][place].numpy()),
        )

    def _watched(self) -> dict[str, Callable[[Sequence[Any]], ScalarFunction]]:
        """What pixels are taken away from: what the map is of, and what the policy acts by."""
        found: dict[str, Callable[[Sequence[Any]], ScalarFunction]] = {}
        decision = self.insides.decision
        if self.insides.scalars:
            found[VALUE] = lambda views: self.insides.scalar(self.of).bind(views, ())
        if decision is not None:
            found[ACTION] = lambda views: decision.bind(views, ())
        return found

    def _path(
        self,
        measure: Measure,
        bind: Callable[[Sequence[Any]], ScalarFunction],
        episodes: Sequence[Frames],
        strengths: Sequence[Tensor],
    ) -> Path:
        true, elsewhere = [], []
        for number, (frames, strength) in enumerate(zip(episodes, strengths, strict=True)):
            fn, pixels = bind(frames.views), self.insides.pixels(frames.views)
            draws = torch.Generator().manual_seed(number)
            true.append(measure(fn, pixels, strength))
            elsewhere.append(measure(fn, pixels, shifted(strength, draws)))
        kept, others = ([curve.kept for curve in curves] for curves in (true, elsewhere))
        areas, areas_elsewhere = (np.array([curve.area for curve in curves]) for curves in (true, elsewhere))
        return Path(true[0].shares, np.stack(kept), np.stack(others), areas, areas_elsewhere)

    def _parts(self, name: str, episodes: Sequence[Frames]) -> dict[str, Estimate]:
        quantile = self.insides.quantile or DEFAULT_QUANTILE
        rows = []
        for frames in episodes:
            if any(mask is None for mask in frames.masks):
                return {}
            found = self.insides.look(name, frames.views).numpy()
            pairs = [(one, np.asarray(mask)) for one, mask in zip(found, frames.masks, strict=True)]
            rows.append(np.mean([_agreeing(one, mask, quantile) for one, mask in pairs], axis=0))
        names = ("precision", "recall", "IoU", "pointing", "TID", "share")
        estimates = {what: Estimate.of(values) for what, values in zip(names, np.transpose(rows), strict=True)}
        return {what: one for what, one in estimates.items() if one is not None}

    def _random(self, name: str, episodes: Sequence[Frames]) -> tuple[tuple[int, ...], tuple[Estimate, ...]]:
        """Likeness under random weights, of maps by gradients and of the agent's own."""
        if not self.quick(name):
            return (), ()
        views = [view for frames in episodes for view in frames.views]
        weights = weights_of(self.insides.scalar(self.of).bind(views, ()), self.insides.pixels(views))
        if not weights or len(views) < 2:
            return (), ()
        counts, alike = cascade(lambda: self.strengths(name, views), weights)
        told = [(count, Estimate.of(_by_episode(row, episodes))) for count, row in zip(counts, alike, strict=True)]
        kept = [(count, one) for count, one in told if one is not None]
        return tuple(count for count, _ in kept), tuple(one for _, one in kept)

    def _stable(
        self, name: str, episodes: Sequence[Frames], strengths: Sequence[Tensor]
    ) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
        """Likeness and SSIM of the maps of the same states under a change, by its name."""
        views, before = [view for frames in episodes for view in frames.views], torch.cat(list(strengths))
        alike: dict[str, Estimate] = {}
        similar: dict[str, Estimate] = {}
        if len(views) < 2:
            return alike, similar
        for change, severity in STABLE_UNDER if self.insides.scalars else STABLE_UNDER[:1]:
            seen = []
            for number, view in enumerate(views):
                changed = changed_by(change, severity, [self.camera], self.seed)
                changed.begin((self.seed, number))
                seen.append(changed(view))
            after = self.strengths(name, seen)
            for found, values in ((alike, likeness(before, after)), (similar, ssim(before, after))):
                estimate = Estimate.of(_by_episode(values, episodes))
                if estimate is not None:
                    found[f"{change}:{severity}"] = estimate
        return alike, similar


def _agreeing(strength: NDArray[np.float32], mask: Mask, quantile: float) -> NDArray[np.float64]:
    score = tid(np.repeat(strength[None], 3, 0), mask[None]).score
    return np.array([*agreement(strength, mask, quantile), score, mask.mean()])


def _by_episode(values: NDArray[np.float64], episodes: Sequence[Frames]) -> list[float]:
    """Means of the numbers of each episode's frames, NaN left out."""
    ends = np.cumsum([len(frames.views) for frames in episodes])[:-1]
    parts = [part[np.isfinite(part)] for part in np.split(values, ends)]
    return [float(part.mean()) if part.size else float("nan") for part in parts]
