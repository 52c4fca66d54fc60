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
from foveal.evaluation.rollouts import TRAIN
from foveal.explanation import explain
from foveal.loading import load
from foveal.skills.flat import FlatPolicy
from foveal.skills.master import Master
from foveal.skills.policy import SkillPolicy

EVERYWHERE = (TRAIN, "color_hard", "video_hard")


@dataclass(frozen=True)
class ExplainOptions:
    """One self-contained page: frames, saliency and masks of an episode under each perturbation, or of one game.

    Attributes:
        agent: a run's folder, a folder that agent.save wrote, or pretrained:NAME; or that of cloned skills or a master.
        on: "train" and names of perturbations; for an Atari agent "train" alone, which is then the default; for skills
            conditions of foveal hrl, the default being training.
        out: the page.
        frames: still pictures per episode.
        seed: of the environments; by default the training seed + 42.
        data: folder of DMC-GB's colours and videos; without it they are generated, and the page says so.
        quality: of rendering: exact, fast or draft; by default as in training.
        saliency: names of maps: guided_backprop (the default), gradient, or attention for that of the agent's own
            attention module; several are compared. An Atari agent's default is attention, if it has that, and gradient.
        quantile: of the mask; by default the agent's own.
        video: also write this mp4 of every step, frame and maps side by side; of one condition alone.
        device: cpu or cuda; by default as in training.
        skill: of skills, number of the one to be seen, scripted experts doing the others; by default all.
        of: of skills, what the maps are of: velocity (the default) or gripper.
        plugins: module that registers your own environments, methods, maps or perturbations.
    """

    agent: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="AGENT")]]
    on: tuple[str, ...] = EVERYWHERE
    out: Path = Path("explain.html")
    frames: int = 6
    seed: int | None = None
    data: Path | None = None
    quality: str | None = None
    saliency: tuple[str, ...] = ()
    quantile: float | None = None
    video: Path | None = None
    device: str | None = None
    skill: int | None = None
    of: str | None = None
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


def main(arguments: Sequence[str]) -> None:
    """Write the page and print its path."""
    options = tyro.cli(ExplainOptions, args=import_plugins(arguments), prog="foveal explain")
    agent = load(options.agent, device=options.device)
    if isinstance(agent, FlatPolicy):
        raise FovealError("maps are of cloned skills and of masters over them; this policy of the arm has no skills")
    alone = isinstance(agent, AtariAgent | SkillPolicy | Master) and options.on == EVERYWHERE
    page = explain(
        agent,
        (TRAIN,) if alone else options.on,
        options.out,
        frames=options.frames,
        seed=options.seed,
        data=options.data,
        quality=options.quality,
        saliency=options.saliency or None,
        quantile=options.quantile,
        video=options.video,
        skill=options.skill,
        of=options.of,
    )
    if options.video is not None:
        print(f"wrote {options.video}")
    print(page)
