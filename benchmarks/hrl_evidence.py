"""Skills and a master against imitation alone and reinforcement learning alone: the tables of ``results/hrl-bc``.

    python benchmarks/hrl_evidence.py results/hrl-bc

reads ``TASK-ROW-SEED.json``, as ``benchmarks/hrl.py TASK --row ROW --seed SEED`` writes them, prints Markdown, and
draws ``TASK.svg`` and ``curves-TASK.svg``. Intervals of rates are Wilson's, of all episodes of a row taken together:
each seed plays the same evaluation episodes, so they tell of chance in the episodes, and the seeds' own rates beside
them tell of training. Two rows are compared episode by episode, as both play the same ones: ``paired_difference``.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from hrl_rows import ROWS
from scipy import stats

from foveal.evaluation.statistics import SuccessRate, bootstrap_interval
from foveal.skills.conditions import CONDITIONS

Report = dict[str, Any]
Reports = dict[str, dict[str, list[Report]]]
OURS = "hrl-bc"
RIVALS = tuple(row for row in ROWS if row != OURS)
COLOURS = {
    "hrl-bc": "#0969da",
    "oracle": "#6e7781",
    "ppo": "#bc4c00",
    "ppo-shaped": "#8250df",
    "ppo-from-bc": "#1a7f37",
}


def reports(folder: Path) -> Reports:
    """Task -> row -> what each seed's file holds; without those whose demonstrations ended with success (no count)."""
    found: Reports = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*-*-*.json")):
        report = json.loads(path.read_text())
        if "demonstrations" in report:
            found[report["task"]][report["row"]].append(report)
    return found


# --- rates ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rates:
    """Of one row under one condition.

    Attributes:
        total: of all seeds together.
        each: of each seed, None where one was not evaluated so.
        steps: mean control steps of the episodes that were solved, NaN without any.
        happened: episodes in which the condition's event happened; None where there is none.
    """

    total: SuccessRate
    each: tuple[float | None, ...]
    steps: float
    happened: int | None


def rates(seeds: Sequence[Report], condition: str) -> Rates | None:
    """None where no seed was evaluated so."""
    runs = [report["success"].get(condition, {}).get("outcomes", []) for report in seeds]
    outcomes = [outcome for run in runs for outcome in run]
    if not outcomes:
        return None
    solved = [outcome["steps"] for outcome in outcomes if outcome["success"]]
    event = CONDITIONS[condition].event is not None
    return Rates(
        SuccessRate.of([outcome["success"] for outcome in outcomes]),
        tuple(float(np.mean([outcome["success"] for outcome in run])) if run else None for run in runs),
        float(np.mean(solved)) if solved else float("nan"),
        sum(outcome["happened"] is not None for outcome in outcomes) if event else None,
    )


def lines(task: str, rows: dict[str, list[Report]]) -> list[tuple[str, SuccessRate]]:
    """Print a task's table; gives what the picture shows."""
    print(f"\n### {task}\n\n| row | evaluated under | solved, % of each seed | all [95 %] | steps | event happened |")
    print("|---|---|---|---|---|---|")
    shown = []
    for row in (name for name in ROWS if name in rows):
        for condition in CONDITIONS:
            found = rates(rows[row], condition)
            if found is None:
                continue
            percent = ", ".join("not run" if share is None else f"{100 * share:.0f}" for share in found.each)
            event = "" if found.happened is None else f"{found.happened} of {found.total.episodes}"
            steps = f"{found.steps:.0f}" if found.total.successes else ""
            print(f"| {row} | {condition} | {percent} | {told(found.total)} | {steps} | {event} |")
            shown.append((row if condition == "training" else f"{row}, {condition}", found.total))
    return shown


def told(rate: SuccessRate) -> str:
    """In per cent, with the interval."""
    return f"{100 * rate.rate:.0f} [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"


