"""What was measured of a policy's maps, and whether it is enough to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.evaluation.layout import listed
from foveal.evaluation.statistics import bootstrap_interval

TRUE, FALSE, UNCLEAR = "true", "not true", "unclear"
ENOUGH = 5
"""Episodes or pieces below which no difference is called sure."""
SENSITIVE = 0.5
"""Likeness to itself with random weights in the upper half of the layers, or in all, above which a map is said not to
depend on what was learned."""
VALUE, ACTION = "value", "action"


@dataclass(frozen=True)
class Estimate:
    """A mean over episodes with its 95 % interval.

    Attributes:
        values: (N,) of the episodes in which it is defined.
        mean, low, high: of these; the percentile bootstrap's.
    """

    values: tuple[float, ...]
    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: ArrayLike) -> Estimate | None:
        """Of numbers of which some may be NaN; None where all are."""
        numbers = np.asarray(values, float)
        kept = numbers[np.isfinite(numbers)]
        if not kept.size:
            return None
        low, high = bootstrap_interval(kept)
        return cls(tuple(map(float, kept)), float(kept.mean()), low, high)

    @property
    def enough(self) -> bool:
        """Whether there are episodes enough to call anything sure."""
        return len(self.values) >= ENOUGH

    def as_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "low": self.low, "high": self.high, "values": list(self.values)}


@dataclass(frozen=True)
class Behaved(Estimate):
    """Return or success of whole episodes with part of every picture blurred.

    Attributes:
        kept: see ``foveal.auditing.results.Point``.
        sure: whether the loss is told apart from chance.
    """

    kept: float | None
    sure: bool

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "values": list(self.values)}


@dataclass(frozen=True)
class Path:
    """Deletion or insertion along a map, and along the same map elsewhere.

    Attributes:
        shares: (K + 1,) of the pixels.
        kept, elsewhere: (N, K + 1) of each episode.
        areas, areas_elsewhere: (N,) under these.
    """

    shares: NDArray[np.float64]
    kept: NDArray[np.float64]
    elsewhere: NDArray[np.float64]
    areas: NDArray[np.float64]
    areas_elsewhere: NDArray[np.float64]

    @cached_property
    def area(self) -> Estimate | None:
        """Under the map's curve."""
        return Estimate.of(self.areas)

    @cached_property
    def area_elsewhere(self) -> Estimate | None:
        """Under that of the map elsewhere."""
        return Estimate.of(self.areas_elsewhere)

    @cached_property
    def difference(self) -> Estimate | None:
        """Map less map elsewhere, episode by episode: below 0 of a true map's deletion, above 0 of its insertion."""
        return Estimate.of(self.areas - self.areas_elsewhere)

    def as_dict(self) -> dict[str, Any]:
        found = {"area": self.area, "area_elsewhere": self.area_elsewhere, "difference": self.difference}
        told = {name: None if one is None else one.as_dict() for name, one in found.items()}
        curves = {"kept": self.kept, "kept_elsewhere": self.elsewhere}
        return {"shares": self.shares.tolist(), **{name: _mean(curve) for name, curve in curves.items()}, **told}


