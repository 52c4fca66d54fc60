"""Learning curves of a benchmark's runs, where their run folders are still there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foveal.bench.cells import RUN
from foveal.bench.comparison import SuiteReport
from foveal.bench.scores import Ledger, policy_names
from foveal.evaluation.world import TRAIN
from foveal.training.run_folder import EVALUATIONS, read_records

Curve = Mapping[int, float]
"""Agent step -> mean return of an evaluation on the way."""


@dataclass(frozen=True)
class TaskCurves:
    """How the policies of a task learned.

    Attributes:
        task: id of the environment.
        curves: policy -> seed -> curve under the trained look.
    """

    task: str
    curves: Mapping[str, Mapping[int, Curve]]

    def levels(self, policy: str) -> list[tuple[int, float, float, float]]:
        """(step, mean, lowest, highest) over the seeds that were evaluated at a step, rising."""
        by_step: dict[int, list[float]] = {}
        for curve in self.curves[policy].values():
            for step, value in curve.items():
                by_step.setdefault(step, []).append(value)
        return [(step, sum(v) / len(v), min(v), max(v)) for step, v in sorted(by_step.items())]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        curves = {
            policy: {
                str(seed): [[step, value] for step, value in sorted(curve.items())] for seed, curve in runs.items()
            }
            for policy, runs in self.curves.items()
        }
        return {"task": self.task, "curves": curves}


def learning_curves(suite: SuiteReport, ledger: Ledger) -> list[TaskCurves]:
    """Of each task of a suite whose runs left evaluations."""
    names = policy_names(ledger.runs)
    found: dict[str, dict[str, dict[int, Curve]]] = {}
    for run in ledger.runs:
        path = run.folder / RUN / EVALUATIONS
        if run.suite != suite.name or not path.is_file():
            continue
        curve = {
            record["step"]: record["perturbations"][TRAIN]["summary"]["mean"]
            for record in read_records(path)
            if TRAIN in record["perturbations"]
        }
        if curve:
            found.setdefault(run.task, {}).setdefault(names[run.policy], {})[run.seed] = curve
    return [TaskCurves(task, found[task]) for task in sorted(found)]
