"""A ledger of benchmark runs read back: one row for each run under each condition.

A run's folder has ``cell.json`` (what was trained, and how that ended), ``results.json`` (every episode under every
condition), and maybe ``results-shield.json``, the same policy behind a shield. ``random.json`` in a folder above it is
the random policy's on that task. Folders may lie at any depth.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from foveal.bench.cells import CELL, DONE, RANDOM, RESULTS, SHIELDED, Cell, read_cell
from foveal.errors import FovealError
from foveal.evaluation.results import Condition, Results
from foveal.methods import method_class

BEHIND = " + shield"
"""What the name of a policy behind a shield ends with."""
PRIVILEGED = "(privileged)"
"""What results say of a policy behind a shield that learned from the simulator's masks."""


@dataclass(frozen=True)
class Run(Cell):
    """A cell among the results, of a suite or of none.

    Attributes:
        folder: where it lies.
    """

    folder: Path = Path()

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Of a folder with ``cell.json``.

        Raises:
            FovealError: that is missing, can't be read, or is of another layout.
        """
        cell = read_cell(folder)
        if cell is None:
            raise FovealError(f"can't read {folder / CELL}: there is none")
        return cls(**vars(cell), folder=folder)

    @property
    def identity(self) -> tuple[str, str, str, str, int]:
        """What no other run of a ledger may share."""
        return self.suite or "", self.task, self.learner, self.method, self.seed

    @property
    def policy(self) -> tuple[str, str]:
        """Learner and method."""
        return self.learner, self.method

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: what a number of this run has to say for itself."""
        return {**asdict(self), "folder": str(self.folder)}


@dataclass(frozen=True, order=True)
class Look:
    """Under what episodes were played: only scores under the same look are ever averaged or compared.

    Attributes:
        perturbation: its name, ``"train"`` for none.
        note: where its colours or videos come from, as tables say it; empty without any.
        quality: of rendering, empty where the environment has no such thing.
    """

    perturbation: str
    note: str
    quality: str

    @classmethod
    def of(cls, condition: Condition) -> Look:
        """The look of a condition of some results."""
        return cls(condition.perturbation, condition.note, condition.quality or "")

    def __str__(self) -> str:
        said = [part for part in (self.shown_note, self.shown_quality) if part]
        return f"{self.perturbation} ({', '.join(said)})" if said else self.perturbation

    @property
    def shown_note(self) -> str:
        """The note where it warns: of anything but the whole benchmark's own."""
        return "" if self.note == "DMC-GB" else self.note

    @property
    def shown_quality(self) -> str:
        """The rendering where it is not the benchmark's own."""
        return f"{self.quality} rendering" if self.quality not in ("", "exact") else ""


@dataclass(frozen=True)
class Score:
    """What one run is worth under one condition.

    Attributes:
        run: the training.
        policy: its name in tables.
        condition: every episode.
        environment: what the results say of it.
        shielded: whether a shield stood before the policy.
        privileged: whether the method or its shield learned from what the simulator alone knows.
    """

    run: Run
    policy: str
    condition: Condition
    environment: Mapping[str, Any]
    shielded: bool
    privileged: bool

    @cached_property
    def value(self) -> float:
        """The mean return over its episodes."""
        return float(self.condition.returns.mean())

    @cached_property
    def look(self) -> Look:
        """Under what they were played."""
        return Look.of(self.condition)


@dataclass(frozen=True)
class Ledger:
    """All runs of some folders.

    Attributes:
        runs: every one, failed and unfinished ones as well.
        scores: of those that have results.
        chance: (suite, task) -> results of the random policy.
        lacking: runs that are done but have no results, and what they lack.
    """

    runs: tuple[Run, ...]
    scores: tuple[Score, ...]
    chance: Mapping[tuple[str | None, str], Results]
    lacking: tuple[tuple[Run, str], ...] = ()


