"""Does the map cost return? Trainings of a grid, one file each, and the table of ``results/fls``.

    python benchmarks/fls_evidence.py run --out results/fls/grid
    python benchmarks/fls_evidence.py table results/fls/grid

``run`` trains what is missing of the grid that ``results/fls/PLAN.md`` fixes, a row after the other, each in a process
of one thread. Start it twice for two rows at a time: a row that another process works on is left to it. What was
stopped goes on from its last checkpoint when the command is repeated, and a row that has its file is not run again. One
that fails stops no other; it is told at the end. An agent of Breakout is asked at once whether its maps follow the ball
(``fls_causal``, ``OUT/../causal``), and every policy is kept in ``--policies``.

``table`` reads ``GAME-ENCODER-SEED.json``, as ``run`` and ``foveal evaluate RUN --episodes 30 --out ...`` write them
(``nature-f32`` is the Nature network with ``--training.precision float32``), plays the random policy once per game,
keeps it as ``GAME-random.json``, and prints Markdown.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fls_causal import ball_study, untrained
from rows import asked, carry_out, commit, missing, trained
from scipy import stats

import foveal
from foveal.atari.evaluation import random_scores
from foveal.errors import FovealError
from foveal.evaluation.results import Results, write_json
from foveal.evaluation.statistics import bootstrap_interval
from foveal.training.run_folder import read_metrics

BASE, MAPPED = "nature", "sparse-fls"
COMPARED = {MAPPED: "Sparse FLS", "nature-f32": "Nature in float32"}
ENOUGH = 5.0
"""Times the random policy's score that Nature must reach before anything can be said about what a map costs."""
MARGIN = 0.75
"""Share of Nature's score above which Sparse FLS counts as free, see ``results/fls/PLAN.md``."""
CONFIDENCE = 0.95
"""One-sided."""
GRID = {"breakout": 8, "seaquest": 4}
"""Game -> seeds of each network."""
STEPS = 500_000
EPISODES = 30
POINTS = 50
"""Of each curve of how even a map was in training."""
BREAKOUT = "breakout"
"""The game that conclusions rest on, and whose ball is moved."""

Scores = dict[str, dict[str, list[np.ndarray]]]


