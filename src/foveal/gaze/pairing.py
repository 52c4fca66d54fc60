"""How much better one map predicts gaze than another, picture by picture.

Two maps' means over the same pictures go up and down together, with how easy the pictures are. Their difference picture
by picture does not, so its interval is the one that tells whether the maps differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.evaluation.statistics import CONFIDENCE, REPLICATES
from foveal.gaze.results import METRICS, TITLES, Rows, Score
from foveal.registry import nearest

INTERVAL_NOTE = (
    "95 % intervals are over the pictures within these recordings: percentile bootstrap, blocks of {block} frames "
    "drawn anew within each recording. They say nothing of other recordings, of other people or of another training."
)


@dataclass(frozen=True)
class Difference(Score):
    """One metric of one map minus that of another, over the pictures where both are defined.

    Its interval is None where these are of a single block.
    """

    def __str__(self) -> str:
        if self.mean is None:
            return "-"
        interval = "[-]" if self.low is None else f"[{self.low:+.3f}, {self.high:+.3f}]"
        return f"{self.mean:+.3f} {interval}" + (f" n={self.pictures:,}" if self.undefined else "")


def paired(rows: Rows, one: str, other: str, block: int, *, seed: int = 0) -> dict[str, Difference]:
    """Each metric of ``one`` minus that of ``other``.

    Args:
        rows: scores of every picture.
        one, other: names of maps.
        block: frames that are drawn together, since neighbouring pictures are alike.
        seed: of the bootstrap.

    Raises:
        FovealError: there is no map of that name.
    """
    for name in (one, other):
        if name not in rows.scores:
            raise FovealError(f"no map {name!r} was compared with gaze: {nearest(name, list(rows.scores))}")
    first, second = (np.array(rows.scores[name], np.float64) for name in (one, other))  # (pictures, METRICS)
    blocks = [(recording, frame // block) for recording, frame in zip(rows.recordings, rows.frames, strict=True)]
    return {
        metric: difference(first[:, column] - second[:, column], blocks, seed=seed)
        for column, metric in enumerate(METRICS)
    }


def difference(values: NDArray[np.float64], blocks: Sequence[tuple[str, int]], *, seed: int = 0) -> Difference:
    """The mean of differences and its interval.

    Args:
        values: (pictures,), NaN where undefined.
        blocks: (pictures,) recording, and number of what is drawn together in it.
        seed: of the bootstrap.
    """
    defined = np.isfinite(values)
    count = int(defined.sum())
    if count == 0:
        return Difference(None, None, None, 0, len(values))
    sums: dict[str, dict[int, list[float]]] = {}
    for (recording, number), value in zip(blocks, values.tolist(), strict=True):
        if np.isfinite(value):
            sums.setdefault(recording, {}).setdefault(number, []).append(value)
    low, high = _interval(list(sums.values()), seed)
    return Difference(float(values[defined].mean()), low, high, count, len(values) - count)


def paired_table(game: str, one: str, other: str, found: Mapping[str, Difference], block: int) -> str:
    """For a terminal: a line per metric, and what the intervals are over."""
    width = max(map(len, TITLES.values()))
    lines = [f"{TITLES[metric].ljust(width)}  {found[metric]}" for metric in METRICS]
    head = f"{game} · {one} minus {other}, picture by picture · mean [95 % interval]"
    notes = ["- higher is better but for KL", f"- {INTERVAL_NOTE.format(block=block)}"]
    if any(difference.undefined for difference in found.values()):
        notes.append("- n: pictures where both scores are defined, if not everywhere; - where nowhere")
    return "\n".join([head, "", *lines, "", *notes])


def _interval(recordings: Sequence[Mapping[int, Sequence[float]]], seed: int) -> tuple[float | None, float | None]:
    """Of the pooled mean, blocks drawn anew within each recording."""
    if sum(map(len, recordings)) < 2:
        return None, None
    generator = np.random.default_rng(seed)
    totals, counts = np.zeros(REPLICATES), np.zeros(REPLICATES)
    for blocks in recordings:
        sums = np.array([sum(block) for block in blocks.values()])
        sizes = np.array([len(block) for block in blocks.values()])
        chosen = generator.integers(len(sums), size=(REPLICATES, len(sums)))
        totals += sums[chosen].sum(1)
        counts += sizes[chosen].sum(1)
    low, high = np.quantile(totals / counts, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
