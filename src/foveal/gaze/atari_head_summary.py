"""Reader of gaze summaries: for each frame where the gaze was on average and how it spread, instead of its samples.

Such a file has the columns of ``COLUMNS``. Samples with exactly the mean and the variances that it tells are made
from it, so that the same metrics can be taken; what they give is a summary's score and must not be compared with
those of measured samples.
"""

from __future__ import annotations

import csv
import io
import json
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.gaze.atari_head import Trial, gathered, text_of

SUMMARY = "gaze_summary.csv"
FRAMES = "frames"
SAMPLES = 50
"""Samples made for each frame: what a tracker of 1,000 Hz gives in the 50 ms that a frame is shown at the least."""
COLUMNS = ("frame_id", "gaze_mean", "gaze_variance0", "gaze_component0", "gaze_variance1", "gaze_component1")
_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


def read_summary(folder: str | Path, game: str, *, rounded: bool = False) -> Trial:
    """A folder with ``gaze_summary.csv`` and ``frames/<trial>_<number>.png``.

    Args:
        game: which the summary does not tell.
        rounded: see ``Trial``.

    Raises:
        FovealError: a file is missing, columns are, or a line is broken (with its number).
    """
    path, frames = Path(folder) / SUMMARY, Path(folder) / FRAMES
    if not frames.is_dir():
        raise FovealError(f"the frames of {path} are missing: there is no folder {frames}")
    names, gaze, outside = gathered(path, _rows(path), _row, rounded=rounded)
    if not names:
        raise FovealError(f"{path} has no rows")
    name = next(iter(names.values())).rpartition("_")[0]
    return Trial(name, game, frames, names, gaze, {}, outside=outside, summary=True, rounded=rounded)


@cache
def round_samples() -> NDArray[np.float64]:
    """(SAMPLES, 2) points spread like a standard normal: mean exactly 0, covariance exactly the identity.

    They lie on a sunflower's spiral, at the radii that cut the normal distribution into rings of equal probability.
    """
    share = (np.arange(SAMPLES) + 0.5) / SAMPLES
    radius, angle = np.sqrt(-2 * np.log1p(-share)), np.arange(SAMPLES) * _GOLDEN_ANGLE
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (count, 1) * (count, 2)
    points -= points.mean(0)
    spread = np.linalg.cholesky(points.T @ points / SAMPLES)
    whitened: NDArray[np.float64] = np.linalg.solve(spread, points.T).T
    return whitened


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text_of(path)))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise FovealError(f"{path}: line 1 lacks the columns {', '.join(missing)}")
    return [(reader.line_num, row) for row in reader]


def _row(row: dict[str, str]) -> tuple[str, NDArray[np.float64]]:
    """The frame's name and (SAMPLES, 2) gaze samples."""
    mean, axes = _pair(row["gaze_mean"]), [_pair(row[f"gaze_component{axis}"]) for axis in (0, 1)]
    variances = np.array([float(row[f"gaze_variance{axis}"]) for axis in (0, 1)])
    if not np.isfinite(variances).all() or (variances < 0).any():
        raise ValueError("a variance is negative or not finite")
    ellipse = np.sqrt(variances)[:, None] * np.stack(axes)  # (2, 1) * (2, 2): one row an axis
    return row["frame_id"], mean + round_samples() @ ellipse


def _pair(cell: str) -> NDArray[np.float64]:
    values = np.array(json.loads(cell), dtype=np.float64)
    if values.shape != (2,) or not np.isfinite(values).all():
        raise ValueError(f"{cell!r} is no pair of numbers")
    return values