# --- running ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """Train what is missing of the grid.

    Attributes:
        games: only these.
        steps: agent steps; others than the plan's are for trying out.
        seeds: of each game and network, instead of the plan's.
        episodes: of every evaluation.
        settings: further flags of ``foveal train``, for trying out.
        out: a file for each row.
        work: run folders.
        policies: what is left of every agent.
    """

    games: tuple[str, ...] = tuple(GRID)
    steps: int = STEPS
    seeds: int | None = None
    episodes: int = EPISODES
    settings: tuple[str, ...] = ()
    out: Path = Path("results/fls/grid")
    work: Path = Path("runs/fls")
    policies: Path = Path("runs/fls/policies")


@dataclass(frozen=True)
class Row:
    """One training."""

    game: str
    encoder: str
    seed: int

    @property
    def stem(self) -> str:
        """Of its file and its run folder."""
        return f"{self.game}-{self.encoder}-{self.seed}"


def rows(options: Run) -> list[Row]:
    """In the order in which they are run: all of a seed before the next one, so that a stopped grid is balanced."""
    seeds = {game: GRID.get(game, 1) if options.seeds is None else options.seeds for game in options.games}
    return [
        Row(game, encoder, seed)
        for seed in range(max(seeds.values()))
        for game in options.games
        if seed < seeds[game]
        for encoder in (BASE, MAPPED)
    ]


def carry_out_row(row: Row, options: Run) -> bool:
    """One row, from nothing or from where it was stopped to its file; False where there is nothing to do."""
    target, run = options.out / f"{row.stem}.json", options.work / row.stem
    with missing(target, options.work) as hold:
        if hold is None:
            return False
        command = [
            *("train", f"atari/{row.game}", "--encoder", row.encoder, "--seed", str(row.seed)),
            *("--steps", str(options.steps), "--checkpoint-every", str(max(1, options.steps // 10))),
            *options.settings,
        ]
        print(" ".join(["foveal", *command]), flush=True)
        told = {"game": row.game, "encoder": row.encoder, "seed": row.seed, "steps": options.steps}
        told |= {"command": " ".join(["foveal", *command]), "commit": commit()}
        told |= train(command, run, options.steps, hold)
        agent: Any = foveal.load(run)
        agent.save(options.policies / row.stem, policy_only=True)
        if row.game == BREAKOUT:
            study = options.out.parent / "causal" / f"ball-{row.encoder}-{row.seed}.json"
            write_json(study, ball_study(agent, row.stem))
        write_json(target, evaluated(agent, run, told, options.episodes))
        print(f"{row.stem}: {totals(Results.load(target)).mean():.1f}", flush=True)
    return True


def train(command: Sequence[str], run: Path, steps: int, hold: int | None = None) -> dict[str, Any]:
    """Train, or go on with what was stopped; how long that took."""
    log = run.parent / f"{run.name}.log"
    if not trained(run):
        shutil.rmtree(run, ignore_errors=True)  # stopped before its first checkpoint
        return {"seconds": carry_out(command, log, run, hold), "resumed": False}
    if foveal.load(run).steps >= steps:
        return {"seconds": None, "resumed": True}  # stopped before its evaluation
    return {"seconds": carry_out(["train", "--resume", str(run)], log, hold=hold), "resumed": True}


def evaluated(agent: Any, run: Path, told: Mapping[str, Any], episodes: int) -> dict[str, Any]:
    """A row: every game, and how even the map was on its own grid, then and in training; and a fresh network's."""
    results = foveal.evaluate(agent, episodes=episodes, progress=False)
    rules = {name: agent.env_options[name] for name in ("sticky", "frame_limit")}
    fresh = foveal.evaluate(untrained(agent), episodes=1, progress=False, **rules).conditions[0].attention
    curves = {name: thinned(points) for name, points in read_metrics(run).items() if name.startswith("attention/")}
    return {
        **results.as_dict(),
        "row": dict(told),
        "untrained_attention": None if fresh is None else fresh.as_dict(),
        "attention_in_training": curves,
    }


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Means of a curve over equal parts of it."""
    parts = np.array_split(np.array(points, np.float64), min(len(points), POINTS))
    return [(int(part[-1, 0]), float(part[:, 1].mean())) for part in parts]


# --- telling ----------------------------------------------------------------------------------------------------------


def scores(folder: Path) -> Scores:
    """Game -> encoder -> the scores of each training seed."""
    found: Scores = defaultdict(lambda: defaultdict(list))
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


@dataclass(frozen=True)
class Pooled:
    """Sparse FLS's score over Nature's, geometric means, every game counting the same.

    Attributes:
        share: the ratio.
        low, high: one-sided 95 % limits, over training seeds.
    """

    share: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """By the rules of ``results/fls/PLAN.md``."""
        if self.low > MARGIN:
            return f"**no cost**: the lower limit is above {MARGIN}"
        if self.high < MARGIN:
            return f"**refuted**: the upper limit is below {MARGIN}"
        return f"**open**: {MARGIN} lies between the limits"


def pooled(means: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Pooled:
    """Over games, by Welch's t interval of the mean over games of the differences of logarithms.

    Args:
        means: game -> (each seed's mean score with Nature, the same with Sparse FLS), at least two seeds each.

    Raises:
        ValueError: a mean is not positive, so it has no logarithm.
    """
    logs = {game: [np.log(values) for values in both] for game, both in means.items() if np.min(np.hstack(both)) > 0}
    if len(logs) < len(means):
        raise ValueError(f"a mean score of {', '.join(sorted(set(means) - set(logs)))} is not positive")
    shifts = [mapped.mean() - nature.mean() for nature, mapped in logs.values()]
    parts = np.array([[v.var(ddof=1) / len(v), len(v) - 1] for both in logs.values() for v in both])
    variances, freedoms = parts[:, 0] / len(logs) ** 2, parts[:, 1]
    error = np.sqrt(variances.sum())
    freedom = variances.sum() ** 2 / (variances**2 / freedoms).sum() if error > 0 else np.inf  # Welch, Satterthwaite
    reach = stats.t.ppf(CONFIDENCE, freedom) * error
    return Pooled(*(float(np.exp(np.mean(shifts) + way * reach)) for way in (0, -1, 1)))


def pooled_line(found: Scores, weak: Sequence[str]) -> str:
    """What all games together say, and the plan's verdict; none where it lacks seeds or a game that it rests on.

    Args:
        weak: games in which Nature's mean says nothing of costs.
    """
    both = {
        game: tuple([float(run.mean()) for run in networks[name]] for name in (BASE, MAPPED))
        for game, networks in found.items()
        if game not in weak and min(len(networks.get(name, ())) for name in (BASE, MAPPED)) > 1
    }
    if not both:
        return "- no game with several seeds of both networks, in which Nature is strong enough: nothing is concluded"
    told = pooled(both)
    line = (
        f"- {' and '.join(both)} together: {told.share:.2f}, one-sided 95 % limits {told.low:.2f} and {told.high:.2f}: "
    )
    if BREAKOUT not in found:
        return line + "not the plan's games, so no verdict"
    lacking = [game for game, seeds in GRID.items() if game not in weak and _least(both.get(game, ((),))) < seeds]
    if BREAKOUT in weak or lacking:
        why = f"Nature is too weak in {BREAKOUT}" if BREAKOUT in weak else f"{', '.join(lacking)} lacks seeds"
        return f"{line}nothing is concluded, as {why}"
    return line + told.verdict


def _least(seeds: Sequence[Sequence[float]]) -> int:
    return min(len(each) for each in seeds)


def attention_lines(folder: Path) -> list[str]:
    """How even maps were on their own grid, row by row, beside those of the same networks before training."""
    lines = []
    for path in sorted(folder.glob("*-*-*.json")):
        attention, fresh = Results.load(path).conditions[0].attention, json.loads(path.read_text())
        if attention is not None and (untrained := fresh.get("untrained_attention")):
            cells = [
                f"{vars(attention)[name]:.4f} ({untrained[name]:.4f})" for name in ("variation", "entropy", "change")
            ]
            lines.append(f"| {path.stem} | {' | '.join(cells)} |")
    return lines


def table(folder: Path) -> None:
    """Print the tables and what follows from them."""
    print("| game | network | mean of each seed | mean [95 % over games, by seed] | times random |")
    print("|---|---|---|---|---|")
    verdicts, weak, found = [], [], scores(folder)
    for game, by_encoder in found.items():
        base = random_policy(folder, game)
        print(f"| {game} | random policy | | {base.mean():.1f} ({len(base)} games) | 1 |")
        for encoder in (name for name in (BASE, *COMPARED) if name in by_encoder):
            runs = by_encoder[encoder]
            low, high = bootstrap_interval(runs)
            each = ", ".join(f"{run.mean():.0f}" for run in runs)
            mean = np.mean([run.mean() for run in runs])
            print(f"| {game} | {encoder} | {each} | {mean:.0f} [{low:.0f}, {high:.0f}] | {mean / base.mean():.1f} |")
        enough = np.mean([run.mean() for run in by_encoder[BASE]]) >= ENOUGH * base.mean()
        weak += [] if enough else [game]
        for encoder in (name for name in COMPARED if name in by_encoder):
            share, low, high = ratio(by_encoder[BASE], by_encoder[encoder])
            verdicts.append(
                f"- {game}: {COMPARED[encoder]} is at {share:.2f} of Nature's score (geometric means), "
                f"95 % interval over seeds [{low:.2f}, {high:.2f}]"
                + ("" if enough else "; inconclusive at this budget, Nature is too weak")
            )
    verdicts.append(pooled_line(found, weak))
    print("\n" + "\n".join(verdicts))
    if lines := attention_lines(folder):
        print("\n| map on its own grid, trained (untrained) | variation | entropy | change |\n|---|---|---|---|")
        print("\n".join(lines))


def main() -> None:
    """Run or show."""
    options = asked(Run, table)
    torch.set_num_threads(1)
    failed = []
    for row in rows(options) if options else ():
        try:
            carry_out_row(row, options)
        except (FovealError, RuntimeError) as error:
            failed.append(row.stem)
            print(f"{row.stem} FAILED: {error}", flush=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; repeat the command")


if __name__ == "__main__":
    main()
