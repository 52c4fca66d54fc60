"""HTML built from parts that escape themselves, and the one self-contained file around them.

A page carries its style, its script and its pictures, asks nothing of any network (its own content security policy
forbids it), opens from ``file://`` and is readable without the script.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias, Union

from foveal.results import write_text

Child: TypeAlias = Union[str, "Html", Iterable["Child"], None]
Attribute: TypeAlias = str | int | float | bool | None

TIMES = "\N{MULTIPLICATION SIGN}"

_VOID = {"br", "hr", "img", "input", "link", "meta"}


class Html(str):
    """Markup that is already safe; every other string is text and gets escaped."""

    __slots__ = ()


def element(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """``<name attributes>children</name>``.

    Args:
        name: the tag.
        children: text (escaped), markup, or iterables of them; None is left out.
        attributes: escaped. A last underscore is dropped (``class_``), others turn into hyphens. True gives a bare
            attribute, False and None none.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Child) -> Html:
    """Children one after another, text escaped."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str):
        return Html(html.escape(children, quote=False))
    return Html("".join(join(child) for child in children))


def table(caption: Child, head: Iterable[Child], rows: Iterable[Iterable[Child]], *, class_: str = "numbers") -> Html:
    """A table whose first column heads its rows; it scrolls sideways where it does not fit."""
    header = element("tr", [element("th", cell, scope="col") for cell in head])
    body = [_table_row(list(cells)) for cells in rows]
    inner = element("table", element("thead", header), element("tbody", body), class_=class_)
    frame = element("div", inner, class_="scroll", tabindex=0, role="group", aria_label="table, scrolls sideways")
    return element("figure", frame, element("figcaption", caption))


def definitions(pairs: Iterable[tuple[Child, Child]], *, class_: str) -> Html:
    """Terms and what they are."""
    return element(
        "dl", [element("div", element("dt", term), element("dd", what)) for term, what in pairs], class_=class_
    )


def details(title: str, *children: Child) -> Html:
    """Closed until asked for."""
    return element("details", element("summary", title), *children)


def data_block(identifier: str, content: object) -> Html:
    """JSON for the page's script, safe inside a script element."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{html.escape(identifier)}">{text}</script>')


def document(title: str, *body: Child) -> str:
    """The whole file.

    Args:
        title: of the browser's tab.
        body: what stands in the page's main part.
    """
    style, script = _resource("page.css"), _resource("player.js")
    policy = f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Html(style)),
    ]
    content = [element("main", *body), element("script", Html(script))]
    root = element("html", element("head", head), element("body", content), lang="en")
    return f"<!doctype html>\n{root}\n"


def write_page(path: str | Path, title: str, *body: Child) -> Path:
    """Write ``document`` to a file, whole or not at all.

    Raises:
        FovealError: the file cannot be written.
    """
    return write_text(path, document(title, *body)).resolve()


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-") if key != "viewBox" else key
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def _table_row(cells: list[Child]) -> Html:
    return element("tr", element("th", cells[0], scope="row"), [element("td", cell) for cell in cells[1:]])


def _resource(name: str) -> str:
    return files("foveal.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