# --- differences ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """How much oftener one row solves the same episodes than another, in shares of them; or how much longer it takes.

    Attributes:
        mean: over episodes and training seeds.
        episodes: how many both played.
        over_episodes: 95 % bootstrap interval over episodes, each the mean over the training seeds: chance in scenes.
        over_seeds: Student's 95 % interval over training seeds: chance in training; None with fewer than two.
        each: of every training seed.
    """

    mean: float
    episodes: int
    over_episodes: tuple[float, float]
    over_seeds: tuple[float, float] | None
    each: tuple[float, ...]

    def __str__(self) -> str:
        return self.told(100, "points")

    def told(self, times: float, unit: str) -> str:
        """With both intervals, in a unit of which there are so many in one."""
        low, high = (times * end for end in self.over_episodes)
        text = f"{times * self.mean:+.0f} {unit}; 95 % over {self.episodes} episodes [{low:+.0f}, {high:+.0f}]"
        if self.over_seeds is None:
            return f"{text}; one training seed"
        low, high = (times * end for end in self.over_seeds)
        return f"{text}, over {len(self.each)} training seeds [{low:+.0f}, {high:+.0f}]"


def solved(outcome: dict[str, Any]) -> float:
    """Whether an episode was, 0 or 1."""
    return float(outcome["success"])


def spent(outcome: dict[str, Any]) -> float:
    """Control steps of an episode: until it was solved, or all that it has."""
    return float(outcome["steps"])


def paired_difference(
    ours: Sequence[Report],
    theirs: Sequence[Report],
    condition: str,
    measure: Callable[[dict[str, Any]], float] = solved,
) -> Difference | None:
    """Of the episodes that both rows played with the same training seeds; None where there are none.

    Args:
        ours, theirs: files of two rows.
        condition: that they were evaluated under.
        measure: of an episode's outcome.

    Raises:
        ValueError: the training seeds have no episode in common.
    """
    one, other = _by_seed(ours, condition, measure), _by_seed(theirs, condition, measure)
    shared = sorted(one.keys() & other.keys())
    if not shared:
        return None
    played = set.intersection(*[one[seed].keys() & other[seed].keys() for seed in shared])
    if not played:
        raise ValueError(f"no episode under {condition} was played by every training seed of both rows")
    order = sorted(played)
    table = np.array([[one[seed][e] - other[seed][e] for e in order] for seed in shared])  # (seeds, episodes)
    each = table.mean(1)
    over_seeds = None
    if len(shared) > 1:
        interval = stats.t.interval(0.95, len(shared) - 1, each.mean(), stats.sem(each) or 1e-9)
        over_seeds = float(interval[0]), float(interval[1])
    return Difference(
        float(table.mean()), len(order), bootstrap_interval(table.mean(0)), over_seeds, tuple(each.tolist())
    )


def _by_seed(
    seeds: Sequence[Report], condition: str, measure: Callable[[dict[str, Any]], float]
) -> dict[int, dict[int, float]]:
    """Training seed -> episode's seed -> what it is measured by."""
    return {
        report["seed"]: {outcome["seed"]: measure(outcome) for outcome in report["success"][condition]["outcomes"]}
        for report in seeds
        if condition in report["success"]
    }


def print_differences(rows: dict[str, list[Report]]) -> None:
    """Between the combination and each other row, under every condition that both were evaluated under."""
    print(f"\n| {OURS} solves more than | under | by | and takes, all episodes |\n|---|---|---|---|")
    for other in (row for row in RIVALS if row in rows):
        for condition in CONDITIONS:
            found = paired_difference(rows[OURS], rows[other], condition)
            taken = paired_difference(rows[OURS], rows[other], condition, spent)
            if found is not None and taken is not None:
                print(f"| {other} | {condition} | {found} | {taken.told(1, 'steps')} |")


def print_demonstrations(rows: dict[str, list[Report]]) -> None:
    """Success where cloning had fewer demonstrations."""
    counts = sorted({report["demonstrations"] for seeds in rows.values() for report in seeds if _counted(report)})
    if not counts:
        return
    print("\n| row | demonstrations | solved, % of each seed | all [95 %] |\n|---|---|---|---|")
    for row in (name for name in ROWS if name in rows):
        for count in [*counts, None]:
            found = rates([report for report in rows[row] if report["demonstrations"] == count], "training")
            if found is not None and (count is not None or any(_counted(report) for report in rows[row])):
                percent = ", ".join("not run" if share is None else f"{100 * share:.0f}" for share in found.each)
                print(f"| {row} | {count or 'all of the preset'} | {percent} | {told(found.total)} |")


def _counted(report: Report) -> bool:
    """Whether its number of demonstrations is another than the preset's."""
    return report.get("demonstrations") is not None


# --- pictures ---------------------------------------------------------------------------------------------------------


def draw_rates(path: Path, task: str, shown: list[tuple[str, SuccessRate]]) -> None:
    """Rates and intervals, one line each."""
    figure, axes = plt.subplots(figsize=(6.4, 0.8 + 0.32 * len(shown)), layout="constrained")
    for place, (_, found) in enumerate(shown):
        axes.plot([100 * found.low, 100 * found.high], [place, place], color="#0969da", lw=2)
        axes.plot(100 * found.rate, place, "o", color="#0969da")
    axes.set_yticks(range(len(shown)), [name for name, _ in shown])
    axes.invert_yaxis()
    axes.set(xlim=(-2, 102), xlabel=f"% of episodes of ur5e/{task} solved, with 95 % intervals")
    axes.grid(axis="x", color="#d0d7de", lw=0.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    figure.savefig(path)
    plt.close(figure)


def draw_curves(path: Path, rows: dict[str, list[Report]]) -> None:
    """Share of the latest 50 training episodes that were solved, by simulator steps."""
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for row, colour in COLOURS.items():
        for place, report in enumerate(rows.get(row, [])):
            curve = report["about"]["curve"]
            steps, solved = [p["steps"] for p in curve], [100 * p["success"] for p in curve]
            axes.plot(steps, solved, color=colour, lw=1.2, label=row if place == 0 else None)
    axes.set(
        xlabel="simulator steps of reinforcement learning", ylabel="% of the latest 50 episodes solved", ylim=(-2, 102)
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)


def main(folder: Path) -> None:
    """Print the tables and draw the pictures."""
    for task, rows in reports(folder).items():
        usual = {row: kept for row, seeds in rows.items() if (kept := [one for one in seeds if not _counted(one)])}
        draw_rates(folder / f"{task}.svg", task, lines(task, usual))
        if OURS in usual:
            print_differences(usual)
        print_demonstrations(rows)
        if COLOURS.keys() & usual.keys():
            draw_curves(folder / f"curves-{task}.svg", usual)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
