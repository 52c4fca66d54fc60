"""The files of a benchmark's report: a page, a Markdown text with its pictures, and everything as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from foveal.bench.chapters import Chapter, Folded, Plot, Section, chapters
from foveal.bench.drawings import write_plot
from foveal.bench.report import Report
from foveal.evaluation.results import write_json, write_text
from foveal.explanation.page import Cell, Table, write_page

PAGE, TEXT, DATA = "report.html", "report.md", "report.json"


def write_report(report: Report, out: str | Path) -> Path:
    """Write the page, the Markdown with its pictures, and the JSON into a folder.

    Returns:
        The absolute path of the page.

    Raises:
        FovealError: a file can't be written.
    """
    out = Path(out)
    content = chapters(report)
    write_json(out / DATA, report.as_dict())
    for plot in _plots(content):
        write_plot(out / f"{plot.name}.svg", plot.title, plot.drawings, plot.legend)
    title, lede = _title(report), _lede(report)
    write_text(out / TEXT, _markdown(title, lede, content))
    return write_page(
        out / PAGE,
        "bench.html.j2",
        title=title,
        lede=lede,
        figures=_figures(report),
        chapters=content,
        data=DATA,
        config={"folders": report.folders, "baseline": report.baseline, "ours": report.ours},
    )


def _title(report: Report) -> str:
    return f"Benchmark: {', '.join(suite.title for suite in report.suites)}"


def _lede(report: Report) -> str:
    return " ".join(report.readings[report.suites[0].name][:2])


def _figures(report: Report) -> list[tuple[str, str]]:
    scored = {id(score.run) for score in report.ledger.scores}
    policies = {score.policy for score in report.ledger.scores}
    tasks = {score.run.task for score in report.ledger.scores}
    return [
        ("policies", str(len(policies))),
        ("tasks", str(len(tasks))),
        ("training runs with results", str(len(scored))),
        ("runs missing, failed or not finished", str(len(report.holes))),
    ]


def _plots(content: Sequence[Chapter]) -> Iterator[Plot]:
    for chapter in content:
        for section in chapter.sections:
            for item in section.items:
                yield from (x for x in (item.folded if isinstance(item, Folded) else [item]) if isinstance(x, Plot))


# --- Markdown ---------------------------------------------------------------------------------------------------------


def _markdown(title: str, lede: str, content: Sequence[Chapter]) -> str:
    parts = [f"# {title}", lede, f"Everything as numbers: `{DATA}`. The same as a page: `{PAGE}`."]
    for chapter in content:
        parts += [f"## {chapter.title}", *(f"- {sentence}" for sentence in chapter.reading), *chapter.warnings]
        for section in chapter.sections:
            parts += [f"### {section.title}", *section.text, *_items(section)]
    return "\n\n".join(parts) + "\n"


def _items(section: Section) -> Iterator[str]:
    for item in section.items:
        if isinstance(item, Folded):
            inside = "\n\n".join(map(_item, item.folded))
            yield f"<details><summary>{item.title}</summary>\n\n{inside}\n\n</details>"
        else:
            yield _item(item)


def _item(item: Table | Plot) -> str:
    if isinstance(item, Plot):
        return f"![{item.title}]({item.name}.svg)\n\n{item.caption}"
    rows = [item.head, [":--", *["--:"] * (len(item.head) - 1)], *item.rows]
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join(lines) + f"\n\n{item.caption}"


def _cell(content: str | Cell) -> str:
    if isinstance(content, str):
        return content.replace("|", "\\|")
    text = f"`{content.text}`" if content.code and content.text else content.text
    small = [f"<small>{line}</small>" for line in content.small]
    note = [f"*{content.note}*"] if content.note else []
    return "<br>".join([" ".join([text, *note]), *small]).replace("|", "\\|")
