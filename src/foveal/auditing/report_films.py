"""The part of an audit's page that plays its films: two views beside each other, each as one chooses."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.auditing.film import Film
from foveal.auditing.results import Audit
from foveal.explanation.panels import map_name
from foveal.explanation.pictures import Picture, heat, lossy_webp, sheet, webp

FRAME = "as it was seen"
BUDGET = 11_000_000
"""Letters that all sheets of a page may take; above it the largest lose quality."""
QUALITIES = (70, 40, 20)
"""Of pictures with loss: all of them get the first before any gets the next."""


@dataclass(frozen=True)
class Player:
    """What the template needs.

    Attributes:
        told: a sentence.
        looked: whether there are maps.
        sides: names of the two views, and what each shows first, by choice.
        choices: name, label and the names to choose from.
        sheets: identifiers and pictures of all moments of a film in one, as data URIs.
        data: for the page's script.
        width, height: of the first film's pictures, in pixels.
        last: place of the last moment.
    """

    told: str
    looked: bool
    sides: Sequence[tuple[str, Mapping[str, int]]]
    choices: Sequence[tuple[str, str, Sequence[str]]]
    sheets: Sequence[tuple[str, str]]
    data: Mapping[str, Any]
    width: int
    height: int
    last: int


def player(audit: Audit, names: Sequence[str]) -> Player | None:
    """Of an audit with films; None of others.

    Args:
        audit: what was found.
        names: of its policies.
    """
    if not audit.films:
        return None
    of_all = [audit.films, *([] if audit.against is None else [audit.against.films])]
    maps = list(dict.fromkeys(name for films in of_all for film in films for name in film.maps))
    conditions = [condition_name(film) for film in audit.films]
    apart = min(film.apart for films in of_all for film in films)
    last = max(film.steps[-1] for films in of_all for film in films)
    sheets = fitted(dict(_sheets(of_all, maps)))
    height, width = audit.films[0].frames.shape[1:3]
    choices = [("policy", "policy", names)] if len(of_all) > 1 else []
    choices += [("condition", "picture", conditions), ("layer", "shown", [FRAME, *map(map_name, maps)])]
    data = {
        "films": [[_about(film, p, c, maps) for c, film in enumerate(films)] for p, films in enumerate(of_all)],
        "apart": apart,
        "total": "return",
    }
    weakest = {"condition": min(1, len(conditions) - 1), "layer": min(1, len(maps)), "policy": 0}
    left = weakest if len(of_all) > 1 else {**weakest, "condition": 0}
    sides = [("left", left), ("right", {**weakest, "policy": len(of_all) - 1})]
    told = _told(len(of_all) > 1, bool(maps))
    return Player(told, bool(maps), sides, choices, list(sheets.items()), data, width, height, -(-last // apart))


def filmed(audit: Audit) -> dict[str, tuple[int, int]]:
    """Severity and number of the film of each change that has one, by the change's name."""
    found = [(film.condition, number) for number, film in enumerate(audit.films)]
    return {one.change: (one.severity, number) for one, number in found if one.severity is not None}


def condition_name(film: Film) -> str:
    """As people read it."""
    severity = "" if film.condition.severity is None else f", severity {film.condition.severity}"
    return film.condition.change.replace("_", " ") + severity


def now(film: Film, step: int) -> int:
    """The place of the moment that is seen at a step: the latest one."""
    return bisect_right(film.steps, step) - 1


def heated(film: Film, name: str, index: int) -> Picture:
    """One of a film's maps over its frame."""
    return heat(film.frames[index], film.maps[name][index], film.levels[name])


def _told(two: bool, looked: bool) -> str:
    what = "the first episode as it is and under the weakest changes, each where it broke the policy, or at its highest"
    maps = " A map's brightness is relative to the 99.5 % quantile of its film." if looked else ""
    beside = " Both policies began in the same state and went their own ways." if two else ""
    return f"Choose what to see left and right: {what}.{beside}{maps} A curve above leads to its film."


def _columns(film: Film) -> int:
    return math.ceil(math.sqrt(len(film.steps)))


def _about(film: Film, policy: int, condition: int, maps: Sequence[str]) -> dict[str, Any]:
    height, width = film.frames.shape[1:3]
    there = [None if name not in film.maps else _key(policy, condition, name) for name in maps]
    return {
        "width": width,
        "height": height,
        "columns": _columns(film),
        "length": film.episode.length,
        "steps": list(film.steps),
        "totals": list(film.totals),
        "sheets": {place: key for place, key in enumerate([_key(policy, condition), *there]) if key is not None},
    }


def _key(policy: int, condition: int, name: str = "frame") -> str:
    return f"film-{policy}-{condition}-{name}"


def _sheets(of_all: Sequence[Sequence[Film]], maps: Sequence[str]) -> Iterator[tuple[str, Picture]]:
    for policy, films in enumerate(of_all):
        for condition, film in enumerate(films):
            columns, moments = _columns(film), range(len(film.steps))
            yield _key(policy, condition), sheet(list(film.frames), columns)
            for name in maps:
                if name in film.maps:
                    pictures = [heated(film, name, index) for index in moments]
                    yield _key(policy, condition, name), sheet(pictures, columns)


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
