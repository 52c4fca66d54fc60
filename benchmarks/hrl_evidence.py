"""Skills and a master against imitation alone and reinforcement learning alone: the tables of ``results/hrl-bc``.

    python benchmarks/hrl_evidence.py results/hrl-bc

reads ``TASK-ROW-SEED.json``, as ``benchmarks/hrl.py TASK --row ROW --seed SEED`` writes them, prints Markdown, and
draws ``TASK.svg`` and ``curves-TASK.svg``. Intervals are Wilson's, of all episodes of a row taken together: each seed
plays the same evaluation episodes, so they tell of chance in the episodes, and the seeds' own rates beside them tell of
training.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from hrl import ROWS
from scipy import stats

from foveal.evaluation.statistics import SuccessRate
from foveal.skills.conditions import CONDITIONS

Reports = dict[str, dict[str, list[dict[str, Any]]]]
OURS = "hrl-bc"
HALVES = {"flat-bc": "imitation alone (flat-bc)", "ppo": "reinforcement learning alone (ppo)"}
COLOURS = {"hrl-bc": "#0969da", "oracle": "#6e7781", "ppo": "#bc4c00"}


def reports(folder: Path) -> Reports:
    """Task -> row -> what each seed's file holds."""
    found: Reports = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*-*-*.json")):
        report = json.loads(path.read_text())
        found[report["task"]][report["row"]].append(report)
    return found


def rate(seeds: list[dict[str, Any]], condition: str) -> tuple[SuccessRate, list[float]] | None:
    """Of all seeds together, and of each; None where one was not evaluated so."""
    if not all(condition in report["success"] for report in seeds):
        return None
    each = [[outcome["success"] for outcome in report["success"][condition]["outcomes"]] for report in seeds]
    return SuccessRate.of([success for run in each for success in run]), [sum(run) / len(run) for run in each]


def lines(task: str, rows: dict[str, list[dict[str, Any]]]) -> list[tuple[str, SuccessRate]]:
    """Print a task's table; gives what the picture shows."""
    print(f"\n### {task}\n\n| row | evaluated under | solved, % of each seed | all [95 %] |")
    print("|---|---|---|---|")
    shown = []
    for row in (name for name in ROWS if name in rows):
        for condition in CONDITIONS:
            found = rate(rows[row], condition)
            if found is None:
                continue
            total, each = found
            percent = ", ".join(f"{100 * share:.0f}" for share in each)
            interval = f"{100 * total.rate:.0f} [{100 * total.low:.0f}, {100 * total.high:.0f}]"
            print(f"| {row} | {condition} | {percent} | {interval} |")
            shown.append((row if condition == "training" else f"{row}, {condition}", total))
    return shown


def print_differences(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Between the combination and each of its halves: the question of these results."""
    print()
    for other, half in HALVES.items():
        pair = [
            {report["seed"]: report["success"]["training"]["rate"] for report in rows.get(row, [])}
            for row in (OURS, other)
        ]
        seeds = sorted(set(pair[0]) & set(pair[1]))
        if len(seeds) > 1:
            differences = 100.0 * np.array([pair[0][seed] - pair[1][seed] for seed in seeds])
            interval = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
            print(
                f"- {OURS} solves {differences.mean():.0f} points more than {half}; 95 % t interval over "
                f"{len(seeds)} seeds [{interval.low:.0f}, {interval.high:.0f}]"
            )


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


def draw_curves(path: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Share of the latest 50 training episodes that were solved, by simulator steps."""
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for row, colour in COLOURS.items():
        for seed, report in enumerate(rows.get(row, [])):
            curve = report["about"]["curve"]
            steps, solved = [p["steps"] for p in curve], [100 * p["success"] for p in curve]
            axes.plot(steps, solved, color=colour, lw=1.2, label=row if seed == 0 else None)
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
        draw_rates(folder / f"{task}.svg", task, lines(task, rows))
        if all("training" in report["success"] for report in rows.get(OURS, [])):
            print_differences(rows)
        if COLOURS.keys() & rows.keys():
            draw_curves(folder / f"curves-{task}.svg", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
