"""How a benchmark's report is laid out for people, whatever it is written into: chapters of tables and plots."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from foveal.bench import drawings
from foveal.bench import report_tables as tables
from foveal.bench.comparison import SuiteReport
from foveal.bench.drawings import Drawing
from foveal.bench.gaps import warnings
from foveal.bench.report import Report, published_for
from foveal.bench.scores import Look
from foveal.evaluation.world import TRAIN
from foveal.explanation.page import Table


@dataclass(frozen=True)
class Plot:
    """Pictures that belong together.

    Attributes:
        name: of the file beside the Markdown, without suffix.
        title: for those who can't see it.
        caption: below it.
        drawings: all of one kind.
        legend: names of the colours, where there are several.
    """

    name: str
    title: str
    caption: str
    drawings: Sequence[Drawing]
    legend: Sequence[str] = ()

    @property
    def kind(self) -> str:
        """Of its drawings."""
        return self.drawings[0].kind


@dataclass(frozen=True)
class Folded:
    """What is closed until asked for."""

    title: str
    folded: Sequence[Table | Plot]


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    title: str
    text: Sequence[str]
    items: Sequence[Table | Plot | Folded]


@dataclass(frozen=True)
class Chapter:
    """A suite, or what concerns all of them.

    Attributes:
        title: its heading.
        reading: sentences that say what its numbers say.
        warnings: what to know before.
        sections: the rest.
    """

    title: str
    reading: Sequence[str]
    warnings: Sequence[str]
    sections: Sequence[Section]


def chapters(report: Report) -> list[Chapter]:
    """Everything for people, in order: pages and Markdown lay out the same."""
    found = [_suite_chapter(report, suite) for suite in report.suites]
    apart = [section for suite in report.suites for section in _apart(suite)]
    if apart:
        found.append(Chapter("Published, and not comparable", [], [], apart))
    gaps = [tables.holes_table(report.holes)] if report.holes else []
    text = [] if gaps else ["None: every policy has results of every task and seed."]
    last = [Section("Missing and failed runs", text, gaps)]
    origins = [Folded(suite.title, [tables.origins_table(report.ledger, suite.name)]) for suite in report.suites]
    last.append(Section("Where each number comes from", [], origins))
    return [*found, Chapter("Runs", [], [], last)]


def _suite_chapter(report: Report, suite: SuiteReport) -> Chapter:
    sections = [_over_tasks(report, suite), _each_task(suite)]
    gap, differences = tables.gap_table(suite), tables.difference_table(suite)
    if gap is not None:
        sections.append(Section("What the changed look costs", [], [gap]))
    if differences is not None:
        sections.append(Section(f"Paired differences from {suite.baseline}", [], [differences]))
    sections += [*_improvement(suite), *_profiles(suite), *_learning(report, suite)]
    return Chapter(suite.title, report.readings[suite.name], warnings(suite), [s for s in sections if s.items])


def _over_tasks(report: Report, suite: SuiteReport) -> Section:
    ranked = [look for look in suite.looks if look.aggregates]
    if not ranked:
        return Section("All tasks", [], [])
    iqm = tables.aggregate_table(
        suite, lambda a: a.iqm, "Interquartile mean over all runs of all tasks, with 95 % intervals over seeds."
    )
    mean = tables.aggregate_table(suite, lambda a: a.mean, "Mean over tasks of the mean over seeds.")
    below = tables.aggregate_table(
        suite, lambda a: a.gap, "Optimality gap: how far runs stay below 1 on average; smaller is better."
    )
    caption = "Dot: interquartile mean. Bar: 95 % interval."
    plot = Plot(_file(suite, "aggregate"), "Interquartile means", caption, drawings.forests(ranked, report.ours))
    text = [f"On a common scale. {' '.join(tables.scale_lines(suite))}"]
    return Section("All tasks", text, [iqm, plot, Folded("Mean and optimality gap", [mean, below])])


def _each_task(suite: SuiteReport) -> Section:
    found = [
        tables.returns_table(suite, look, [table for table, why in published_for(look) if not why])
        for look in suite.looks
    ]
    return Section("Each task", [], found)


def _improvement(suite: SuiteReport) -> list[Section]:
    drawn = {look.look: [drawings.matrix(look)] for look in suite.looks if look.improvement}
    caption = (
        "How probably a run of the row's policy beats one of the column's on a task drawn at random. Bold: the 95 % "
        "interval excludes one half."
    )
    return _for_each_look(suite, "Probability of improvement", "improvement", drawn, caption)


def _profiles(suite: SuiteReport) -> list[Section]:
    drawn = {look.look: drawings.profiles(look) for look in suite.looks if look.profiles}
    caption = (
        "Share of runs that score more than a threshold on the common scale, with 95 % bands; faint: the other "
        "policies. Higher is better everywhere."
    )
    return _for_each_look(suite, "Performance profiles", "profiles", drawn, caption)


def _for_each_look(
    suite: SuiteReport, title: str, file: str, drawn: Mapping[Look, Sequence[Drawing]], caption: str
) -> list[Section]:
    """One plot for each look: the last changed look's open, the others folded."""
    plots = [Plot(_file(suite, f"{file}-{look}"), f"{title}, {look}", caption, made) for look, made in drawn.items()]
    if not plots:
        return []
    shown = plots[-1] if suite.looks[-1].look.perturbation != TRAIN else plots[0]
    folded = [Folded(plot.title, [plot]) for plot in plots if plot is not shown]
    return [Section(title, [], [shown, *folded])]


def _learning(report: Report, suite: SuiteReport) -> list[Section]:
    panels = drawings.curve_panels(report.curves[suite.name])
    if not panels:
        return []
    caption = (
        "Mean return over seeds of evaluations during training, on the trained look; band: from the lowest to the "
        "highest seed. Runs whose folders are gone are not here."
    )
    return [
        Section("Learning", [], [Plot(_file(suite, "learning"), "Learning curves", caption, panels, panels[0].names)])
    ]


def _apart(suite: SuiteReport) -> Iterator[Section]:
    for look in suite.looks:
        for table, why in published_for(look):
            if why:
                text = [f"Not beside the measured numbers of {suite.title} on {look.look}: {'; '.join(why)}."]
                yield Section(f"{table.condition} ({table.protocol.name})", text, [tables.published_table(table)])


def _file(suite: SuiteReport, what: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{suite.name or 'loose'}-{what}".lower()).strip("-")
