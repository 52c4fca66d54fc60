"""Tables of a benchmark's report: every number with its interval and the number of seeds that it rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from foveal.bench.comparison import Aggregate, LookReport, SuiteReport
from foveal.bench.gaps import Hole
from foveal.bench.published import PublishedRow, PublishedTable
from foveal.bench.reading import MINUS, signed
from foveal.bench.scales import Scale
from foveal.bench.scores import Ledger, Look, policy_names
from foveal.evaluation import over_runs
from foveal.evaluation.over_runs import Gap, SeedEstimate
from foveal.explanation.page import Cell, Line, Table

ABSENT = "\N{EN DASH}"
FIVE = ("dmc/walker-walk", "dmc/walker-stand", "dmc/ball_in_cup-catch", "dmc/cartpole-swingup", "dmc/finger-spin")
"""The tasks that published means are over."""


def aggregate_table(suite: SuiteReport, what: Callable[[Aggregate], SeedEstimate], caption: str) -> Table:
    """A policy's number over all tasks under each look."""
    ranked = [look for look in suite.looks if look.aggregates]
    return _by_look(suite, ranked, suite.policies, lambda look, policy: _aggregate(look, policy, what), caption)


def _by_look(
    suite: SuiteReport,
    looks: Sequence[LookReport],
    policies: Sequence[str],
    cell: Callable[[LookReport, str], str | Cell],
    caption: str,
) -> Table:
    """A row for each policy, best first, and a column for each look."""
    rows: list[Line] = [
        [name_cell(suite, policy), *(cell(look, policy) for look in looks)] for policy in _by_first(looks, policies)
    ]
    return Table(caption, ["", *(look_cell(look.look) for look in looks)], rows)


def _by_first(looks: Sequence[LookReport], policies: Sequence[str]) -> list[str]:
    """Best first under the look that is hardest, or is last."""
    ranked = [name for name in looks[-1].ranking if name in policies] if looks else []
    return [*ranked, *(name for name in policies if name not in ranked)]


def _aggregate(look: LookReport, policy: str, what: Callable[[Aggregate], SeedEstimate]) -> str | Cell:
    if policy in look.aggregates:
        return estimate_cell(what(look.aggregates[policy]), "{:.3f}".format)
    have, of = len(look.scaled.get(policy, {})), len(look.scaled_tasks)
    return Cell("not ranked", small=(f"{have} of {of} tasks",)) if have else ABSENT


def returns_table(suite: SuiteReport, look: LookReport, published: Sequence[PublishedTable]) -> Table:
    """Mean returns of every policy on every task under one look, published ones below them."""
    rows: list[Line] = [
        [name_cell(suite, policy), *(_return(look, policy, task, suite.scales[task]) for task in look.tasks)]
        for policy in _by_first([look], look.policies)
    ]
    for table in published:
        rows += [published_line(row, look.tasks) for row in table.rows if row.scores.keys() & set(look.tasks)]
    beside = "".join(f" Published rows: comparable are {table.comparable}." for table in published)
    solved = any(_solves(suite.scales[task]) for task in look.tasks)
    unless = ", or share of episodes that solve the task," if solved else ""
    caption = f"Mean return{unless} over training seeds, its 95 % interval and the number of seeds.{beside}"
    return Table(caption, [look_cell(look.look), *look.tasks], rows, "numbers sourced" if published else "numbers")


def _return(look: LookReport, policy: str, task: str, scale: Scale | str) -> str | Cell:
    estimate = look.returns[policy].get(task)
    if estimate is None:
        return ABSENT
    if _solves(scale):
        return estimate_cell(over_runs.mean({task: look.scaled[policy][task]}), percent)
    return estimate_cell(estimate, points)


def _solves(scale: Scale | str) -> bool:
    return isinstance(scale, Scale) and scale.successes


def published_line(row: PublishedRow, tasks: Sequence[str], mean: bool = False) -> Line:
    """A row of a published table."""
    small = (row.source, *(["privileged"] if row.privileged else []))
    cells = [f"{row.scores[task]:.0f}" if task in row.scores else ABSENT for task in tasks]
    last = [ABSENT if row.mean is None else f"{row.mean:.0f}"] if mean else []
    return [Cell(row.method, note="published", small=small), *cells, *last]


def published_table(table: PublishedTable) -> Table:
    """All of a published table, with the mean that it prints."""
    tasks = list(dict.fromkeys(task for row in table.rows for task in row.scores))
    mean = any(row.mean is not None for row in table.rows)
    rows = [published_line(row, tasks, mean) for row in table.rows]
    over = f"; the mean is over {len(FIVE)} tasks: {', '.join(FIVE)}" if mean else ""
    caption = f"Returns as printed{over}. Protocol: {table.protocol.says}."
    head: Line = [Cell(table.condition, code=True), *tasks, *(["mean"] if mean else [])]
    return Table(caption, head, rows, "numbers sourced")


