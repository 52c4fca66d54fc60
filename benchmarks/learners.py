"""Do the value learners learn? Runs of a grid, one file each with its curve; what is there already is not run again.

    python benchmarks/learners.py run cartpole walker --seeds 0 1 2 --out results/learners
    python benchmarks/learners.py table results/learners

A grid's rows are trained one after the other, each in a process of one thread; start the command twice for two at a
time: a row that another process works on is left to it. One that was stopped is begun anew.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rows import asked, commit, interval, missing, train_to_end

import foveal
from foveal.evaluation.results import machine, versions, write_json
from foveal.evaluation.rollouts import run as run_world
from foveal.evaluation.rollouts import world_of
from foveal.evaluation.world import WorldOptions
from foveal.training.run_folder import EVALUATIONS, read_records

EPISODES = 10
"""Of the last evaluation, whose seed no training used."""


@dataclass(frozen=True)
class Task:
    """An environment, and how long and with what settings it is learnt.

    Attributes:
        env: its id.
        learners: that are compared there.
        methods: each on each of them.
        steps: agent steps.
        wanted: mean return that counts as learnt.
        settings: flags of ``foveal train``; ``{learner}`` stands for its name.
        settings_of: further flags of a learner, chosen on a seed that no row has.
    """

    env: str
    learners: tuple[str, ...]
    methods: tuple[str, ...]
    steps: int
    wanted: float
    settings: tuple[str, ...] = ("--preset", "compact")
    settings_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def flags(self, learner: str) -> tuple[str, ...]:
        """All settings of one learner."""
        return (*(flag.format(learner=learner) for flag in self.settings), *self.settings_of.get(learner, ()))


CAR = (
    *("--preset", "compact", "--environment.action-repeat", "8", "--training.updates-per-step", "0.25"),
    *("--training.replay-capacity", "30000", "--{learner}.epsilon-steps", "8000", "--{learner}.lr", "3e-4"),
)
QUICK_CRITIC = ("--drqv2.critic-lr", "1e-3")
AS_PUBLISHED = (
    *("--drqv2.critic-lr", "1e-4", "--drqv2.actor-lr", "1e-4", "--drqv2.hidden", "1024", "--drqv2.tau", "0.01"),
    *("--training.n-step", "1", "--training.batch-size", "256", "--training.discount", "0.99"),
    *("--training.initial-random-steps", "2000", "--drqv2.std-steps", "40000"),
)
"""DrQ-v2's own settings for walkers, with half of its batch; with the preset's the policy ends at the bounds of its
actions, where nothing moves it any more."""
CONTINUOUS, DISCRETE = ("sac", "drqv2"), ("dqn", "qrdqn")
TASKS = {
    "cartpole": Task(
        *("dmc/cartpole-balance", CONTINUOUS, ("drq", "none", "sgqn"), 30_000, 800.0),
        settings_of={"drqv2": QUICK_CRITIC},
    ),
    "walker": Task(
        *("dmc/walker-stand", CONTINUOUS, ("drq",), 40_000, 600.0),
        settings_of={"drqv2": AS_PUBLISHED},
    ),
    "kung-fu": Task("atari/kung_fu_master", DISCRETE, ("none", "sgqn"), 60_000, 1650.0),
    "car": Task("box2d/car-racing-discrete", DISCRETE, ("none", "sgqn"), 20_000, 300.0, CAR),
}
"""What counts as learnt in a game is five times the random policy's score, 330; on the car, whose random policy gets
less than nothing, a third of what solves it."""


@dataclass(frozen=True)
class Run:
    """Train what is missing of some tasks.

    Attributes:
        tasks: names of grids.
        seeds: of training.
        learners, methods: only these, where given.
        steps: agent steps, instead of the task's.
        out: a file for each row.
        work: run folders.
    """

    tasks: tyro.conf.Positional[tuple[str, ...]]
    seeds: tuple[int, ...] = (0, 1, 2)
    learners: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    steps: int | None = None
    out: Path = Path("results/learners")
    work: Path = Path("runs/learners")
    settings: tuple[str, ...] = field(default_factory=tuple)
    """Further flags of ``foveal train``, for searches."""


@dataclass(frozen=True)
class Row:
    """One training."""

    name: str
    task: Task
    learner: str
    method: str
    seed: int

    @property
    def stem(self) -> str:
        """Of its file and its run folder."""
        return f"{self.name}-{self.learner}-{self.method}-{self.seed}"


def rows(options: Run) -> Iterator[Row]:
    """In the order in which they are run: all of a seed before the next one."""
    for seed in options.seeds:
        for name in options.tasks:
            task = TASKS[name]
            for method in options.methods or task.methods:
                for learner in options.learners or task.learners:
                    if learner in task.learners:
                        yield Row(name, task, learner, method, seed)


def carry_out_row(row: Row, options: Run) -> None:
    """One row, unless it is done or another process is at it."""
    target = options.out / f"{row.stem}.json"
    with missing(target, options.work) as hold:
        if hold is not None:
            train(row, options, target, hold)


def train(row: Row, options: Run, target: Path, hold: int) -> None:
    """One row, from nothing to its file."""
    run = options.work / row.stem
    steps = options.steps or row.task.steps
    every = max(1, steps // 10)
    command = [
        *("train", row.task.env, "--learner", row.learner, "--method", row.method, "--seed", str(row.seed)),
        *("--steps", str(steps), "--evaluate-every", str(every), "--evaluate-episodes", "3"),
        *("--checkpoint-every", str(steps)),
        *row.task.flags(row.learner),
        *(setting.format(learner=row.learner) for setting in options.settings),
    ]
    print(" ".join(["foveal", *command]), flush=True)
    seconds = train_to_end(command, run, hold)
    agent: Any = foveal.load(run)
    final = foveal.evaluate(agent, "train", episodes=EPISODES, progress=False)
    chance = run_world(world_of(agent, WorldOptions("train")).by_chance(), EPISODES, progress=False)
    curve = [{"step": record["step"], "mean": _mean(record)} for record in read_records(run / EVALUATIONS)]
    write_json(
        target,
        {
            "row": {
                "task": row.name,
                "env": row.task.env,
                "learner": row.learner,
                "method": row.method,
                "seed": row.seed,
            },
            "command": " ".join(["foveal", *command]),
            "commit": commit(),
            "steps": agent.steps,
            "updates": agent.updates,
            "seconds": seconds,
            "curve": curve,
            "returns": [episode.total for episode in final.conditions[0].episodes],
            "random": [episode.total for episode in chance.conditions[0].episodes],
            "machine": machine(),
            "versions": versions(),
        },
    )
    print(f"{row.stem}: {np.mean([e.total for e in final.conditions[0].episodes]):.0f}", flush=True)


def table(folder: Path) -> None:
    """Markdown: every seed, their mean with Student's interval, and what was wanted."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        row = json.loads(path.read_text())
        found[row["row"]["task"], row["row"]["learner"], row["row"]["method"]].append(row)
    print("| task | learner | method | agent steps | each seed | mean [95 % over seeds] | random | wanted | minutes |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (name, learner, method), seeds in found.items():
        means = [float(np.mean(row["returns"])) for row in seeds]
        chance = float(np.mean([np.mean(row["random"]) for row in seeds]))
        timed = [row["seconds"] / 60 for row in seeds if row["seconds"] is not None]
        print(
            f"| {seeds[0]['row']['env']} | {learner} | {method} | {seeds[0]['steps']:,} | "
            f"{', '.join(f'{mean:.0f}' for mean in means)} | {interval(means)} | {chance:.0f} | "
            f"{TASKS[name].wanted:.0f} | {f'{np.mean(timed):.0f}' if timed else '-'} |"
        )
    for name in {key[0] for key in found}:
        _draw(name, found, folder / f"{name}.svg")


def _draw(name: str, found: dict[tuple[str, str, str], list[dict[str, Any]]], path: Path) -> None:
    """Curves of a task, the mean over seeds with the seeds' range."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for (task, learner, method), seeds in found.items():
        if task != name:
            continue
        steps = [point["step"] for point in seeds[0]["curve"]]
        values = np.array([[point["mean"] for point in row["curve"]][: len(steps)] for row in seeds])
        (line,) = axes.plot(steps, values.mean(0), label=f"{learner}, {method}")
        axes.fill_between(steps, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_xlabel("agent steps")
    axes.set_ylabel("return of 3 episodes")
    axes.set_title(TASKS[name].env)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _mean(record: dict[str, Any]) -> float:
    return float(next(iter(record["perturbations"].values()))["summary"]["mean"])


def main() -> None:
    """Run or show."""
    options = asked(Run, table)
    for row in rows(options) if options else ():
        carry_out_row(row, options)


if __name__ == "__main__":
    main()
