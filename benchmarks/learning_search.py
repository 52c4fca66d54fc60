"""Settings with which a policy learns most in a stated time on this machine: optuna's TPE, with pruning.

    python benchmarks/learning_search.py run dmc/cartpole-swingup --minutes 45 --trials 12 --out results/search
    python benchmarks/learning_search.py table results/search

A trial is a training of one thread that ends after so many minutes, whatever steps it has taken by then; its merit is
the mean return of its last three evaluations. What is below the median of earlier trials after a third of the time is
given up. Start the command twice for two trials at a time, and again to go on: the study is a file in ``--out``.
Seeds are those from ``--seed`` on, which evidence must not have.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
import tyro
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from rows import asked, commit

from foveal.agent import Agent
from foveal.config.tree import configure
from foveal.evaluation.results import Results, machine, versions, write_json
from foveal.machine.allocator import keep_freed_memory
from foveal.training import Callback, RunOptions, Trainer

LAST = 3
"""Evaluations whose mean is a trial's merit."""
MARKS = 9
"""Into so many equal parts a trial's time falls; after each it says what its policy is worth, and from a third on it
may be given up."""
EARLIER = 4
"""Trials that are taken to their ends, whatever they are worth, before any is given up."""
EVERY, EPISODES = 2000, 3
"""Agent steps between evaluations, and episodes of each."""
MOST = 10_000_000
"""Agent steps: the clock ends a trial."""


@dataclass(frozen=True)
class Run:
    """Search on one task.

    Attributes:
        env: the task's id.
        out: folder of ``TASK.journal``, which is the study, and of ``TASK.json``, what came of it.
        method: what trains with every learner.
        minutes: of training and its evaluations, in each trial.
        trials: by this call.
        seed: of the first trial; each has its own.
        preset: where everything starts that is not searched.
        rendered_size: side of frames until they are averaged to the preset's; as in ``dmc-cpu``, which is what settings
            are sought for.
    """

    env: tyro.conf.Positional[str]
    out: Path = Path("results/search")
    method: str = "drq"
    minutes: float = 45.0
    trials: int = 8
    seed: int = 900
    preset: str = "compact"
    rendered_size: int | None = 84


def settings_of(trial: Trial) -> tuple[str, dict[str, dict[str, Any]]]:
    """The learner and the settings that a trial tries, by section."""
    learner = trial.suggest_categorical("learner", ["sac", "drqv2"])
    rates = {
        "critic_lr": trial.suggest_float("critic_lr", 1e-4, 2e-3, log=True),
        "actor_lr": trial.suggest_float("actor_lr", 1e-4, 2e-3, log=True),
        "hidden": trial.suggest_categorical("hidden", [256, 1024]),
    }
    if learner == "drqv2":
        rates["initial_std"] = trial.suggest_categorical("initial_std", [0.5, 1.0])
        rates["final_std"] = trial.suggest_categorical("final_std", [0.1, 0.3])
        rates["std_steps"] = 20_000
    encoder = {
        "filters": trial.suggest_categorical("filters", [16, 32]),
        "projection": trial.suggest_categorical("projection", [50, 100]),
    }
    training = {
        "n_step": trial.suggest_categorical("n_step", [1, 3, 5]),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128]),
        "updates_per_step": trial.suggest_categorical("updates_per_step", [0.25, 0.5, 1.0]),
        "discount": trial.suggest_categorical("discount", [0.97, 0.98, 0.99]),
    }
    return learner, {learner: {**rates, "encoder": encoder}, "training": training}


