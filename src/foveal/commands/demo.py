"""``foveal demo``: train, evaluate and explain SGQN behind a fovea on a small task, and show it all on one page."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import tyro

from foveal.agent import Agent
from foveal.bench.forecast import forecast
from foveal.errors import FovealError
from foveal.evaluation.layout import duration
from foveal.evaluation.results import Results, machine
from foveal.evaluation.rollouts import evaluate, random_returns, world_of
from foveal.evaluation.statistics import summary
from foveal.evaluation.world import SEED_OFFSET, TRAIN, WorldOptions
from foveal.explanation import Curve, Training, demo_page, look
from foveal.training import ReplayWork, RunOptions, Trainer
from foveal.training.run_folder import EPISODES, EVALUATIONS, read_records, refuse_existing

TASK = "dmc/walker-walk"
METHOD = "foveal+sgqn"
CONSISTENCY = 0.1
"""Weight of SGQN's consistency loss. Without a fovea it took twice as many steps to learn with the published 0.5."""
CONDITIONS = ("train", "color_easy", "color_hard", "video_easy", "video_hard")


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        steps: agent steps of training.
        evaluations: during training.
        validation_episodes: in each of these.
        episodes: under each condition, at the end.
        episode: agent steps of one.
        moments: pictures in each player.
        settings: that differ from the preset's, by section.
        measured: seconds of training by which the time that all of it takes is forecast; 0 for no forecast.
    """

    steps: int
    evaluations: int
    validation_episodes: int
    episodes: int
    episode: int
    moments: int
    settings: dict[str, Any]
    measured: float

    @property
    def rollout_steps(self) -> int:
        """Agent steps of all evaluations, of the random policy and of the players' episodes."""
        at_the_end = (len(CONDITIONS) + 1) * self.episodes + len(CONDITIONS)
        return self.episode * (self.evaluations * self.validation_episodes + at_the_end)


SCALES = {
    # An update of SGQN takes two and a half times as long as one of DrQ, so it comes last.
    "compact": Scale(
        steps=15_000,
        evaluations=5,
        validation_episodes=1,
        episodes=6,
        episode=250,
        moments=60,
        settings={"training": {"plain_updates": 5_750}, "foveal": {"fovea": {"steps": 1_000}}},
        measured=6.0,
    ),
    # 25 agent steps per episode: nearly all of the time goes into drawing pictures of them.
    "debug": Scale(
        steps=120,
        evaluations=2,
        validation_episodes=1,
        episodes=1,
        episode=25,
        moments=10,
        settings={"training": {"plain_updates": 5}, "environment": {"action_repeat": 40}},
        measured=0.5,
    ),
}


@dataclass(frozen=True)
class DemoOptions:
    """Train SGQN, behind a fovea, from pixels on the CPU; evaluate it under visual change; show what it looks at.

    Attributes:
        preset: compact (a real run) or debug (seconds, learns nothing).
        out: new folder for the page, the agent and everything else; by default demo, or demo-2 and so on.
        seed: of everything random.
        data: folder of DMC-GB's colours and videos; without it they are generated, and the page says so.
    """

    preset: str = "compact"
    out: Path | None = None
    seed: int = 0
    data: Path | None = None


def main(arguments: Sequence[str]) -> None:
    """Run the demo; the page's path is the last line printed."""
    options = tyro.cli(DemoOptions, args=list(arguments), prog="foveal demo")
    if options.preset not in SCALES:
        raise FovealError(f"the demo has the presets {' and '.join(SCALES)}, not {options.preset!r}")
    out = _new_folder() if options.out is None else options.out
    refuse_existing(out)
    print(run_demo(options, SCALES[options.preset], out))


def _new_folder() -> Path:
    names = (Path("demo" if count == 1 else f"demo-{count}") for count in itertools.count(1))
    return next(path for path in names if not path.exists())


