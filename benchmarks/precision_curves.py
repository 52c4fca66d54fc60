"""Does bfloat16 cost return? Learning curves of both precisions, same task and seeds, as picture and table.

    python benchmarks/precision_curves.py runs/ results/speed/precision.svg results/speed/precision.json

reads ``runs/PRECISION-SEED/evaluations.jsonl`` of runs that differ in ``--training.precision`` and ``--seed`` alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"bfloat16": "#0969da", "float32": "#bc4c00"}


def curve(run: Path) -> list[tuple[int, float]]:
    """(Agent steps, mean return of the evaluation's episodes)."""
    lines = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    return [
        (line["step"], float(np.mean([episode["return"] for episode in line["perturbations"]["train"]["episodes"]])))
        for line in lines
    ]


def main(runs: Path, picture: Path, table: Path) -> None:
    """Draw the curves and print the table."""
    curves = {precision: [curve(run) for run in sorted(runs.glob(f"{precision}-?"))] for precision in COLOURS}
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for precision, found in curves.items():
        for seed, points in enumerate(found):
            style = {"color": COLOURS[precision], "ls": ["-", "--", ":"][seed], "lw": 1.5}
            axes.plot(*zip(*points, strict=True), label=f"{precision}, seed {seed}", **style)
    axes.set(xlabel="agent steps", ylabel="mean return of 5 episodes")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(picture)
    table.write_text(json.dumps(curves, indent=1) + "\n")
    print("| precision | seed | mean of all evaluations | mean of the last three |\n|---|---|---|---|")
    for precision, found in curves.items():
        for seed, points in enumerate(found):
            returns = np.array([value for _, value in points])
            print(f"| {precision} | {seed} | {returns.mean():.0f} | {returns[-3:].mean():.0f} |")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
