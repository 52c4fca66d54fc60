"""Two policies in the same episodes under the same changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from foveal.auditing.acting import Ready, acted, ready
from foveal.auditing.adapters import Adapter
from foveal.auditing.asking import Asked
from foveal.auditing.filming import MOMENTS, worth_filming
from foveal.auditing.places import place_for
from foveal.auditing.results import Audit, Difference
from foveal.errors import FovealError
from foveal.evaluation.layout import signed


def audited(adapter: Adapter, rival: Adapter | None, env: Any, data: Any, asked: Asked, *, filmed: bool) -> Audit:
    """A policy, and another one beside it where there is one.

    Args:
        adapter, rival: the policies.
        env, data: see ``foveal.audit``.
        asked: what for.
        filmed: whether films are wanted.

    Raises:
        FovealError: one of the policies doesn't fit the environment or what was asked for.
    """
    place = place_for(adapter, env, data)
    policy = ready(adapter, place, asked, asked.changes)
    if rival is None:
        found = acted(policy, asked)
        films = policy.films(worth_filming(found), MOMENTS, progress=asked.progress) if filmed else ()
        return replace(found, films=films)
    other = ready(rival, place_for(rival, place.name if place.own else place.env, data), asked, policy.changes)
    one, two = acted(policy, asked), acted(other, asked, maps=False)
    return compared(*(_filmed(policy, other, one, two, asked) if filmed else (one, two)))


def _filmed(policy: Ready, other: Ready, one: Audit, two: Audit, asked: Asked) -> tuple[Audit, Audit]:
    """Both under the changes that are the worst for the one."""
    points = worth_filming(one)
    theirs = [two.at(point.condition) for point in points]
    each, progress = MOMENTS // 2, asked.progress
    return (
        replace(one, films=policy.films(points, each, progress=progress)),
        replace(two, films=other.films(theirs, each, progress=progress)),
    )


def compared(one: Audit, two: Audit) -> Audit:
    """The one, with the other beside it.

    Raises:
        FovealError: different things were measured.
    """
    if one.measure != two.measure:
        raise FovealError(f"of one policy the {one.measure} was measured, and of the other the {two.measure}")
    points = (*one.clean, *one.blind, *(point for curve in one.curves() for point in one.points_of(curve.change)))
    differences = tuple(Difference.of(point, two.at(point.condition)) for point in points)
    summary = (*one.summary, _told(one, two, differences))
    return replace(one, against=two, differences=differences, summary=summary)


def _told(one: Audit, two: Audit, differences: tuple[Difference, ...]) -> str:
    """A sentence."""
    clean, changed = differences[0], differences[len(one.clean) + len(one.blind) :]
    better, worse = (sum(d.sure and sign * d.mean > 0 for d in changed) for sign in (1, -1))
    interval = f"{signed(clean.low)} to {signed(clean.high)}"
    return (
        f"Beside {two.policy['kind']} in the same episodes it is surely better at {better} and surely worse at {worse} "
        f"of {len(changed)} points; with the picture as it is the difference is {signed(clean.mean)} ({interval})."
    )