def gap_table(suite: SuiteReport) -> Table | None:
    """What each changed look costs; None where nothing is changed."""
    changed = [look for look in suite.looks if any(gap is not None for gap in look.gaps.values())]
    if not changed:
        return None
    caption = (
        "Score under the trained look minus score under the changed one, of the same runs, on the common scale, and "
        "the share of the trained score that this is; each with its 95 % interval."
    )
    return _by_look(suite, changed, suite.policies, lambda look, policy: _gap(look.gaps.get(policy)), caption)


def _gap(gap: Gap | None) -> str | Cell:
    if gap is None:
        return ABSENT
    cell = estimate_cell(gap.points, signed)
    if gap.share is None:
        return cell
    lost = f"{100 * gap.share.value:.0f} %"
    interval = gap.share.interval
    span = "" if interval is None else f" ({100 * interval[0]:.0f} to {100 * interval[1]:.0f})"
    return Cell(cell.text, small=(*cell.small[:-1], f"{lost.replace('-', MINUS)}{span.replace('-', MINUS)}"))


def difference_table(suite: SuiteReport) -> Table | None:
    """Each policy minus the baseline; None without one, or where there is nothing to pair."""
    looks = [look for look in suite.looks if any(estimate is not None for estimate in look.differences.values())]
    if suite.baseline is None or not looks:
        return None
    others = [policy for policy in suite.policies if policy != suite.baseline]
    caption = (
        f"Score minus that of {suite.baseline} with the same task and seed, on the common scale: mean over tasks, 95 % "
        "interval, number of pairs. Labelled where the interval excludes 0."
    )
    return _by_look(suite, looks, others, lambda look, policy: _difference(look.differences.get(policy)), caption)


def _difference(estimate: SeedEstimate | None) -> str | Cell:
    if estimate is None:
        return ABSENT
    note = "" if not estimate.excludes_zero else "above 0" if estimate.value > 0 else "below 0"
    pairs = f"{estimate.runs} pair{'' if estimate.runs == 1 else 's'}"
    return Cell(signed(estimate.value), note=note, small=(*_interval(estimate, signed), pairs))


def holes_table(holes: Sequence[Hole]) -> Table:
    """Runs without numbers."""
    rows: list[Line] = [
        [hole.policy, hole.suite or ABSENT, hole.task, str(hole.seed), hole.state, hole.why] for hole in holes
    ]
    return Table(
        "Runs that no number above rests on.", ["", "suite", "task", "seed", "state", "why"], rows, "numbers wordy"
    )


def origins_table(ledger: Ledger, suite: str | None) -> Table:
    """Where each run comes from."""
    names = policy_names(ledger.runs)
    rows: list[Line] = []
    for run in sorted((run for run in ledger.runs if run.suite == suite), key=lambda run: run.identity):
        machine = run.machine.get("gpu") or run.machine.get("processor") or "unknown machine"
        took = ABSENT if run.seconds is None else f"{run.seconds / 3600:.2f} h"
        first = Cell(names[run.policy], small=(f"{run.task}, seed {run.seed}",))
        steps = f"{run.steps:,}" if run.steps else ABSENT
        rows.append([first, steps, took, run.commit or ABSENT, str(machine), Cell(run.command, code=True)])
    caption = "A number of a policy on a task is of these runs; JSON has what their machines were in full."
    return Table(caption, ["", "agent steps", "took", "commit", "machine", "command"], rows, "numbers wordy")


def name_cell(suite: SuiteReport, policy: str) -> Cell:
    """A policy's name with what must be known of it."""
    return Cell(policy, small=suite.marks.get(policy, ()))


def look_cell(look: Look) -> Cell:
    """A look's name, labelled where it is not the benchmark's own."""
    note = ", ".join(part for part in (look.shown_note, look.shown_quality) if part)
    return Cell(look.perturbation, code=True, note=note)


def estimate_cell(estimate: SeedEstimate, write: Callable[[float], str]) -> Cell:
    """A number, its interval, and how many seeds it rests on."""
    count = f"{estimate.seeds} seed{'' if estimate.seeds == 1 else 's'}"
    return Cell(write(estimate.value), small=(*_interval(estimate, write), count))


def _interval(estimate: SeedEstimate, write: Callable[[float], str]) -> tuple[str, ...]:
    return () if estimate.interval is None else (" to ".join(map(write, estimate.interval)),)


def percent(value: float) -> str:
    """A share."""
    return f"{100 * value:.0f} %"


def points(value: float) -> str:
    """A return, rounded as its size allows."""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"
    return text.replace("-", MINUS)


def scale_lines(suite: SuiteReport) -> list[str]:
    """How returns are put on the common scale, tasks that are put there alike together."""
    found: dict[str, list[str]] = {}
    for task, scale in suite.scales.items():
        words = f"not on the common scale, because {scale}" if isinstance(scale, str) else scale.says
        found.setdefault(words, []).append(task)
    return [f"{', '.join(tasks)}: {words}." for words, tasks in found.items()]
