"""The part of an audit's page that plays its films: two views beside each other, each as one chooses."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.auditing.film import Film
from foveal.auditing.results import Audit
from foveal.errors import FovealError
from foveal.explanation.panels import map_name
from foveal.explanation.pictures import Picture, heat, lossy_webp, sheet, webp

FRAME = "as it was seen"
BUDGET = 11_000_000
"""Letters that all sheets of a page may take; above it the largest lose quality."""
QUALITIES = (70, 40, 20)
"""Of pictures with loss: all of them get the first before any gets the next."""


def player(audit: Audit, names: Sequence[str]) -> dict[str, Any] | None:
    """What the template needs of an audit with films; None of others.

    Args:
        audit: what was found.
        names: of its policies.

    Returns:
        Whether there are maps (``looked``); ``sides`` (name, and number of each choice at first) and ``choices`` (key,
        label, names); ``sheets``, the pictures of all moments of a film in one as data URIs, by identifier; ``data``
        for the page's script; ``size`` of the first film's pictures, and the ``last`` moment.
    """
    if not audit.films:
        return None
    of_all = filmed_policies(audit)
    maps = list(dict.fromkeys(name for films in of_all for film in films for name in film.maps))
    conditions = [film.condition.words for film in audit.films]
    apart = min(film.apart for films in of_all for film in films)
    last = max(film.steps[-1] for films in of_all for film in films)
    height, width = audit.films[0].frames.shape[1:3]
    choices = [("policy", "policy", names)] if len(of_all) > 1 else []
    choices += [("condition", "picture", conditions), ("layer", "shown", [FRAME, *map(map_name, maps)])]
    sheets: dict[str, Picture] = {}
    shown = [
        [_about(film, f"film-{p}-{c}", maps, sheets) for c, film in enumerate(one)] for p, one in enumerate(of_all)
    ]
    weakest = {"condition": min(1, len(conditions) - 1), "layer": min(1, len(maps)), "policy": 0}
    left = weakest if len(of_all) > 1 else {**weakest, "condition": 0}
    sides = [("left", left), ("right", {**weakest, "policy": len(of_all) - 1})]
    return {
        "looked": bool(maps),
        "sides": sides,
        "choices": choices,
        "sheets": fitted(sheets),
        "data": {"films": shown, "apart": apart, "total": "return"},
        "size": (width, height),
        "last": -(-last // apart),
    }


def filmed_policies(audit: Audit) -> list[tuple[Film, ...]]:
    """The films of the policy, and of the one beside it.

    Raises:
        FovealError: there are none.
    """
    films = [one.films for one in audit.policies]
    if not all(films):
        raise FovealError("this audit has no films: they are of policies that act in an environment")
    return films


def filmed(audit: Audit) -> dict[str, tuple[int, int]]:
    """Severity and number of the film of each change that has one, by the change's name."""
    found = [(film.condition, number) for number, film in enumerate(audit.films)]
    return {one.change: (one.severity, number) for one, number in found if one.severity is not None}


def now(film: Film, step: int) -> int:
    """The place of the moment that is seen at a step: the latest one."""
    return bisect_right(film.steps, step) - 1


def heated(film: Film, name: str, index: int) -> Picture:
    """One of a film's maps over its frame."""
    return heat(film.frames[index], film.maps[name][index], film.levels[name])


def _about(film: Film, key: str, maps: Sequence[str], sheets: dict[str, Picture]) -> dict[str, Any]:
    """What the page's script needs of a film, whose pictures join ``sheets`` under names that begin with ``key``."""
    height, width = film.frames.shape[1:3]
    columns = math.ceil(math.sqrt(len(film.steps)))
    shown = {0: f"{key}-frame"}
    sheets[shown[0]] = sheet(list(film.frames), columns)
    for place, name in enumerate(maps, start=1):
        if name in film.maps:
            shown[place] = f"{key}-{name}"
            sheets[shown[place]] = sheet([heated(film, name, index) for index in range(len(film.steps))], columns)
    return {
        "width": width,
        "height": height,
        "columns": columns,
        "length": film.episode.length,
        "steps": list(film.steps),
        "totals": list(film.totals),
        "sheets": shown,
    }


def fitted(sheets: Mapping[str, NDArray[np.uint8]]) -> dict[str, str]:
    """Encoded in full where all of them fit into the budget; else the largest lose quality first."""
    found = {name: webp(picture) for name, picture in sheets.items()}
    total = sum(map(len, found.values()))
    for quality in QUALITIES:
        for name in sorted(found, key=lambda name: -len(found[name])):
            if total <= BUDGET:
                return found
            smaller = min(lossy_webp(sheets[name], quality), found[name], key=len)
            total += len(smaller) - len(found[name])
            found[name] = smaller
    return found
