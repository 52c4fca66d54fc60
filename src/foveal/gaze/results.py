"""Results of a comparison with human gaze, as a table and as JSON.

The JSON layout is ``foveal.gaze/1``: the fields of ``GazeResults.as_dict``. Readers ignore keys that they do not know.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.errors import FovealError
from foveal.evaluation.results import machine, now, read_json, versions, write_text
from foveal.evaluation.statistics import bootstrap_interval
from foveal.gaze.protocols import FOVEAL, GAZE_PROTOCOLS

FORMAT = "foveal.gaze/1"
_FLAT_LIST = re.compile(r"\[[^\[\]{}]*\]")  # a JSON list of numbers and names
METRICS = ("nss", "kl", "sauc", "cc", "sim")
TITLES = {"nss": "NSS", "kl": "KL", "sauc": "sAUC", "cc": "CC", "sim": "SIM"}
SUMMARY_NOTE = (
    "the gaze is a summary (mean and spread per frame), not measured samples: these scores are not comparable with "
    "published ones"
)
AVERAGED_NOTE = "the emulator blended consecutive frames in some of the recordings, which agents do not see in the game"


@dataclass(frozen=True)
class Score:
    """One metric of one map over pictures.

    Attributes:
        mean: over the pictures where it is defined; None where it is nowhere.
        low, high: 95 % percentile bootstrap interval of the mean, blocks of neighbouring pictures resampled together.
        pictures: where it is defined.
        undefined: where it is not.
    """

    mean: float | None
    low: float | None
    high: float | None
    pictures: int
    undefined: int

    def __str__(self) -> str:
        if self.mean is None:
            return "-"
        count = f" n={self.pictures:,}" if self.undefined else ""
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]{count}"

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Rows:
    """The scores of every picture, from which maps can be compared picture by picture (``foveal.gaze.pairing``).

    Attributes:
        recordings: (pictures,) names.
        frames: (pictures,) numbers of their newest frames there.
        scores: map -> (pictures, METRICS), to seven digits; None where undefined.
    """

    recordings: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()
    scores: Mapping[str, tuple[tuple[float | None, ...], ...]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: map -> metric -> a list over pictures."""
        maps = {
            name: {metric: [row[column] for row in rows] for column, metric in enumerate(METRICS)}
            for name, rows in self.scores.items()
        }
        return {"recording": list(self.recordings), "frame": list(self.frames), "maps": maps}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Rows:
        """The inverse of ``as_dict``.

        Raises:
            KeyError, TypeError: it is something else.
        """
        scores = {
            name: tuple(zip(*(metrics[metric] for metric in METRICS), strict=True))
            for name, metrics in state["maps"].items()
        }
        return cls(tuple(state["recording"]), tuple(state["frame"]), scores)


def stored(row: Sequence[float]) -> tuple[float | None, ...]:
    """Scores as ``Rows`` keeps them."""
    return tuple(float(f"{value:.7g}") if math.isfinite(value) else None for value in row)


