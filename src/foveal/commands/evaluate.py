"""``foveal evaluate``: returns where the agent was trained and under visual change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foveal.agent import Agent
from foveal.atari.agent import AtariAgent
from foveal.atari.evaluation import random_scores
from foveal.commands.plugins import import_plugins
from foveal.errors import FovealError
from foveal.evaluation.rollouts import SEED_OFFSET, evaluate, random_returns
from foveal.explanation.explain import check_writable
from foveal.loading import load

EVERYWHERE = ("train", "color_hard", "video_hard")


@dataclass(frozen=True)
class EvaluateOptions:
    """Returns of the deterministic policy, every episode kept; of an Atari agent, true scores of the sampling one.

    Attributes:
        agent: a run's folder, a folder that agent.save wrote, or pretrained:NAME.
        on: "train" and names of perturbations; for an Atari agent "train" alone, which is then the default.
        episodes: of each.
        seed: of the environments; by default the training seed + 42.
        data: folder of DMC-GB's colours and videos; without it they are generated, and the table says so.
        quality: of rendering: exact, fast or draft; by default as in training, with --data always exact.
        adapt: let the agent's method learn from every step of an episode, if it can.
        random: show the uniformly random policy beside it.
        out: write everything, episode by episode, to this JSON file.
        device: cpu or cuda; by default as in training.
        plugins: module that registers your own environments, methods or perturbations.
    """

    agent: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="AGENT")]]
    on: tuple[str, ...] = EVERYWHERE
    episodes: int = 30
    seed: int | None = None
    data: Path | None = None
    quality: str | None = None
    adapt: bool = False
    random: bool = False
    out: Path | None = None
    device: str | None = None
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


def main(arguments: Sequence[str]) -> None:
    """Evaluate an agent and print the table."""
    options = tyro.cli(EvaluateOptions, args=import_plugins(arguments), prog="foveal evaluate")
    if options.out is not None:
        check_writable(options.out)
    agent = load(options.agent, device=options.device)
    if not isinstance(agent, Agent | AtariAgent):
        raise FovealError(f"{options.agent} is a policy of the arm: foveal hrl evaluates it")
    data, quality, episodes = options.data, options.quality, options.episodes
    on = ("train",) if isinstance(agent, AtariAgent) and options.on == EVERYWHERE else options.on
    results = evaluate(agent, on, episodes, options.seed, data, quality, adapt=options.adapt)
    print(results.table())
    if options.random:
        seed = agent.seed + SEED_OFFSET if options.seed is None else options.seed
        if isinstance(agent, AtariAgent):
            chance = random_scores(agent.env_id, episodes, seed)
        else:
            chance = random_returns(agent.env_id, on, episodes, seed, agent.env_options, data, quality)
        print(chance.table())
    if options.out is not None:
        results.save(options.out)
        print(f"wrote {options.out}")