class Clock(Callback):
    """Tells the trial what its policy is worth by now, and ends the training when its time is over.

    Args:
        trial: is told, and may say that it is given up.
        minutes: of the training.
    """

    def __init__(self, trial: Trial, minutes: float) -> None:
        self.trial, self.minutes, self.began = trial, minutes, time.monotonic()
        self.curve: list[dict[str, float]] = []
        self.told = 0

    @property
    def passed(self) -> float:
        """Minutes."""
        return (time.monotonic() - self.began) / 60

    @property
    def merit(self) -> float:
        """Mean of the last evaluations; 0 before the first."""
        return float(np.mean([point["mean"] for point in self.curve[-LAST:]])) if self.curve else 0.0

    def on_evaluation(self, trainer: Trainer, results: Results) -> None:
        mean = results.conditions[0].summary["mean"]
        self.curve.append({"minutes": round(self.passed, 2), "step": trainer.agent.steps, "mean": mean})

    def on_step(self, trainer: Trainer) -> bool:
        mark = int(self.passed / self.minutes * MARKS)
        if mark > self.told:
            self.told = mark
            self.trial.report(self.merit, mark)
            return mark < MARKS and not self.trial.should_prune()
        return True


def objective(trial: Trial, options: Run) -> float:
    """Train once; the merit of what came of it."""
    learner, sections = settings_of(trial)
    seed = options.seed + trial.number
    seen = {"environment": {"rendered_size": options.rendered_size}}
    agent = Agent.from_config(
        configure(options.env, options.method, learner, options.preset, seed, {**sections, **seen})
    )
    clock = Clock(trial, options.minutes)
    run = RunOptions(evaluate_every=EVERY, evaluate_episodes=EPISODES, adapt_threads=False)
    Trainer(agent.work(), run, callbacks=[clock], progress=False).train(MOST)
    about = {"settings": sections, "seed": seed, "curve": clock.curve, "steps": agent.steps, "updates": agent.updates}
    for name, value in about.items():
        trial.set_user_attr(name, value)
    print(f"trial {trial.number}: {clock.merit:.0f} after {agent.steps:,} steps of {learner}", flush=True)
    if clock.told < MARKS:
        raise optuna.TrialPruned
    return clock.merit


def search(options: Run) -> None:
    """As many more trials, and the file of all of them."""
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    name = options.env.replace("/", "_")
    storage = JournalStorage(JournalFileBackend(str(options.out / f"{name}.journal")))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=EARLIER, n_warmup_steps=MARKS // 3)
    study = optuna.create_study(
        storage=storage, pruner=pruner, study_name=name, direction="maximize", load_if_exists=True
    )
    study.optimize(lambda trial: objective(trial, options), n_trials=options.trials)
    ended = [trial for trial in study.trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    about = {name: getattr(options, name) for name in ("env", "method", "preset", "rendered_size", "minutes")}
    kept = {"commit": commit(), "machine": machine(), "versions": versions()}
    write_json(options.out / f"{name}.json", {**about, **kept, "trials": [as_dict(trial) for trial in ended]})


def as_dict(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as the file has it."""
    merits = list(trial.intermediate_values.values())
    merit = trial.value if trial.value is not None else merits[-1]
    return {"number": trial.number, "merit": merit, "given_up": trial.state == TrialState.PRUNED, **trial.user_attrs}


def table(folder: Path) -> None:
    """Markdown: a row for each trial, the best ones first."""
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text())
        print(f"\n{found['env']}, {found['method']}, {found['minutes']:g} minutes of one thread a trial\n")
        print("| trial | merit | steps | updates | learner | settings |\n|---|---|---|---|---|---|")
        for trial in sorted(found["trials"], key=lambda each: -each["merit"]):
            learner, training = list(trial["settings"])
            chosen = {**trial["settings"][learner], **trial["settings"][training]}
            chosen |= chosen.pop("encoder")
            told = ", ".join(
                f"{name} {value if isinstance(value, int) else format(value, '.2g')}" for name, value in chosen.items()
            )
            given_up = " (given up)" * trial["given_up"]
            print(
                f"| {trial['number']} | {trial['merit']:.0f}{given_up} | {trial['steps']:,} | {trial['updates']:,} | "
                f"{learner} | {told} |"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """Search or show."""
    keep_freed_memory()
    options = asked(Run, table, arguments=arguments)
    if options is not None:
        search(options)


if __name__ == "__main__":
    main()
