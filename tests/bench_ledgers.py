"""Synthetic ledgers of benchmark runs, with known answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foveal.evaluation.results import Condition, Episode, Results, write_json

WALK, STAND, CAR = "dmc/walker-walk", "dmc/walker-stand", "box2d/car-racing"


def condition(
    name: str,
    mean: float,
    *,
    episodes: int = 2,
    spread: float = 0.0,
    quality: str | None = "exact",
    items: int | None = None,
    successes: Sequence[bool] | None = None,
) -> Condition:
    """Episodes whose returns alternate around ``mean``.

    With ``items``, the colours or videos are so many of the benchmark's 100; else they are generated.
    """
    told = tuple(
        Episode(i, 42, mean + (spread if i % 2 else -spread), 250, False, quality, successes[i] if successes else None)
        for i in range(episodes)
    )
    if name == "train":
        return Condition(name, None, quality, told)
    if items is None:
        return Condition(name, "generated", quality, told)
    return Condition(name, "dmc-gb", quality, told, items, items == 100, 100)


def write_results(path: Path, task: str, conditions: Sequence[Condition], policy: Mapping[str, Any]) -> Path:
    return Results({"id": task}, dict(policy), 42, tuple(conditions), machine={"processor": "a test"}).save(path)


def write_run(
    out: Path,
    conditions: Sequence[Condition] = (),
    *,
    suite: str | None = "small",
    task: str = WALK,
    learner: str = "sac",
    method: str = "svea",
    seed: int = 1,
    shielded: Sequence[Condition] = (),
    **cell: Any,
) -> Path:
    """A run's folder with its ``cell.json``, and results where there are conditions."""
    folder = out / (suite or "loose") / task.replace("/", "_") / f"{learner}-{method}" / f"seed-{seed}"
    known = {"task": task, "learner": learner, "method": method, "seed": seed, "shield": "fovea" if shielded else None}
    rest = {
        "steps": 1000,
        "command": f"foveal train {task} --method {method} --seed {seed}",
        "commit": "0123abc",
        "state": "done",
        "error": None,
        "seconds": 60.0,
        "machine": {"processor": "a test", "cores": 2},
    }
    write_json(folder / "cell.json", {"format": "foveal.cell/1", "suite": suite, **known, **rest, **cell})
    policy = {"method": method, "learner": learner, "seed": seed, "steps": 1000}
    if conditions:
        write_results(folder / "results.json", task, conditions, policy)
    if shielded:
        behind = {**policy, "method": f"{method} behind a shield (privileged)"}
        write_results(folder / "results-shield.json", task, shielded, behind)
    return folder


def write_chance(out: Path, task: str, mean: float, suite: str = "small") -> Path:
    path = out / suite / task.replace("/", "_") / "random.json"
    return write_results(path, task, [condition("train", mean)], {"name": "random"})


def write_curve(folder: Path, task: str, points: Mapping[int, float]) -> None:
    """A run folder's evaluations on the way."""
    lines = [
        json.dumps({"step": step, **Results({"id": task}, {}, 7, (condition("train", value),)).as_dict()})
        for step, value in points.items()
    ]
    (folder / "run").mkdir()
    (folder / "run" / "evaluations.jsonl").write_text("".join(line + "\n" for line in lines))


RETURNS = {  # method -> task -> (trained look, changed look) of seed 1; seed 2 is 100 better
    "svea": {WALK: (800.0, 500.0), STAND: (900.0, 600.0)},
    "sgqn": {WALK: (700.0, 650.0), STAND: (800.0, 750.0)},
}


def small_ledger(out: Path) -> Path:
    """Two methods on two tasks with two seeds, under ``train`` and generated ``video_hard``."""
    for method, by_task in RETURNS.items():
        for task, (trained, changed) in by_task.items():
            for seed in (1, 2):
                more = 100.0 * (seed - 1)
                looks = [condition("train", trained + more), condition("video_hard", changed + more)]
                write_run(out, looks, task=task, method=method, seed=seed)
    return out
