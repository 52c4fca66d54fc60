"""``foveal bench report``: what a folder of benchmark runs says, as a page, as Markdown and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foveal.bench.report import report
from foveal.bench.report_files import DATA, PAGE, TEXT, write_report
from foveal.explanation.explain import check_writable


@dataclass(frozen=True)
class BenchReportOptions:
    """Compare the runs of a benchmark over training seeds, with intervals, beside what papers print.

    Attributes:
        folders: of runs, at any height above them; several are read as one.
        out: folder for the report.
        baseline: a policy that all others are paired with, by task and seed.
        ours: a policy that the written reading tells of, also where it does not lead.
        reference: TASK=RETURN, the return that counts as 1 for a task that has no such by itself.
        plugins: module that registers your own methods.
    """

    folders: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER...")]]
    out: Path = Path("report")
    baseline: str | None = None
    ours: str | None = None
    reference: tuple[str, ...] = ()
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


def run(options: BenchReportOptions) -> None:
    """Write the report, and print what it says in words."""
    check_writable(options.out / PAGE)
    made = report(
        options.folders, baseline=options.baseline, ours=options.ours, reference=options.reference, progress=True
    )
    page = write_report(made, options.out)
    for suite in made.suites:
        print(f"{suite.title}:")
        print("\n".join(f"  {sentence}" for sentence in made.readings[suite.name]))
    if made.holes:
        print(f"{len(made.holes)} runs are missing, failed or not finished: the page lists them")
    print(f"wrote {TEXT} and {DATA} beside\n{page}")
