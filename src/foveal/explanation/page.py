"""The one self-contained file that a page is: typed data, laid out by the templates in ``templates/``.

A page carries its style, its script and its pictures, asks nothing of any network (its own content security policy
forbids it), opens from ``file://`` and is readable without the script. Every value that a template writes is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined

from foveal.evaluation.layout import number
from foveal.evaluation.results import machine, now, versions, write_text

TIMES = "\N{MULTIPLICATION SIGN}"
SCRIPTS = ("transport.js", "player.js", "compare.js")


@dataclass(frozen=True)
class Cell:
    """Of a table, where it is more than a text.

    Attributes:
        text: what it says.
        code: whether that is a name.
        note: a visible label, see ``foveal.evaluation.results.provenance``.
        small: lines below it.
    """

    text: str
    code: bool = False
    note: str = ""
    small: tuple[str, ...] = ()


Line: TypeAlias = Sequence[str | Cell]


@dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows.

    Attributes:
        caption: below it.
        head, rows: its cells.
        style: classes of the page's style.
    """

    caption: str
    head: Line
    rows: Sequence[Line]
    style: str = "numbers"


def render(template: str, **data: object) -> str:
    """A template's text; a name that it uses and ``data`` lacks is an error."""
    return TEMPLATES.get_template(template).render(data)


def page_text(template: str, **data: object) -> str:
    """A page as it is written now; see ``write_page``."""
    return render(template, **data, origin={"machine": machine(), "versions": versions()}, written=now())


def write_page(path: str | Path, template: str, **data: object) -> Path:
    """Write a page to a file, whole or not at all.

    Args:
        path: the file.
        template: that extends ``base.html.j2``, which takes ``title``, and ``config``, everything that JSON can hold
            of what the agent was made with.
        data: what the template takes.

    Returns:
        The absolute path.

    Raises:
        FovealError: the file can't be written.
    """
    return write_text(path, page_text(template, **data)).resolve()


def resource(name: str) -> str:
    """A style or a script beside this file."""
    return files("foveal.explanation").joinpath(name).read_text(encoding="utf-8")


def _pretty(content: object) -> str:
    """Anything JSON-able, laid out for people."""
    return json.dumps(content, indent=2, ensure_ascii=False, default=str)


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Of an SVG, through all points."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("foveal.explanation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    made.filters |= {"pretty": _pretty, "path": _path, "digest": _digest, "number": number}
    made.globals |= {"style": resource("page.css"), "script": "".join(map(resource, SCRIPTS))}
    return made


TEMPLATES = _environment()
