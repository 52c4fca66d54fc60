"""``foveal skills train``: skills from demonstrations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.commands import train
from foveal.commands.options import preset_of
from foveal.commands.verbs import RESUME, options_class, parse
from foveal.errors import FovealError
from foveal.skills.augmentation import read_augmentation
from foveal.skills.cloning import CloningWork, Epoch, clone
from foveal.skills.config import CLONE_PRESETS, CloneConfig, clone_config
from foveal.skills.workers import available
from foveal.training import Callback, Trainer

Demos = tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="DEMOS", help="folder of demonstrations")]]
AUGMENT = "JSON file of an augmentation policy, or none; by default the preset's"


def main(arguments: Sequence[str]) -> None:
    """Train a new run, or go on with one."""
    options = parse("skills", {"train": _train_options(preset_of(arguments))}, arguments)
    if options.resume is not None:
        train.main(["--resume", str(options.resume)])
        return
    if options.demos is None:
        raise FovealError("name the demonstrations, e.g. foveal skills train demos/bowl, or a run: --resume")
    out = options.out or Path("skills") / options.demos.name
    config = options.skills
    if options.augment is not None:
        config = dataclasses.replace(config, augmentation=read_augmentation(options.augment))
    try:
        policy = clone(
            options.demos,
            config,
            seed=options.seed,
            flat=options.flat,
            workers=options.workers,
            run=out,
            callbacks=[_Report()],
            progress=True,
        )
    except KeyboardInterrupt:
        print(f"to go on: foveal skills train --resume {out}")
        raise
    print(f"best epoch {policy.about['best']}: {out}")


class _Report(Callback):
    """Prints how each epoch went."""

    def on_step(self, trainer: Trainer) -> None:
        work = trainer.work
        assert isinstance(work, CloningWork)
        if work.steps % work.batches == 0:
            print(_line(work.epochs[-1]), flush=True)


def _line(epoch: Epoch) -> str:
    success = "" if epoch.success is None else f", script solved {100 * epoch.success:.0f} %"
    return f"epoch {epoch.number}: loss {epoch.loss:.4f}, held out {epoch.held_out:.4f}{success}"


def _train_options(preset: str) -> type:
    fields: list[Any] = [
        ("demos", Demos, None),
        ("out", Annotated[Path | None, tyro.conf.arg(help="new run folder (default: skills/DEMOS)")], None),
        RESUME,
        ("preset", Annotated[str, tyro.conf.arg(help=f"starting point: {', '.join(CLONE_PRESETS)}")], preset),
        ("seed", Annotated[int, tyro.conf.arg(help="of weights, samples and augmentation")], 0),
        ("flat", Annotated[bool, tyro.conf.arg(help="clone the whole task as one skill")], False),
        ("augment", Annotated[Path | None, tyro.conf.arg(help=AUGMENT)], None),
        ("workers", Annotated[int, tyro.conf.arg(help="processes for rollouts")], available()),
        ("skills", tyro.conf.OmitArgPrefixes[CloneConfig], clone_config(preset)),
    ]
    return options_class("TrainSkills", "Clone skills from demonstrations.", fields)
