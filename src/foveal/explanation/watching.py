"""A training run as it goes on: its curve, its losses, and what its newest checkpoint looks at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from foveal.checkpoint import CheckpointStore
from foveal.errors import FovealError
from foveal.evaluation.layout import duration, number
from foveal.evaluation.results import Results
from foveal.evaluation.world import TRAIN
from foveal.explanation.charts import NARROW, WIDE, LearningCurve, Sparkline
from foveal.explanation.explain import explain
from foveal.explanation.page import page_text
from foveal.loading import load
from foveal.training.run_folder import CONFIG, EPISODES, EVALUATIONS, read_metrics, read_records

REFRESH = 10
"""Seconds between two looks of a browser."""
LOOK = "watch.html"
"""The page of what the newest checkpoint looks at, in the run's folder."""
MOMENTS = 30
"""Pictures in its player."""
MOST_DOTS = 400
"""Training episodes that are drawn; of more, so many evenly apart."""
FAMILIES = ("critic", "actor", "policy", "value", "saliency", "consistency", "auxiliary", "loss", "attention")
"""Beginnings of the names of metrics that are drawn, where a run has more than fit."""
MOST_LINES = 8


def check_run(run: Path) -> None:
    """Refuse what is no run's folder.

    Raises:
        FovealError: there is none.
    """
    if not (run / CONFIG).is_file():
        raise FovealError(f"{run} is no run's folder, it has no {CONFIG}: name the folder that foveal train writes")


def watch_page(run: Path, looked: str | None = None, *, clock: Callable[[], float] = time.time) -> str:
    """The page as it is now; a browser that shows it looks again by itself.

    Args:
        run: the folder, which another process may be writing to.
        looked: words about the page of the newest checkpoint; None where there is none.
        clock: seconds since the epoch.

    Raises:
        FovealError: it is no run's folder.
    """
    check_run(run)
    config = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    episodes, evaluations = read_records(run / EPISODES), read_records(run / EVALUATIONS)
    metrics = read_metrics(run)
    told = [(record["step"], next(iter(record["perturbations"].values()))["summary"]) for record in evaluations]
    done = max([0, *(record["step"] for record in (*episodes, *evaluations)), *_last_steps(metrics)])
    dots = [(record["step"], record["return"]) for record in episodes[:: 1 + len(episodes) // MOST_DOTS]]
    curve = (dots, told, None)
    checkpoints = CheckpointStore(run).steps()
    what = " · ".join(str(config[name]) for name in ("method", "learner") if config.get(name))
    return page_text(
        "watch.html.j2",
        title=f"foveal watch: {run.name}",
        refresh=REFRESH,
        run=run.name,
        folder=str(run),
        what=f"{what} on {config.get('env', 'an environment of the user')}" if what else str(config.get("env", "")),
        figures=_figures(config.get("steps"), done, evaluations[-1:], checkpoints, _silence(run, clock())),
        curves=[LearningCurve(width, *curve) for width in (WIDE, NARROW)] if dots or told else [],
        losses=[_line(name, metrics[name]) for name in _shown(metrics)],
        looked=looked,
        config=config,
    )


def _figures(
    target: int | None, done: int, newest: list[dict[str, Any]], checkpoints: list[int], silence: str
) -> list[tuple[str, str]]:
    """What stands large on top: (words, number)."""
    steps = number(done) if target is None else f"{number(done)} of {number(target)}"
    found = [("agent steps", steps)]
    for record in newest:
        (condition, *_) = Results.from_dict(record).conditions
        words = f"return at step {number(record['step'])}, {condition.label}"
        found.append((words, number(float(condition.returns.mean()))))
    found.append(("newest checkpoint", number(checkpoints[-1]) if checkpoints else "none yet"))
    return [*found, ("since its last sign of life", silence)]


def _shown(metrics: Mapping[str, Any]) -> list[str]:
    names = [name for name in sorted(metrics) if not name.startswith(("return/", "evaluation/")) and name != "updates"]
    return [name for name in names if name.startswith(FAMILIES)][:MOST_LINES] or names[:MOST_LINES]


def _line(name: str, points: list[tuple[int, float]]) -> Sparkline:
    every = 1 + len(points) // MOST_DOTS
    steps, values = zip(*points[::every], strict=True)
    return Sparkline(name, steps, values, steps[-1])


def _last_steps(metrics: Mapping[str, list[tuple[int, float]]]) -> list[int]:
    return [points[-1][0] for points in metrics.values() if points]


def _silence(run: Path, present: float) -> str:
    """How long nothing of the run has been written, by the clock of its files."""
    signs = list(_signs(run))
    return duration(max(present - max(signs), 0.0)) if signs else "no file is left"


def _signs(run: Path) -> Iterator[float]:
    """When each file was written. Whoever trains deletes old checkpoints, so one may be gone that was just listed."""
    for folder, _, names in os.walk(run):
        for name in names:
            with suppress(FileNotFoundError):
                if name != LOOK:
                    yield Path(folder, name).stat().st_mtime


@dataclass
class Looking:
    """What the newest checkpoint looks at: a page that is made anew, one at a time, when there is a newer one.

    Attributes:
        run: the folder.
        step: of the checkpoint whose page there is; None before the first.
        problem: why the last attempt failed.
    """

    run: Path
    step: int | None = None
    problem: str | None = None

    @property
    def page(self) -> Path:
        """The file."""
        return self.run / LOOK

    @property
    def words(self) -> str | None:
        """About the page; None where there is nothing to say."""
        if self.problem is not None:
            return f"it can't be shown: {self.problem}"
        return None if self.step is None else f"at agent step {number(self.step)}"

    def refresh(self) -> None:
        """Look once, where there is a checkpoint that nobody has looked at."""
        steps = CheckpointStore(self.run).steps()
        if steps and steps[-1] != self.step:
            self._look(steps[-1])

    def _look(self, step: int) -> None:
        """Of the checkpoint itself, not of the run: a run's newest is repaired by who reads it, and that is its own."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the training needs the others
        try:
            agent: Any = load(CheckpointStore(self.run).path(step))
            explain(agent, TRAIN, self.page, moments=MOMENTS, progress=False)
            self.problem = None
        except FovealError as error:
            self.problem = str(error)
        finally:
            torch.set_num_threads(threads)
        self.step = step
