"""What an audit found: a point for each change and severity, and what they come to.

The JSON layout is ``foveal.audit/1``: the fields of ``Audit.as_dict``. Readers ignore keys that they do not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.auditing.conditions import Condition
from foveal.auditing.film import Film
from foveal.auditing.trials import ENOUGH, Trial
from foveal.evaluation.layout import columns, number, signed
from foveal.evaluation.results import Episode, write_json
from foveal.evaluation.statistics import SuccessRate, bootstrap_interval

FORMAT = "foveal.audit/1"
RETURN, SUCCESS, DRIFT = "return", "success rate", "action drift"
BROKEN = 0.5
"""Share of what the policy is worth, below which a change counts as having broken it."""

Picture = NDArray[np.uint8]
"""(H, W, 3)."""


@dataclass(frozen=True)
class Point:
    """A policy under one condition.

    Attributes:
        condition: what.
        values: (N,) a number for each episode, or for each piece of recorded frames: return, success, drift.
        mean, low, high: of these, with the 95 % interval over episodes (or pieces).
        kept: how much of what the policy is worth is left, 1 where nothing is lost and 0 where it does no better than
            chance (or acts as on another frame); None where that can't be told.
        sure: whether the loss is told apart from chance, by the 95 % interval of the differences episode by episode.
        alarms: share of steps in which the shield doubted its own answer; None without a shield.
        note: where colours or videos come from.
        episodes: as they went; none where frames were recorded.
        pictures: what came in from the first camera, and behind a shield what was given, at the same moment for all.
    """

    condition: Condition
    values: tuple[float, ...]
    mean: float
    low: float
    high: float
    kept: float | None = None
    sure: bool = False
    alarms: float | None = None
    note: str = ""
    episodes: tuple[Episode, ...] = ()
    pictures: tuple[Picture, ...] = field(default=(), compare=False)

    @property
    def broken(self) -> bool:
        """Whether less than half is left."""
        return self.kept is not None and self.kept < BROKEN

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without the pictures."""
        return {
            **self.condition.as_dict(),
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "kept": self.kept,
            "sure": self.sure,
            "alarms": self.alarms,
            "note": self.note,
            "values": list(self.values),
            "episodes": [episode.as_dict() for episode in self.episodes],
        }


@dataclass(frozen=True)
class Curve:
    """A change at all severities that were tried, without or with a shield.

    Attributes:
        change: its name.
        points: by severity.
    """

    change: str
    points: tuple[Point, ...]

    @property
    def broke(self) -> Point | None:
        """The mildest point at which it broke the policy."""
        return next((point for point in self.points if point.broken), None)

    @property
    def kept(self) -> float:
        """Mean over the severities; what can't be told counts as whole."""
        return float(np.mean([1.0 if point.kept is None else point.kept for point in self.points]))

    @property
    def weakness(self) -> tuple[float, float]:
        """What curves are sorted by, the weakest first."""
        broke = self.broke
        severity = np.inf if broke is None else float(broke.condition.severity or 1)
        return severity, self.kept


@dataclass(frozen=True)
class Difference:
    """Of two policies under one condition, episode by episode.

    Attributes:
        condition: what.
        values: (N,) the policy's less the other's.
        mean, low, high: of these, with the percentile bootstrap's 95 % interval.
    """

    condition: Condition
    values: tuple[float, ...]
    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, one: Point, other: Point) -> Difference:
        """Of the same episodes."""
        values = np.subtract(one.values, other.values)
        return cls(one.condition, tuple(map(float, values)), float(values.mean()), *bootstrap_interval(values))

    @property
    def sure(self) -> bool:
        """Whether one is told apart from the other; of a few episodes nothing is."""
        return len(self.values) >= ENOUGH and not self.low <= 0.0 <= self.high

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.condition.as_dict(),
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "sure": self.sure,
            "values": list(self.values),
        }


