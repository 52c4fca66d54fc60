"""The report on a ledger of benchmark runs: numbers, what they say in words, missing runs, and published results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from foveal.bench.comparison import LookReport, SuiteReport, compare
from foveal.bench.gaps import Hole, holes, warnings
from foveal.bench.learning import TaskCurves, learning_curves
from foveal.bench.published import PublishedTable, published_tables
from foveal.bench.reading import reading
from foveal.bench.scales import references
from foveal.bench.scores import Ledger, read
from foveal.errors import FovealError
from foveal.evaluation.results import origin
from foveal.registry import nearest

FORMAT = "foveal.bench-report/1"


@dataclass(frozen=True)
class Report:
    """What is reported on a ledger of runs.

    Attributes:
        folders: that were read.
        ledger: what is in them.
        suites: the numbers.
        ours, baseline: names of policies, or None.
    """

    folders: tuple[str, ...]
    ledger: Ledger
    suites: tuple[SuiteReport, ...]
    ours: str | None = None
    baseline: str | None = None

    @cached_property
    def holes(self) -> list[Hole]:
        """Runs without numbers."""
        return holes(self.ledger)

    @cached_property
    def curves(self) -> dict[str | None, list[TaskCurves]]:
        """Suite -> its learning curves."""
        return {suite.name: learning_curves(suite, self.ledger) for suite in self.suites}

    @cached_property
    def readings(self) -> dict[str | None, list[str]]:
        """Suite -> what its numbers say."""
        return {suite.name: reading(suite, self.ours) for suite in self.suites}

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: every number, and where it comes from."""
        suites = [
            {
                **suite.as_dict(),
                "reading": self.readings[suite.name],
                "warnings": warnings(suite),
                "learning_curves": [curve.as_dict() for curve in self.curves[suite.name]],
                "published": [
                    {"look": str(look.look), "table": table.id, "why_not_beside": why}
                    for look in suite.looks
                    for table, why in published_for(look)
                ],
            }
            for suite in self.suites
        ]
        return {
            "format": FORMAT,
            "folders": list(self.folders),
            "ours": self.ours,
            "baseline": self.baseline,
            "suites": suites,
            "holes": [asdict(hole) for hole in self.holes],
            "runs": [run.as_dict() for run in self.ledger.runs],
            "published": [table.as_dict() for table in published_tables()],
            **origin(),
        }


def report(
    folders: Sequence[str | Path],
    *,
    baseline: str | None = None,
    ours: str | None = None,
    reference: Sequence[str] = (),
    progress: bool = False,
) -> Report:
    """Read folders of benchmark runs and compare what is in them.

    Args:
        folders: at any height above the runs.
        baseline: a policy whose runs all others are paired with, as tables name it or as ``learner-method``.
        ours: a policy that the reading tells of, also where it doesn't lead.
        reference: ``TASK=RETURN``, the return that is 1 on the common scale.
        progress: show a bar.

    Raises:
        FovealError: as for ``foveal.bench.scores.read``; no run has results, an unknown policy, or a wrong reference.
    """
    known = references(reference)
    ledger = read(folders)
    if not ledger.scores:
        raise FovealError(
            f"none of the {len(ledger.runs)} runs in {', '.join(map(str, folders))} has results yet; "
            "let `foveal bench run` finish one"
        )
    base, own = (None if name is None else _policy(name, ledger) for name in (baseline, ours))
    suites = compare(ledger, known, base, progress=progress)
    return Report(tuple(map(str, folders)), ledger, suites, own, base)


def _policy(name: str, ledger: Ledger) -> str:
    """What tables call a policy."""
    by_folder = {
        f"{score.run.learner}-{score.run.method}": score.policy for score in ledger.scores if not score.shielded
    }
    found = {score.policy for score in ledger.scores}
    if name not in found and name not in by_folder:
        raise FovealError(f"no run of a policy {name!r} has results: {nearest(name, sorted(found))}")
    return name if name in found else by_folder[name]


def published_for(look: LookReport) -> list[tuple[PublishedTable, list[str]]]:
    """Published tables of a look's name that have one of its tasks, and why they can't stand beside its numbers."""
    return [
        (table, table.protocol.obstacles(look.scores))
        for table in published_tables()
        if table.condition == look.look.perturbation and any(row.scores.keys() & set(look.tasks) for row in table.rows)
    ]
