"""What a ledger lacks, and what a reader must know of it beside its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from foveal.bench.cells import DONE, FAILED
from foveal.bench.comparison import SuiteReport
from foveal.bench.scores import Ledger, Run, policy_names
from foveal.evaluation.over_runs import FEWEST_SEEDS, TRUSTED_SEEDS


@dataclass(frozen=True)
class Hole:
    """A run without numbers.

    Attributes:
        suite, task, policy, seed: which.
        state: ``"failed"``, ``"not finished"``, ``"missing"``, or ``"without results"``.
        why: its error, or what is not there.
    """

    suite: str | None
    task: str
    policy: str
    seed: int
    state: str
    why: str


def holes(ledger: Ledger) -> list[Hole]:
    """Failed, unfinished and missing runs.

    Missing is what a suite's grid lacks: every policy of it on every task of it, with every seed that any of them has.
    """
    names = policy_names(ledger.runs)
    found = [_hole(run, names, *_state(run)) for run in ledger.runs if run.state != DONE]
    found += [_hole(run, names, "without results", f"no {file}") for run, file in ledger.lacking]
    for suite in dict.fromkeys(run.suite for run in ledger.runs):
        found += _missing(suite, [run for run in ledger.runs if run.suite == suite], names)
    return sorted(found, key=lambda hole: (hole.suite or "", hole.task, hole.policy, hole.seed))


def _state(run: Run) -> tuple[str, str]:
    if run.state == FAILED:
        return FAILED, run.error or "no reason was kept"
    return "not finished", "it runs, or was stopped; `foveal bench run` goes on with it"


def _hole(run: Run, names: Mapping[tuple[str, str], str], state: str, why: str) -> Hole:
    return Hole(run.suite, run.task, names[run.policy], run.seed, state, why)


def _missing(suite: str | None, runs: Sequence[Run], names: Mapping[tuple[str, str], str]) -> list[Hole]:
    there = {(run.task, run.policy, run.seed) for run in runs}
    tasks, policies, seeds = (sorted({getattr(run, axis) for run in runs}) for axis in ("task", "policy", "seed"))
    missing = [cell for cell in product(tasks, policies, seeds) if cell not in there]
    return [Hole(suite, task, names[policy], seed, "missing", "never begun") for task, policy, seed in missing]


def warnings(suite: SuiteReport) -> list[str]:
    """What to know before reading the numbers of a suite."""
    returns = [by_task for look in suite.looks for by_task in look.returns.values()]
    counts = [estimate.seeds for by_task in returns for estimate in by_task.values()]
    several = [count for count in counts if count >= FEWEST_SEEDS]
    said = []
    if len(several) < len(counts):
        said.append(
            "Where a policy has a single seed on a task there is no interval: one run says nothing of the spread "
            "between runs."
        )
    if several and min(several) < TRUSTED_SEEDS:
        said.append(
            f"With fewer than {TRUSTED_SEEDS} seeds a bootstrap interval is narrower than it should be; here some rest "
            f"on {min(several)}."
        )
    if len(set(counts)) > 1:
        said.append(
            "Numbers of seeds differ: the interquartile mean pools runs, so tasks with more of them weigh more there."
        )
    said += [
        f"Trainings on {task} differ in length: {', '.join(steps)} agent steps." for task, steps in _lengths(suite)
    ]
    return said


def _lengths(suite: SuiteReport) -> list[tuple[str, list[str]]]:
    """Tasks whose trainings were not all of one length, and their lengths."""
    steps: dict[str, set[int]] = {}
    for look in suite.looks:
        for score in look.scores:
            steps.setdefault(score.run.task, set()).add(score.run.steps)
    return [
        (task, [f"{count:,}" for count in sorted(found)]) for task, found in sorted(steps.items()) if len(found) > 1
    ]
