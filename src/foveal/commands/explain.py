"""``foveal explain``: a page that shows what the agent looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands.plugins import import_plugins
from foveal.commands.shield import behind
from foveal.explanation import explain
from foveal.loading import load


@dataclass(frozen=True)
class ExplainOptions:
    """One self-contained page: frames, saliency and masks of an episode under each condition, or of one game.

    Attributes:
        agent: a run's folder, a folder that agent.save wrote, or pretrained:NAME.
        on: conditions; by default those of foveal evaluate, with --video train alone.
        out: the page.
        frames: still pictures per episode.
        seed: of the environments; by default that of foveal evaluate.
        data: folder of DMC-GB's colours and videos; without it they are generated, and the page says so.
        quality: of rendering: exact, fast or draft; by default as in training.
        saliency: names of maps (foveal list maps), guided_backprop by default, or attention for that of the agent's own
            attention module; several are compared. An Atari agent's default is attention, if it has that, and gradient.
        quantile: of the mask; by default the agent's own.
        video: also write this mp4 of every step, frame and maps side by side; of one condition alone.
        device: cpu or cuda; by default as in training.
        of: what the maps are of: q1 (the default), q2 or min_q of a critic, value (the default) or log_prob of PPO,
            action1 and so on of continuous actions, velocity (the default), gripper, velocity_x, ... of the arm's.
        skill: of skills, number of the one to be seen, scripted experts doing the others; by default all.
        shield: a shield to stand before the policy, which the page then shows too: a folder, or pretrained:NAME.
        plugins: module that registers your own environments, methods, maps or perturbations.
    """

    agent: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="AGENT")]]
    on: tuple[str, ...] | None = None
    out: Path = Path("explain.html")
    frames: int = 6
    seed: int | None = None
    data: Path | None = None
    quality: str | None = None
    saliency: tuple[str, ...] = ()
    quantile: float | None = None
    video: Path | None = None
    device: str | None = None
    of: str | None = None
    skill: int | None = None
    shield: str | None = None
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


def main(arguments: Sequence[str]) -> None:
    """Write the page and print its path."""
    options = tyro.cli(ExplainOptions, args=import_plugins(arguments), prog="foveal explain")
    page = explain(
        behind(options.shield, load(options.agent, device=options.device)),
        options.on,
        options.out,
        frames=options.frames,
        seed=options.seed,
        data=options.data,
        quality=options.quality,
        saliency=options.saliency or None,
        quantile=options.quantile,
        of=options.of,
        skill=options.skill,
        video=options.video,
    )
    if options.video is not None:
        print(f"wrote {options.video}")
    print(page)