@dataclass(frozen=True)
class Audit:
    """What ``foveal.audit`` gives. Prints as a table.

    Attributes:
        policy: who acted, JSON values.
        place: where: the environment's or the recording's name.
        measure: what is measured: return, success rate or action drift.
        unit: what there are several of: "episodes" or "pieces".
        seed: of the episodes and of all changes.
        clean: the picture as it is, without the shield and with it.
        chance: what random actions get; None of a recording.
        points: of every change.
        blind: with the camera replaced.
        shield: its name, or None.
        verdict: of the test of blindness: "looks", "blind" or "unclear".
        maps: what was found of its maps.
        films: of its first episode under the weakest changes, which are on the page alone.
        against: the same of another policy in the same episodes, or None.
        differences: from that one, condition by condition.
        summary: three sentences, or four where there are maps.
        remarks: what a reader must know.
        page: where the report is, or None.
        settings, origin: JSON values: what was asked for; machine, versions, time.
    """

    policy: dict[str, Any]
    place: str
    measure: str
    unit: str
    seed: int
    clean: tuple[Point, ...]
    chance: Point | None
    points: tuple[Point, ...]
    blind: tuple[Point, ...]
    shield: str | None = None
    verdict: str = ""
    summary: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    page: Path | None = None
    maps: tuple[Trial, ...] = ()
    films: tuple[Film, ...] = field(default=(), compare=False)
    against: Audit | None = None
    differences: tuple[Difference, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """A plain-text table for a terminal: the summary, and a row for every point."""
        points = [*self.clean, *([] if self.chance is None else [self.chance]), *self.blind]
        points += [
            point
            for curve in self.curves()
            for shielded in self.shields
            for point in self.curve(curve.change, shielded).points
        ]
        head = ("picture", self.measure, "95 % interval", "left", "sure", *(("alarms",) if self.shield else ()))
        rows = columns([head, *map(self._row, points)])
        told = [f"map {trial.name}: {trial.verdict}" for trial in self.maps]
        if self.against is not None:
            told += [*([""] if told else []), self.compared(), "", "Against:", self.against.table()]
        title = f"{self.policy.get('kind', 'policy')} in {self.place}: {self.sample} for each row"
        return "\n".join([title, "", *self.summary, "", rows, *([""] if told else []), *told])

    def compared(self) -> str:
        """A plain-text table of the differences from the other policy."""
        head = (f"{self.measure}, difference", "mean", "95 % interval", "sure")
        rows = [
            (
                one.condition.title,
                signed(one.mean),
                f"{signed(one.low)} to {signed(one.high)}",
                "yes" if one.sure else "",
            )
            for one in self.differences
        ]
        return columns([head, *rows])

    @property
    def policies(self) -> list[Audit]:
        """This one, and that of the other policy where there is one."""
        return [self] if self.against is None else [self, self.against]

    @property
    def shields(self) -> list[bool]:
        """Without, and with where there is one."""
        return [False] if self.shield is None else [False, True]

    @property
    def sample(self) -> str:
        """How many episodes or pieces each point is of."""
        return counted(len(self.clean[0].values), self.unit)

    def curves(self, *, shielded: bool = False) -> list[Curve]:
        """The changes, the weakest point of the bare policy first."""
        names = sorted({point.condition.change for point in self.points}, key=lambda name: self.curve(name).weakness)
        return [self.curve(name, shielded) for name in names]

    def as_dict(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return {
            "format": FORMAT,
            "policy": self.policy,
            "place": self.place,
            "measure": self.measure,
            "unit": self.unit,
            "seed": self.seed,
            "shield": self.shield,
            "verdict": self.verdict,
            "summary": list(self.summary),
            "clean": [point.as_dict() for point in self.clean],
            "chance": None if self.chance is None else self.chance.as_dict(),
            "blind": [point.as_dict() for point in self.blind],
            "changes": [point.as_dict() for curve in self.curves() for point in self.points_of(curve.change)],
            "maps": [trial.as_dict() for trial in self.maps],
            "remarks": list(self.remarks),
            "settings": self.settings,
            **self._comparison(),
            **self.origin,
        }

    def _comparison(self) -> dict[str, Any]:
        """What there is of another policy."""
        if self.against is None:
            return {}
        differences = [difference.as_dict() for difference in self.differences]
        return {"against": self.against.as_dict(), "differences": differences}

    def save(self, path: str | Path) -> Path:
        """Write ``as_dict`` as JSON.

        Raises:
            FovealError: the file cannot be written.
        """
        return write_json(path, self.as_dict())

    def curve(self, change: str, shielded: bool = False) -> Curve:
        """A change, without or with a shield."""
        return Curve(change, tuple(p for p in self.points_of(change) if p.condition.shielded == shielded))

    def at(self, condition: Condition) -> Point:
        """The point of a condition that was tried."""
        return next(one for one in (*self.clean, *self.blind, *self.points) if one.condition == condition)

    def points_of(self, change: str) -> list[Point]:
        """At all severities that were tried, without and with a shield."""
        return [point for point in self.points if point.condition.change == change]

    def _row(self, point: Point) -> tuple[str, ...]:
        alarms = "" if point.alarms is None else f"{100 * point.alarms:.0f} %"
        return (
            f"{point.condition.title}{f' ({point.note})' if point.note else ''}",
            number(point.mean),
            f"{number(point.low)} to {number(point.high)}",
            "-" if point.kept is None else f"{100 * max(0.0, point.kept):.0f} %",
            "yes" if point.sure else "",
            *((alarms,) if self.shield else ()),
        )


def counted(count: int, unit: str) -> str:
    """So many episodes, or one."""
    return f"{count} {unit if count != 1 else unit.removesuffix('s')}"


def point(condition: Condition, values: Sequence[float], measure: str, **others: Any) -> Point:
    """A point with its interval: Wilson's of success rates, else the percentile bootstrap's of the mean."""
    if measure == SUCCESS:
        rate = SuccessRate.of([bool(value) for value in values])
        low, high = rate.low, rate.high
    else:
        low, high = bootstrap_interval(np.asarray(values, float))
    return Point(condition, tuple(map(float, values)), float(np.mean(values)), low, high, **others)


def scores(episodes: Sequence[Episode], measure: str) -> list[float]:
    """What is measured of each episode."""
    return [float(bool(one.success)) if measure == SUCCESS else one.total for one in episodes]
