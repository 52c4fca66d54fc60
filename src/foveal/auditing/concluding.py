"""From the points of an audit to what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from foveal.auditing.adapters import Adapter
from foveal.auditing.asking import Asked
from foveal.auditing.conditions import CLEAN, blindness
from foveal.auditing.judging import judged, summarized, verdict
from foveal.auditing.results import Audit, Point
from foveal.auditing.trials import Trial


def concluded(
    adapter: Adapter,
    name: str,
    measure: str,
    unit: str,
    chance: Point | None,
    points: Sequence[Point],
    asked: Asked,
    *,
    masks: bool,
    maps: tuple[Trial, ...],
) -> Audit:
    """All points judged, with the sentences that come of them.

    Args:
        adapter: the policy.
        name: where it acted.
        measure, unit: see ``Audit``.
        chance: random actions; None where drift was measured.
        points: of every condition, that of the picture as it is first.
        asked: what for.
        masks: whether somebody told which pixels are the task's own.
        maps: what was found of its maps.
    """
    clean = points[0]
    made = [judged(one, clean, chance, measure) for one in points]
    blind_names = {one.change for one in blindness()}
    blind = tuple(one for one in made if one.condition.change in blind_names)
    found = Audit(
        policy=adapter.about,
        place=name,
        measure=measure,
        unit=unit,
        seed=asked.seed,
        clean=tuple(one for one in made if one.condition.change == CLEAN),
        chance=chance,
        points=tuple(one for one in made if one.condition.change not in (*blind_names, CLEAN)),
        blind=blind,
        maps=maps,
        shield=asked.shield_name,
        verdict=verdict([one for one in blind if not one.condition.shielded], measure),
        remarks=(*adapter.remarks, *_of_shield(asked.shield, name)),
        settings={
            "episodes": asked.episodes,
            "severities": list(asked.severities),
            "longest": asked.longest,
            "masks": masks,
            "of": asked.of,
        },
    )
    return replace(found, summary=summarized(found))


def _of_shield(shield: Any, place: str) -> list[str]:
    """What a reader must know of a shield."""
    remarks = []
    if getattr(shield, "privileged", False):
        remarks.append("The shield learned from a simulator's masks (privileged), which know more than a camera shows.")
    known = getattr(shield, "env_id", place)
    if shield is not None and known != place:
        remarks.append(f"The shield knows the look of {known}, and the policy acted in {place}.")
    return remarks
