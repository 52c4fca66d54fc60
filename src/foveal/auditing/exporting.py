"""An audit as a film and as a picture, for those who want no page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from foveal.auditing.film import Film
from foveal.auditing.report import charts, series
from foveal.auditing.report_comparison import policy_names
from foveal.auditing.report_films import filmed_policies, heated, now
from foveal.auditing.results import Audit
from foveal.errors import FovealError
from foveal.explanation.curve_pictures import severity_picture
from foveal.explanation.movies import write_views
from foveal.explanation.panels import map_name
from foveal.explanation.pictures import Picture, write_picture


def write_film(audit: Audit, path: str | Path) -> Path:
    """An mp4 of the first episode as it is and under the weakest change, each with the first map beside it.

    Of two policies the other's is below. An episode that ends sooner stands still at its end.

    Args:
        audit: with films.
        path: the film.

    Raises:
        FovealError: there are no films, or it can't be written.
    """
    rows = [films[:2] for films in filmed_policies(audit)]
    titles = [
        [f"{who}{place}" if number == 0 else place for number, place in enumerate(_titles(films))]
        for who, films in zip(_owners(audit), rows, strict=True)
    ]
    return write_views(path, _moments(rows), titles)


def write_curves(audit: Audit, path: str | Path) -> Path:
    """A png of the curves over severities.

    Raises:
        FovealError: no change that was tried has severities, or it can't be written.
    """
    curves = charts(audit)
    if not curves:
        raise FovealError("no change that was tried has severities, so there are no curves to draw")
    title = f"{audit.policy['kind']} in {audit.place}: {audit.measure} over severity, {audit.sample}"
    return write_picture(path, severity_picture(title, curves, series(audit)))


def _owners(audit: Audit) -> list[str]:
    return [""] if audit.against is None else [f"{name}: " for name in policy_names(audit)]


def _titles(films: Sequence[Film]) -> list[str]:
    return [title for film in films for title in (film.condition.words, *map(map_name, _first(film)))]


def _first(film: Film) -> Sequence[str]:
    """The one map that is shown, if there is one."""
    return list(film.maps)[:1]


def _moments(rows: Sequence[Sequence[Film]]) -> Iterator[list[list[Picture]]]:
    films = [film for row in rows for film in row]
    apart = min(film.apart for film in films)
    for step in range(0, max(film.steps[-1] for film in films) + 1, apart):
        yield [[picture for film in row for picture in _views(film, now(film, step))] for row in rows]


def _views(film: Film, index: int) -> list[Picture]:
    return [film.frames[index], *(heated(film, name, index) for name in _first(film))]
