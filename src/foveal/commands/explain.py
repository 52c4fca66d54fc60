"""``foveal explain``: a page that shows what the agent looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foveal.atari.agent import AtariAgent
from foveal.commands.plugins import import_plugins
from foveal.errors import FovealError
from foveal.loading import load
from foveal.report import explain


@dataclass(frozen=True)
class ExplainOptions:
    """One self-contained page: frames, saliency and masks of an episode under each perturbation.

    Attributes:
        agent: a run's folder, a folder that agent.save wrote, or pretrained:NAME.
        on: "train" and names of perturbations.
        out: the page.
        frames: still pictures per episode.
        seed: of the environments; by default the training seed + 42.
        data: folder of DMC-GB's colours and videos; without it they are generated, and the page says so.
        quality: of rendering: exact, fast or draft; by default as in training.
        saliency: name of the map: guided_backprop, gradient, or attention for that of the agent's own attention module.
        quantile: of the mask; by default the agent's own.
        device: cpu or cuda; by default as in training.
        plugins: module that registers your own environments, methods, maps or perturbations.
    """

    agent: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="AGENT")]]
    on: tuple[str, ...] = ("train", "color_hard", "video_hard")
    out: Path = Path("explain.html")
    frames: int = 6
    seed: int | None = None
    data: Path | None = None
    quality: str | None = None
    saliency: str = "guided_backprop"
    quantile: float | None = None
    device: str | None = None
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


def main(arguments: Sequence[str]) -> None:
    """Write the page and print its path."""
    options = tyro.cli(ExplainOptions, args=import_plugins(arguments), prog="foveal explain")
    agent = load(options.agent, device=options.device)
    if isinstance(agent, AtariAgent):
        raise FovealError(f"{options.agent} is an Atari agent: its maps come from agent.attention and agent.values")
    page = explain(
        agent,
        options.on,
        options.out,
        frames=options.frames,
        seed=options.seed,
        data=options.data,
        quality=options.quality,
        saliency=options.saliency,
        quantile=options.quantile,
    )
    print(page)