@dataclass(frozen=True)
class Trial:
    """One map of a policy.

    Attributes:
        name: of the map.
        of: what it is of, a phrase.
        deletion, insertion: by what was watched, ``VALUE`` (what the map is of) or ``ACTION``.
        parts: precision, recall, IoU, pointing game and TID against the simulator's own mask, and the mask's share of
            the picture; none where nobody tells.
        layers, likeness: how many layers had random weights, and how alike the map was then to itself; none of maps
            that were not tried so.
        stable: by change and severity, how alike the map is of the same states seen under it.
        similar: the same as SSIM (Wang et al. 2004), of maps as shares of their largest value.
        behaviour: whole episodes with the picture's most salient pixels blurred ("salient"), all others ("others"), or
            as many elsewhere ("elsewhere"); none where no episodes were played so.
        picture, marked: (H, W, 3), a frame, and the same with the map over it.
    """

    name: str
    of: str
    deletion: dict[str, Path]
    insertion: dict[str, Path]
    parts: dict[str, Estimate] = field(default_factory=dict)
    layers: tuple[int, ...] = ()
    likeness: tuple[Estimate, ...] = ()
    stable: dict[str, Estimate] = field(default_factory=dict)
    similar: dict[str, Estimate] = field(default_factory=dict)
    behaviour: dict[str, Behaved] = field(default_factory=dict)
    picture: NDArray[np.uint8] | None = field(default=None, compare=False)
    marked: NDArray[np.uint8] | None = field(default=None, compare=False)

    @property
    def watched(self) -> str:
        """What tells whether the map is true: what it is of."""
        return VALUE if VALUE in self.deletion else ACTION

    @property
    def upper(self) -> Estimate | None:
        """Likeness where the upper half of the layers has random weights, or fewer; None where that was not tried."""
        if not self.likeness:
            return None
        tried = [place for place, count in enumerate(self.layers) if 2 * count <= self.layers[-1]]
        return self.likeness[tried[-1] if tried else 0]

    @property
    def insensitive(self) -> bool:
        """Whether the map stays much as it is though the upper half of the layers, or all, have random weights."""
        upper = self.upper
        return upper is not None and max(upper.mean, self.likeness[-1].mean) > SENSITIVE

    @property
    def verdict(self) -> str:
        """``"true"``, ``"not true"`` or ``"unclear"``.

        True is one whose pixels, taken away and alone given back, surely move what it is of more than as many elsewhere
        do, and that depends on the weights of the upper layers. Not true is one that surely does worse than elsewhere,
        or does not depend on these weights.
        """
        deleted, inserted = self.deletion[self.watched].difference, self.insertion[self.watched].difference
        if self.insensitive:
            return FALSE
        if deleted is None or inserted is None or not (deleted.enough and inserted.enough):
            return UNCLEAR
        if deleted.low > 0 or inserted.high < 0:
            return FALSE
        return TRUE if deleted.high < 0 and inserted.low > 0 else UNCLEAR

    def as_dict(self) -> dict[str, Any]:
        return {
            "map": self.name,
            "of": self.of,
            "verdict": self.verdict,
            "deletion": {name: path.as_dict() for name, path in self.deletion.items()},
            "insertion": {name: path.as_dict() for name, path in self.insertion.items()},
            "parts": {name: one.as_dict() for name, one in self.parts.items()},
            "random_layers": list(self.layers),
            "likeness": [one.as_dict() for one in self.likeness],
            "stable": {name: one.as_dict() for name, one in self.stable.items()},
            "ssim": {name: one.as_dict() for name, one in self.similar.items()},
            "behaviour": {name: one.as_dict() for name, one in self.behaviour.items()},
        }


def trusting(trials: Sequence[Trial]) -> str:
    """A sentence: which maps to trust."""
    by_verdict = {told: [trial for trial in trials if trial.verdict == told] for told in (TRUE, FALSE, UNCLEAR)}
    parts = []
    if by_verdict[TRUE]:
        names = listed([trial.name for trial in by_verdict[TRUE]])
        marks = "what it marks counts" if len(by_verdict[TRUE]) == 1 else "what they mark counts"
        parts.append(f"{names} can be trusted: {marks} for more than as much elsewhere")
    if by_verdict[FALSE]:
        told = [f"{trial.name} ({_why(trial)})" for trial in by_verdict[FALSE]]
        parts.append(f"{listed(told)} can't be trusted")
    if by_verdict[UNCLEAR]:
        parts.append(f"of {listed([trial.name for trial in by_verdict[UNCLEAR]])} it can't be told")
    return f"Of its maps, {'; '.join(parts)}."


def _why(trial: Trial) -> str:
    return (
        "much the same when upper layers are random"
        if trial.insensitive
        else "what it marks matters less than other pixels"
    )


def _mean(curves: NDArray[np.float64]) -> list[float | None]:
    """Over the episodes in which it is defined."""
    kept = curves[np.isfinite(curves).all(1)]
    return kept.mean(0).tolist() if len(kept) else [None] * curves.shape[1]
