"""Two or three sentences from a report's numbers: who leads where, and whether chance explains it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from foveal.bench.comparison import LookReport, SuiteReport
from foveal.evaluation.layout import listed
from foveal.evaluation.over_runs import SeedEstimate

MINUS = "\N{MINUS SIGN}"
LEAST = 1e-4
"""Differences of less are none, on any scale that is reported."""


@dataclass(frozen=True)
class Verdict:
    """A paired difference under one look, in a word.

    Attributes:
        look: as tables call it.
        policy, other: what is compared with what.
        estimate: of the difference, None where no pair exists.
    """

    look: str
    policy: str
    other: str
    estimate: SeedEstimate | None

    @property
    def word(self) -> str:
        """Where the difference lies."""
        estimate = self.estimate
        if estimate is None:
            return "is not paired"
        if estimate.interval is None:
            return "has no interval"
        if not estimate.excludes_zero:
            return "can't be told from 0"
        return "is above 0" if estimate.value > 0 else "is below 0"

    @property
    def numbers(self) -> str:
        """The difference with its interval."""
        estimate = self.estimate
        if estimate is None:
            return self.look
        pairs = f"{estimate.runs} pair{'' if estimate.runs == 1 else 's'}"
        low_and_high = "" if estimate.interval is None else f" [{', '.join(map(signed, estimate.interval))}]"
        return f"{self.look} ({signed(estimate.value)}{low_and_high}, {pairs})"


def reading(suite: SuiteReport, ours: str | None = None) -> list[str]:
    """What the numbers of a suite say.

    Args:
        suite: the numbers.
        ours: the policy to speak of, also where it doesn't lead; by default whichever leads.

    Returns:
        Sentences. Each compares interquartile means of scores on the common scale, or their paired differences.
    """
    ranked = [look for look in suite.looks if look.aggregates]
    if not ranked:
        return ["No policy has runs of every task on a common scale, so none can be said to lead."]
    said = [_leaders(suite, ranked)]
    if ours is not None and ours in suite.policies:
        said += _ours(ranked, ours)
    verdicts = _verdicts(suite, ranked, ours if ours in suite.policies else None)
    return [*said, *_differences(verdicts)]


def _leaders(suite: SuiteReport, looks: Sequence[LookReport]) -> str:
    led: dict[str, list[str]] = {}
    for look in looks:
        led.setdefault(look.ranking[0], []).append(str(look.look))
    tasks = len(looks[0].scaled_tasks)
    over = f"over {tasks} tasks" if tasks > 1 else "on one task"
    if len(suite.policies) == 1:
        return f"There is one policy alone, {suite.policies[0]}, {over}: nothing to compare it with."
    parts = [f"{_marked(suite, name)} leads on {listed(where)}" for name, where in led.items()]
    return f"By interquartile mean {over}, {'; '.join(parts)}."


def _marked(suite: SuiteReport, name: str) -> str:
    marks = [mark for mark in suite.marks[name] if mark == "privileged"]
    return f"{name} ({', '.join(marks)})" if marks else name


def _ours(looks: Sequence[LookReport], ours: str) -> list[str]:
    """Where ours does not lead."""
    behind = [look for look in looks if ours in look.aggregates and look.ranking[0] != ours]
    absent = [str(look.look) for look in looks if ours not in look.aggregates]
    said = []
    if behind:
        parts = [_beaten(look, ours) for look in behind]
        said.append(f"{ours} does not lead on {'; '.join(parts)}.")
    if absent:
        said.append(f"{ours} lacks runs of some task on {listed(absent)}, and is not ranked there.")
    return said


def _beaten(look: LookReport, ours: str) -> str:
    best = look.ranking[0]
    own, other = (look.aggregates[name].iqm.value for name in (ours, best))
    return f"{look.look}: {own:.2f} against {other:.2f} of {best}"


def _verdicts(suite: SuiteReport, looks: Sequence[LookReport], ours: str | None) -> list[Verdict]:
    """Ours, or else the leader, against the baseline, or else the best other policy."""
    found = []
    for look in looks:
        policy = ours or look.ranking[0]
        others = [name for name in look.ranking if name != policy]
        other = suite.baseline if suite.baseline not in (None, policy) else next(iter(others), None)
        if other is not None and policy in look.scaled:
            found.append(Verdict(str(look.look), policy, other, look.difference(policy, other)))
    return found


def _differences(verdicts: Sequence[Verdict]) -> list[str]:
    said = []
    for policy, other in dict.fromkeys((verdict.policy, verdict.other) for verdict in verdicts):
        mine = [verdict for verdict in verdicts if (verdict.policy, verdict.other) == (policy, other)]
        words = list(dict.fromkeys(verdict.word for verdict in mine))
        parts = [f"{word} on {listed([v.numbers for v in mine if v.word == word])}" for word in words]
        said.append(f"Paired by task and seed, {policy} {MINUS} {other} {'; it '.join(parts)}.")
    return said


def signed(value: float) -> str:
    """Of a difference, with its sign: two decimals, more where it would look like 0 and is not."""
    if abs(value) < LEAST:
        return "0.00"
    digits = max(2, -math.floor(math.log10(abs(value))))
    return f"{value:+.{digits}f}".replace("-", MINUS)
