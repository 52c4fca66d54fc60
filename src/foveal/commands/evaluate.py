"""``foveal evaluate``: returns where the agent was trained and under visual change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands.plugins import import_plugins
from foveal.commands.shield import behind
from foveal.evaluation.rollouts import run, world_of
from foveal.evaluation.world import WorldOptions
from foveal.explanation.explain import check_writable
from foveal.loading import load
from foveal.machine.cores import available


@dataclass(frozen=True)
class EvaluateOptions:
    """Returns of the deterministic policy, every episode kept; of games true scores, on the arm how often it succeeds.

    Attributes:
        agent: a run's folder, a folder that agent.save wrote, or pretrained:NAME.
        on: conditions; by default train, on dmc/ also color_hard and video_hard, on box2d/ also track_colors; of the
            arm train, far_starts, moved_camera and noisy_depth.
        episodes: of each.
        seed: of the environments; by default the training seed + 42, of the arm one that nothing else uses.
        data: folder of DMC-GB's colours and videos; without it they are generated, and the table says so.
        quality: of rendering: exact, fast or draft; by default as in training, with --data always exact.
        adapt: let the agent's method learn from every step of an episode, if it can.
        shield: a shield to stand before the policy: a folder, or pretrained:NAME.
        random: show the uniformly random policy beside it.
        out: write everything, episode by episode, to this JSON file.
        workers: processes for simulated arms and for conditions; 0 takes as many as there are cores.
        protocol: of Atari games, v4 or v5: whose sticky actions and limit of frames there are; by default those of the
            training.
        sticky: probability that a game carries out the action before again, in place of the protocol's.
        frame_limit: frames of the emulator after which a game is cut off, in place of the protocol's.
        device: cpu or cuda; by default as in training.
        plugins: module that registers your own environments, methods or perturbations.
    """

    agent: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="AGENT")]]
    on: tuple[str, ...] | None = None
    episodes: int = 30
    seed: int | None = None
    data: Path | None = None
    quality: str | None = None
    adapt: bool = False
    shield: str | None = None
    random: bool = False
    out: Path | None = None
    workers: int = 0
    protocol: str | None = None
    sticky: float | None = None
    frame_limit: int | None = None
    device: str | None = None
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


def main(arguments: Sequence[str]) -> None:
    """Evaluate an agent and print the table."""
    options = tyro.cli(EvaluateOptions, args=import_plugins(arguments), prog="foveal evaluate")
    check_writable(options.out, "results.json")
    agent = behind(options.shield, load(options.agent, device=options.device))
    workers = options.workers or available()
    wanted = WorldOptions(
        options.on,
        options.seed,
        options.data,
        options.quality,
        adapt=options.adapt,
        workers=workers,
        protocol=options.protocol,
        sticky=options.sticky,
        frame_limit=options.frame_limit,
    )
    world = world_of(agent, wanted)
    chance = world.by_chance() if options.random else None
    results = run(world, options.episodes)
    print(results.table())
    if chance is not None:
        print(run(chance, options.episodes).table())
    if options.out is not None:
        results.save(options.out)
        print(f"wrote {options.out}")
