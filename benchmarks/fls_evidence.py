"""Does the map cost return, and does bfloat16? The table of ``results/fls``: agents at one small budget.

    python benchmarks/fls_evidence.py results/fls

reads ``GAME-ENCODER-SEED.json``, as ``foveal evaluate RUN --episodes 30 --out ...`` writes them (``nature-f32`` is the
Nature network with ``--training.precision float32``), plays the random policy once per game, keeps it as
``GAME-random.json``, and prints Markdown.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats

from foveal.atari.evaluation import random_scores
from foveal.evaluation.results import Results
from foveal.evaluation.statistics import bootstrap_interval

BASE = "nature"
COMPARED = {"sparse-fls": "Sparse FLS", "nature-f32": "Nature in float32"}
ENOUGH = 5.0
"""Times the random policy's score that Nature must reach before anything can be said about what a map costs."""


def scores(folder: Path) -> dict[str, dict[str, list[np.ndarray]]]:
    """Game -> encoder -> the scores of each training seed."""
    found: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*-*-*.json")):
        game, encoder, _ = re.fullmatch(r"(\w+)-(.+)-(\d+)", path.stem).groups()
        found[game][encoder].append(totals(Results.load(path)))
    return found


def totals(results: Results) -> np.ndarray:
    """(games,) true scores."""
    return np.array([episode.total for episode in results.conditions[0].episodes])


def random_policy(folder: Path, game: str) -> np.ndarray:
    """Scores of the random policy, played once and kept."""
    path = folder / f"{game}-random.json"
    if not path.exists():
        random_scores(f"atari/{game}").save(path)
    return totals(Results.load(path))


def ratio(nature: list[np.ndarray], other: list[np.ndarray]) -> tuple[float, float, float]:
    """The other's score over Nature's, and its 95 % interval over training seeds.

    What another training would give is the question, so each seed's mean is one observation; Welch's t interval of
    the difference of their logarithms is one that three seeds do not make too narrow, as a bootstrap over them is.
    """
    logs = [np.log([run.mean() for run in runs]) for runs in (other, nature)]
    found = stats.ttest_ind(*logs, equal_var=False)
    interval = found.confidence_interval(0.95)
    return tuple(np.exp([logs[0].mean() - logs[1].mean(), interval.low, interval.high]))


def main(folder: Path) -> None:
    """Print the table."""
    print("| game | network | mean of each seed | mean [95 % over games, by seed] | times random |")
    print("|---|---|---|---|---|")
    verdicts = []
    for game, by_encoder in scores(folder).items():
        base = random_policy(folder, game)
        print(f"| {game} | random policy | | {base.mean():.1f} ({len(base)} games) | 1 |")
        for encoder in (name for name in (BASE, *COMPARED) if name in by_encoder):
            runs = by_encoder[encoder]
            low, high = bootstrap_interval(runs)
            each = ", ".join(f"{run.mean():.0f}" for run in runs)
            mean = np.mean([run.mean() for run in runs])
            print(f"| {game} | {encoder} | {each} | {mean:.0f} [{low:.0f}, {high:.0f}] | {mean / base.mean():.1f} |")
        enough = np.mean([run.mean() for run in by_encoder[BASE]]) >= ENOUGH * base.mean()
        for encoder in (name for name in COMPARED if name in by_encoder):
            share, low, high = ratio(by_encoder[BASE], by_encoder[encoder])
            verdicts.append(
                f"- {game}: {COMPARED[encoder]} is at {share:.2f} of Nature's score (geometric means), "
                f"95 % interval over seeds [{low:.2f}, {high:.2f}]"
                + ("" if enough else "; inconclusive at this budget, Nature is too weak")
            )
    print("\n" + "\n".join(verdicts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