def read(folders: Sequence[str | Path]) -> Ledger:
    """All runs below some folders.

    Args:
        folders: at any height above the runs; what two of them have in common is read once.

    Raises:
        FovealError: a folder is missing or has no run, a file can't be read, or one run is there twice, with different
            results.
    """
    places: dict[Path, Path] = {}  # of a run -> the folder that was named
    for folder in folders:
        found = list(_places(Path(folder)))
        if not found:
            raise FovealError(f"{folder} has no run of a benchmark: no {CELL} in any folder below it")
        places |= {place.resolve(): Path(folder).resolve() for place in found}
    runs = _merged([Run.load(place) for place in sorted(places)])
    names = policy_names(runs)
    scores: list[Score] = []
    lacking: list[tuple[Run, str]] = []
    chance: dict[tuple[str | None, str], Results] = {}
    for run in runs:
        own, missing = _scores(run, names[run.policy])
        scores += own
        lacking += [(run, name) for name in missing]
        path = _chance_of(run.folder, places[run.folder])
        if path is not None and (run.suite, run.task) not in chance:
            chance[run.suite, run.task] = Results.load(path)
    return Ledger(tuple(runs), tuple(scores), chance, tuple(lacking))


def policy_names(runs: Sequence[Run]) -> dict[tuple[str, str], str]:
    """(learner, method) -> what tables call it: the method, or the learner where there is none.

    A method that runs on several learners is named with them.
    """
    policies = sorted({run.policy for run in runs})
    methods = [method for _, method in policies]
    return {
        (learner, method): learner
        if method == "none"
        else method
        if methods.count(method) == 1
        else f"{method} on {learner}"
        for learner, method in policies
    }


def _places(folder: Path) -> Iterator[Path]:
    """Folders of runs, not looking into any of these."""
    if not folder.is_dir():
        raise FovealError(f"there is no folder {folder}")
    for place, below, files in os.walk(folder):
        if CELL in files:
            below.clear()
            yield Path(place)


def _merged(runs: Sequence[Run]) -> list[Run]:
    """Each run once: one that is done goes before one that is not."""
    kept: dict[tuple[str, str, str, str, int], Run] = {}
    for run in runs:
        other = kept.setdefault(run.identity, run)
        if other is run or run.state != DONE:
            continue
        if other.state == DONE and _content(other) != _content(run):
            raise FovealError(
                f"{other.folder} and {run.folder} are both the run of {run.method} on {run.task} with seed {run.seed}, "
                "and their results differ: leave one out"
            )
        kept[run.identity] = run
    return list(kept.values())


def _content(run: Run) -> list[bytes | None]:
    return [path.read_bytes() if (path := run.folder / name).is_file() else None for name in (RESULTS, SHIELDED)]


def _scores(run: Run, name: str) -> tuple[list[Score], list[str]]:
    """Of a run that is done, and which of its results are missing."""
    if run.state != DONE:
        return [], []
    scores: list[Score] = []
    missing: list[str] = []
    wanted = [(RESULTS, False), *([(SHIELDED, True)] if run.shield or (run.folder / SHIELDED).is_file() else [])]
    for file, shielded in wanted:
        if not (run.folder / file).is_file():
            missing.append(file)
            continue
        results = Results.load(run.folder / file)
        policy, knows = name + BEHIND * shielded, _privileged(results.policy, run.method)
        scores += [
            Score(run, policy, condition, results.environment, shielded, knows) for condition in results.conditions
        ]
    return scores, missing


def _privileged(policy: Mapping[str, Any], method: str) -> bool:
    """Whether a method, a part of it or its shield knows more than the picture."""
    name = str(policy.get("method", method))
    if policy.get("privileged") or PRIVILEGED in name:
        return True
    try:
        return method_class(name.partition(" ")[0]).privileged
    except FovealError:  # of a plug-in that is not here, or the encoder of a learner that takes no method
        return False


def _chance_of(folder: Path, top: Path) -> Path | None:
    """``random.json`` beside or above a run, up to the folder that was named."""
    above = [place for place in folder.parents if place == top or top in place.parents]
    return next((path for place in above if (path := place / RANDOM).is_file()), None)