def run_demo(options: DemoOptions, scale: Scale, out: Path) -> Path:
    """Train, evaluate, look, and write the page into ``out``; returns its path."""
    agent = Agent(
        TASK,
        method=METHOD,
        learner="sac",
        preset=options.preset,
        seed=options.seed,
        sgqn={"consistency_weight": CONSISTENCY},
        **scale.settings,
    )
    seed = agent.seed + SEED_OFFSET
    if options.data is not None:  # what is wrong with it shall be said now
        world_of(agent, WorldOptions(CONDITIONS, seed, options.data)).rehearse()
    print(f"{METHOD} on {TASK} from pixels: {scale.steps:,} agent steps, into {out / 'run'}")
    _say_how_long(agent, scale)
    training = _train(agent, options, scale, out / "run")
    print(f"evaluating {scale.episodes} episodes under each of {', '.join(CONDITIONS)}")
    results = evaluate(agent, CONDITIONS, scale.episodes, seed, options.data, workers=len(CONDITIONS))
    chance = _blind(random_returns(TASK, TRAIN, scale.episodes, seed, agent.env_options))
    print(results.table())
    return demo_page(
        out / "index.html",
        results=results,
        random=chance,
        training=training,
        attentions=look(agent, CONDITIONS, moments=scale.moments, data=options.data),
        config=agent.config.as_dict(),
        baseline=_baseline(options, agent),
    )


def _say_how_long(agent: Agent, scale: Scale) -> None:
    """Measure this machine, and tell what it will take."""
    found = forecast(agent.config, scale.measured)
    minutes = found.minutes(scale.steps, scale.rollout_steps)
    print(
        f"about {minutes} minute{'s' * (minutes > 1)} on this machine: it learns to see in {duration(found.looking)}, "
        f"trains {found.plain:.0f} steps a second before SGQN begins and {found.training:.0f} after it, "
        f"and evaluates {found.rollout:.0f}",
        flush=True,
    )


def _blind(results: Results) -> Results:
    """The random policy's returns under every condition: it sees none of them, so they are the same."""
    (condition,) = results.conditions
    return replace(results, conditions=tuple(replace(condition, perturbation=name) for name in CONDITIONS))


def _train(agent: Agent, options: DemoOptions, scale: Scale, folder: Path) -> Training:
    steps = scale.steps
    run = RunOptions(
        evaluate_every=steps // scale.evaluations,
        evaluate_episodes=scale.validation_episodes,
        checkpoint_every=steps // 4,
    )
    trainer = Trainer(ReplayWork(agent), run, run=folder)
    start = time.monotonic()
    trainer.train(steps)
    seconds = time.monotonic() - start
    return Training(
        steps=agent.steps,
        updates=agent.updates,
        seconds=seconds,
        curve=_curve(folder),
        machine=machine(),
        command=f"foveal demo --preset {options.preset} --seed {options.seed}",
    )


def _curve(run: Path) -> Curve:
    evaluations = []
    for record in read_records(run / EVALUATIONS):
        condition = Results.from_dict(record).conditions[0]
        evaluations.append((record["step"], summary(condition.returns)))
    episodes = [(record["step"], record["return"]) for record in read_records(run / EPISODES)]
    return Curve(episodes, evaluations)


def _baseline(options: DemoOptions, agent: Agent) -> Results | None:
    """Plain SAC on the same task at the same number of updates, where a result of it ships for these conditions."""
    baseline = _shipped("sac", options)
    if baseline is None:
        return None
    made = baseline.environment["id"], baseline.policy.get("updates")
    return baseline if made == (agent.env_id, agent.updates) else None


def _shipped(policy: str, options: DemoOptions) -> Results | None:
    """Results that ship with the package, made by the commands that results/demo/README.md names."""
    perturbations = "generated" if options.data is None else "dmc-gb"
    path = Path(str(files("foveal") / "data" / f"demo-{policy}-{options.preset}-{perturbations}.json"))
    return Results.load(path) if path.is_file() else None
