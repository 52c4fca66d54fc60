"""The part of an audit's page that sets two policies beside each other."""

from __future__ import annotations

from functools import partial

from foveal.auditing.conditions import CLEAN
from foveal.auditing.report_parts import interval_cell
from foveal.auditing.results import SUCCESS, Audit, Difference
from foveal.evaluation.layout import signed
from foveal.explanation.page import Cell, Line, Table


def policy_names(audit: Audit) -> list[str]:
    """Of the policy, and of the one beside it; told apart where both are of one kind."""
    kinds = [str(one.policy["kind"]) for one in audit.policies]
    if len(set(kinds)) == len(kinds):
        return kinds
    return [f"{kind}, {which}" for kind, which in zip(kinds, ("the first", "the other"), strict=True)]


def comparison(audit: Audit) -> tuple[str, Table]:
    """Of an audit with another policy beside it: sentences, and the differences."""
    assert audit.against is not None  # the caller looked
    other = policy_names(audit)[1]
    told = (
        f"The other policy, {other}, was tried in the same episodes, with the same seeds of every change. "
        f"{' '.join(audit.against.summary[:2])}"
    )
    severities = sorted({one.condition.severity for one in audit.differences if one.condition.severity is not None})
    head: Line = ["", "difference", *(f"severity {severity}" for severity in severities)]
    names = dict.fromkeys((one.condition.change, one.condition.shielded) for one in audit.differences)
    rows = [_row(audit, change, shielded) for change, shielded in names]
    caption = (
        f"{audit.measure.capitalize()} of {policy_names(audit)[0]} less that of {other}, episode by episode: means "
        f"over {audit.sample} with a bootstrap 95 % interval. “Sure” where the interval is on one side of 0 and there "
        "are at least five episodes; each is sure by itself, and of many some are so by chance."
    )
    return told, Table(caption, head, rows)


def _row(audit: Audit, change: str, shielded: bool) -> Line:
    found = [one for one in audit.differences if (one.condition.change, one.condition.shielded) == (change, shielded)]
    small = ("behind the shield",) if shielded else ()
    plain = change == CLEAN or ": " in change
    return [
        Cell("picture as it is" if change == CLEAN else change, code=not plain, small=small),
        *([] if found[0].condition.severity is None else [""]),
        *(_cell(audit, one) for one in found),
    ]


def _cell(audit: Audit, one: Difference) -> Cell:
    return interval_cell(one, partial(_signed, audit), *(["sure"] if one.sure else []))


def _signed(audit: Audit, value: float) -> str:
    if audit.measure == SUCCESS:
        return f"{100 * value:+.0f} %"
    return signed(value)
