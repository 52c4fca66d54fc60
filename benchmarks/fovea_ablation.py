"""What does a policy gain when it is trained behind its fovea, and what of it is it that counts?

    python benchmarks/fovea_ablation.py run --seeds 10 11 12 --out results/fovea
    python benchmarks/fovea_ablation.py table results/fovea

A row is one training of one variant, in a process of one thread, and its policy's episodes as it is and behind the
shield that ships. Conditions are *generated* colours and videos, and seeds those that no other evidence has, since the
ablation is there to choose by. Start the command twice for two rows at a time; what is there already is not run again,
and what was stopped is begun anew.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import asked, commit, interval, missing, train_to_end

import foveal
from foveal.evaluation.results import machine, versions, write_json

ENV, SHIELD = "dmc/walker-stand", "pretrained:walker-stand"
CONDITIONS = ("train", "color_hard", "video_easy", "video_hard")
VARIANTS: dict[str, tuple[str, ...]] = {
    "drq": ("--method", "drq"),
    "foveal": ("--method", "foveal"),
    "masked": ("--method", "foveal", "--foveal.output", "masked"),
    "restored": ("--method", "foveal", "--foveal.output", "restored"),
    "svea": ("--method", "foveal+svea"),
    "sada": ("--method", "foveal+sada"),
    "sgqn": ("--method", "foveal+sgqn", "--sgqn.consistency-weight", "0.1"),
}
"""Flags of ``foveal train``. The method alone, what passes, SVEA's and SADA's views of it, SGQN's consistency behind
it (with the demo's weight), and DrQ, which is the method without any fovea."""
SHIELDED = ("drq",)
"""Variants that are judged behind a shield as well: what training behind a fovea has to be compared with."""


@dataclass(frozen=True)
class Run:
    """Train what is missing.

    Attributes:
        seeds: of training.
        variants: names of them; all, where none is given.
        steps: agent steps.
        episodes: under each condition.
        out: a file for each row.
        work: run folders.
    """

    seeds: tuple[int, ...] = (10, 11, 12)
    variants: tuple[str, ...] = tuple(VARIANTS)
    steps: int = 25_000
    episodes: int = 10
    out: Path = Path("results/fovea")
    work: Path = Path("runs/fovea")


def rows(options: Run) -> Iterator[tuple[int, str]]:
    """Seeds and variants, in the order in which they are run: all of a seed before the next one."""
    for seed in options.seeds:
        for variant in options.variants:
            yield seed, variant


def command(variant: str, seed: int, steps: int) -> list[str]:
    """Of one training, without the word ``foveal``."""
    return [
        *("train", ENV, "--learner", "sac", "--preset", "compact", *VARIANTS[variant], "--seed", str(seed)),
        *("--steps", str(steps), "--evaluate-every", "0", "--checkpoint-every", str(steps)),
    ]


def row(variant: str, seed: int, options: Run) -> None:
    """One training and its episodes, unless they are there or another process is at it."""
    target = options.out / f"{variant}-{seed}.json"
    with missing(target, options.work) as hold:
        if hold is not None:
            write_json(target, _row(variant, seed, options, hold))


def _row(variant: str, seed: int, options: Run, hold: int) -> dict[str, Any]:
    run = options.work / f"{variant}-{seed}"
    words = command(variant, seed, options.steps)
    print(" ".join(["foveal", *words]), flush=True)
    seconds = train_to_end(words, run, hold)
    agent: Any = foveal.load(run)
    policies = {variant: agent}
    if variant in SHIELDED:
        policies[f"{variant} behind the shield"] = foveal.Shield.load(SHIELD).wrap(agent)
    results = {name: _returns(policy, options.episodes) for name, policy in policies.items()}
    for name, returns in results.items():
        print(name, seed, {condition: round(float(np.mean(each))) for condition, each in returns.items()}, flush=True)
    return {
        "row": {"variant": variant, "env": ENV, "seed": seed},
        "command": " ".join(["foveal", *words]),
        "commit": commit(),
        "steps": agent.steps,
        "updates": agent.updates,
        "seconds": seconds,
        "results": results,
        "machine": machine(),
        "versions": versions(),
    }


def _returns(policy: Any, episodes: int) -> dict[str, list[float]]:
    """Of every episode under each condition; without data, so colours and videos are generated ones."""
    found = foveal.evaluate(policy, CONDITIONS, episodes, progress=False)
    return {one.perturbation: [episode.total for episode in one.episodes] for one in found.conditions}


def table(folder: Path) -> None:
    """Markdown: means over seeds with Student's interval, and the share of the trained look's return that is kept."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        one = json.loads(path.read_text())
        for name, returns in one["results"].items():
            found[name].append({**one, "returns": returns})
    print(f"| policy | seeds | {' | '.join(CONDITIONS)} | kept over video_hard | minutes |")
    print(f"|{'---|' * (len(CONDITIONS) + 4)}")
    for name, seeds in found.items():
        means = {condition: [float(np.mean(one["returns"][condition])) for one in seeds] for condition in CONDITIONS}
        kept = [hard / clean for hard, clean in zip(means["video_hard"], means["train"], strict=True)]
        timed = [one["seconds"] / 60 for one in seeds if one["seconds"] is not None]
        print(
            f"| {name} | {', '.join(str(one['row']['seed']) for one in seeds)} | "
            f"{' | '.join(interval(each) for each in means.values())} | {interval(kept, 2)} | "
            f"{f'{np.mean(timed):.0f}' if timed else '-'} |"
        )


def main() -> None:
    """Run or show."""
    options = asked(Run, table)
    torch.set_num_threads(1)
    for seed, variant in rows(options) if options else ():
        row(variant, seed, options)


if __name__ == "__main__":
    main()