@dataclass(frozen=True)
class GameGaze:
    """All maps on one game.

    Attributes:
        game: its name.
        recordings: names of the trials.
        scores: map -> metric -> score.
        pictures: how many were compared on.
        subset: how many there are in the paper's subset, with gaze.
        without_gaze: pictures of the subset without any gaze on the screen.
        missing: frames that were not in the archives.
        outside: gaze samples outside the screen, discarded, in all of the recordings.
        summary: whether the gaze is a summary.
        averaged: whether some recording is known to be of blended frames.
        protocol: name of the details in which comparisons differ (``foveal.gaze.protocols``).
        rows: the scores of every picture.
    """

    game: str
    recordings: tuple[str, ...]
    scores: Mapping[str, Mapping[str, Score]]
    pictures: int
    subset: int
    without_gaze: int = 0
    missing: int = 0
    outside: int = 0
    summary: bool = False
    averaged: bool = False
    protocol: str = FOVEAL.name
    rows: Rows = field(default_factory=Rows)

    def table(self) -> str:
        """A plain-text table for a terminal: one row per map, and what a reader must know below."""
        rows = [("map", *TITLES.values())]
        rows += [(name, *(str(scores[metric]) for metric in METRICS)) for name, scores in self.scores.items()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join([self.title, "", *lines, "", *(f"- {note}" for note in self.notes)])

    @property
    def title(self) -> str:
        """One line: game, recordings and pictures."""
        of = "" if self.pictures == self.subset else f" of {self.subset:,}"
        recordings = f"{len(self.recordings)} recording{'s' * (len(self.recordings) != 1)}"
        return f"{self.game} · {recordings} · {self.pictures:,}{of} pictures · mean [95 % interval]"

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the numbers."""
        notes = ["higher is better but for KL; chance is NSS 0, sAUC 0.5, CC 0"]
        notes += [note] if (note := GAZE_PROTOCOLS[self.protocol].note) else []
        notes += [SUMMARY_NOTE] if self.summary else []
        notes += [AVERAGED_NOTE] if self.averaged else []
        counted = {
            "pictures without gaze on the screen left out": self.without_gaze,
            "gaze samples outside the screen discarded": self.outside,
            "frames missing, and the pictures that need them left out": self.missing,
        }
        notes += [f"{count:,} {what}" for what, count in counted.items() if count]
        undefined = any(score.undefined for scores in self.scores.values() for score in scores.values())
        return notes + (
            ["n: pictures where a score is defined, if not everywhere; - where it is nowhere"] if undefined else []
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "recordings": list(self.recordings),
            "pictures": self.pictures,
            "subset": self.subset,
            "without_gaze": self.without_gaze,
            "missing": self.missing,
            "outside": self.outside,
            "gaze": "summary" if self.summary else "samples",
            "averaged": self.averaged,
            "protocol": self.protocol,
            "notes": self.notes,
            "maps": {
                name: {metric: score.as_dict() for metric, score in scores.items()}
                for name, scores in self.scores.items()
            },
            "rows": self.rows.as_dict(),
        }


@dataclass(frozen=True)
class GazeResults:
    """Results of ``foveal gaze``, game by game.

    Attributes:
        games: one entry each.
        data: the folder of recordings.
        agents: name of an agent's map -> what it is of: folder, encoder, environment, kind of saliency.
        seed: of the random map and the shuffled AUC.
    """

    games: tuple[GameGaze, ...]
    data: str
    agents: Mapping[str, Mapping[str, str]]
    seed: int
    created: str = field(default_factory=now)

    def table(self) -> str:
        """All games' tables."""
        return "\n\n".join(game.table() for game in self.games)

    def save(self, path: str | Path) -> Path:
        """Write ``as_dict`` as JSON, every list in a line of its own.

        Raises:
            FovealError: the file cannot be written.
        """
        laid_out = json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        return write_text(path, _FLAT_LIST.sub(lambda found: re.sub(r"\s*\n\s*", " ", found[0]), laid_out) + "\n")

    def as_dict(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return {
            "format": FORMAT,
            "data": self.data,
            "seed": self.seed,
            "agents": {name: dict(agent) for name, agent in self.agents.items()},
            "games": {game.game: game.as_dict() for game in self.games},
            "created": self.created,
            "versions": versions(),
            "machine": machine(),
        }


def read_rows(path: str | Path) -> dict[str, Rows]:
    """Game -> scores of every picture, of a file that ``GazeResults.save`` wrote.

    Raises:
        FovealError: the file can't be read, is something else, or is from before such rows were kept.
    """
    state = read_json(path)
    if not isinstance(state, Mapping) or state.get("format") != FORMAT:
        raise FovealError(f"{path} is no file of foveal gaze --json: the field 'format' must be {FORMAT!r}")
    try:
        return {name: Rows.from_dict(game["rows"]) for name, game in state["games"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FovealError(f"{path} has no scores of single pictures: run foveal gaze --json again") from error


def summarize(rows: Sequence[Sequence[float]], blocks: Sequence[Hashable]) -> dict[str, Score]:
    """Means and intervals of the METRICS.

    Args:
        rows: (pictures, METRICS), NaN where undefined.
        blocks: (pictures,) what is resampled together has the same value.
    """
    values = np.asarray(rows, dtype=np.float64)
    index = {block: number for number, block in enumerate(dict.fromkeys(blocks))}
    groups = np.array([index[block] for block in blocks])
    return {metric: score_of(values[:, column], groups) for column, metric in enumerate(METRICS)}


def score_of(values: ArrayLike, groups: NDArray[np.int64]) -> Score:
    """Mean over the defined pictures; its interval resamples whole groups of them.

    Args:
        values: (pictures,), NaN where undefined.
        groups: (pictures,) numbers from 0.
    """
    array = np.asarray(values, dtype=np.float64)
    defined = np.isfinite(array)
    count = int(defined.sum())
    if count == 0:
        return Score(None, None, None, 0, len(array))
    sums = np.bincount(groups[defined], weights=array[defined])
    sizes = np.bincount(groups[defined])
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]

    def pooled(drawn: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        chosen = drawn.astype(np.int64)  # (replicates, groups) numbers of groups
        mean: NDArray[np.float64] = sums[chosen].sum(axis) / sizes[chosen].sum(axis)
        return mean

    low, high = bootstrap_interval(np.arange(len(sums)), pooled)
    return Score(float(array[defined].mean()), low, high, count, len(array) - count)
