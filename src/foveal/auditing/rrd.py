"""An audit's films as a recording for Rerun's viewer, with what was done and gained at every step."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from foveal.auditing.film import Film
from foveal.auditing.report_comparison import policy_names
from foveal.auditing.report_films import filmed_policies, heated
from foveal.auditing.results import Audit
from foveal.errors import require
from foveal.explanation.explain import check_ending
from foveal.explanation.panels import map_name
from foveal.explanation.pictures import Picture, encoded
from foveal.pictures.writing import written_whole

TIMELINE = "step"
FRAME = "frame"
RETURN, REWARD, ACTION = "return", "reward", "action"
OWNERS = ("policy", "against")
WORDS = "audit"
"""What the audit says in words."""

Rerun: TypeAlias = Any
"""The module, which nothing else needs."""


def check_rrd(path: str | Path) -> None:
    """Refuse a name that no recording can have, and find the library.

    Raises:
        FovealError: it does not end in .rrd, or the extra is not installed.
    """
    check_ending(path, ".rrd", "a recording of Rerun's is an rrd file")
    _rerun()


def write_rrd(audit: Audit, path: str | Path) -> Path:
    """The first episode as it is and under the weakest changes, with its maps, of both policies where there are two.

    Entities are ``policy/CONDITION/`` and ``against/CONDITION/`` with ``frame`` and maps by their names at every moment
    of a film, and ``return``, ``reward`` and ``action/0``, ... at every agent step, all on the timeline ``step``;
    ``audit`` is the audit in words. A return is what was gained before a step. Nothing is sent anywhere, and no viewer
    is started.

    Args:
        audit: with films.
        path: the file, which is written whole or not at all.

    Raises:
        FovealError: there are no films, the extra is not installed, or the file can't be written.
    """
    check_rrd(path)
    policies: dict[str, Sequence[Film]] = dict(zip(OWNERS, filmed_policies(audit), strict=False))
    rerun, path = _rerun(), Path(path)
    with written_whole(path, "the recording ") as partial:
        partial.touch()  # the library's own words for a place that can't be written are no OSError
        _write(rerun, audit, policies, partial)
    return path


def _rerun(part: str = "rerun") -> Any:
    return require(part, 'rrd files need the extra "rerun": pip install "foveal[rerun]"')


def _write(rerun: Rerun, audit: Audit, policies: dict[str, Sequence[Film]], path: Path) -> None:
    """A recording of its own each, or the viewer would take two audits of one process for one."""
    stream = rerun.RecordingStream("foveal_audit", recording_id=str(uuid.uuid4()))
    stream.save(path, default_blueprint=_layout(audit, policies))
    stream.send_recording_name(f"{' and '.join(policy_names(audit))} in {audit.place}")
    words = "\n\n".join([*audit.summary, f"```\n{audit}\n```"])
    stream.log(WORDS, rerun.TextDocument(words, media_type="text/markdown"), static=True)
    for owner, films in policies.items():
        for film in films:
            _send(rerun, stream, _place(owner, film), film)
    stream.disconnect()  # writes what is left, and the file's end


def _send(rerun: Rerun, stream: Any, place: str, film: Film) -> None:
    moments = [rerun.TimeColumn(TIMELINE, sequence=film.steps)]
    for name, pictures in _views(film):
        files = [encoded(picture, "png") for picture in pictures]
        columns = rerun.EncodedImage.columns(blob=files, media_type=["image/png"] * len(files))
        stream.send_columns(f"{place}/{name}", moments, columns)
    for name, values in _numbers(film):
        every = [rerun.TimeColumn(TIMELINE, sequence=range(len(values)))]
        stream.send_columns(f"{place}/{name}", every, rerun.Scalars.columns(scalars=values))


def _views(film: Film) -> Iterator[tuple[str, Iterator[Picture]]]:
    """What the page's player shows: the frames, and every map over them."""
    yield FRAME, iter(film.frames)
    for name in film.maps:
        yield _part(name), (heated(film, name, index) for index in range(len(film.steps)))


def _numbers(film: Film) -> Iterator[tuple[str, Sequence[float]]]:
    yield RETURN, np.cumsum([0.0, *film.rewards]).tolist()
    yield REWARD, film.rewards.tolist()
    for number, values in enumerate(film.actions.T.tolist()):
        yield f"{ACTION}/{number}", values


def _layout(audit: Audit, policies: dict[str, Sequence[Film]]) -> Any:
    """Every condition a row of pictures, the policies beside each other, and below them the curves."""
    blueprint = _rerun("rerun.blueprint")
    names = policy_names(audit)
    grids = [_grid(blueprint, name, *owned) for name, owned in zip(names, policies.items(), strict=True)]
    places = [_place(owner, film) for owner, films in policies.items() for film in films]
    curves = [
        blueprint.TimeSeriesView(name=name, origin="/", contents=[f"/{place}/{name}/**" for place in places])
        for name in (RETURN, REWARD, ACTION)
    ]
    words = blueprint.TextDocumentView(name=WORDS, origin=WORDS)
    below = blueprint.Tabs(*curves, words)
    whole = blueprint.Vertical(blueprint.Horizontal(*grids), below, row_shares=[3, 1])
    return blueprint.Blueprint(whole, blueprint.TimePanel(timeline=TIMELINE), collapse_panels=True)


def _grid(blueprint: Any, owner_name: str, owner: str, films: Sequence[Film]) -> Any:
    views = [
        blueprint.Spatial2DView(name=title, origin=f"{_place(owner, film)}/{name}")
        for film in films
        for name, title in [(FRAME, film.condition.words), *((_part(one), map_name(one)) for one in film.maps)]
    ]
    return blueprint.Grid(*views, grid_columns=1 + len(films[0].maps), name=owner_name)


def _place(owner: str, film: Film) -> str:
    return f"{owner}/{_part(film.condition.name)}"


def _part(name: str) -> str:
    """A part of an entity's path; other characters would need a backslash there."""
    return re.sub(r"[^\w.-]+", "-", name)
