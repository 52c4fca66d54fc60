"""``foveal skills train``: skills from demonstrations."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.commands.options import preset_of, verb
from foveal.errors import FovealError
from foveal.skills.augmentation import read_augmentation
from foveal.skills.cloning import Epoch, clone
from foveal.skills.config import CLONE_PRESETS, CloneConfig, clone_config
from foveal.skills.unfinished import unfinished
from foveal.skills.workers import available

Folder = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DEMOS", help="folder of demonstrations")]]


def main(arguments: Sequence[str]) -> None:
    """Train."""
    _, arguments = verb(arguments, "skills", {"train": "clone skills from demonstrations"})
    options: Any = tyro.cli(
        _train_class(preset_of(arguments)),
        args=arguments,
        prog="foveal skills train",
        description="Clone skills from demonstrations. Presets bring defaults of their own: name one before --help.",
    )
    out = options.out or Path("skills") / options.demos.name
    config = options.skills
    if options.augment is not None:
        config = dataclasses.replace(config, augmentation=read_augmentation(options.augment))
    run = unfinished(out)
    if run.is_dir() != options.resume:
        raise FovealError(
            f"{run} holds cloning that did not end: add --resume to go on with it, or delete that folder"
            if run.is_dir()
            else f"there is no {run} to go on with: leave --resume out"
        )
    try:
        cloned = clone(
            options.demos,
            config,
            seed=options.seed,
            flat=options.flat,
            workers=options.workers,
            progress=True,
            told=_tell,
            run=run,
        )
    except KeyboardInterrupt:
        if run.is_dir():
            print("to go on: the same command with --resume")
        raise
    cloned.save(out)
    shutil.rmtree(run, ignore_errors=True)
    print(f"best epoch {cloned.best}: {out}")


def _tell(epoch: Epoch) -> None:
    success = "" if epoch.success is None else f", script solved {100 * epoch.success:.0f} %"
    print(f"epoch {epoch.number}: loss {epoch.loss:.4f}, held out {epoch.held_out:.4f}{success}", flush=True)


def _train_class(preset: str) -> type:
    config = clone_config(preset)
    fields: list[Any] = [
        ("demos", Folder),
        ("out", Annotated[Path | None, tyro.conf.arg(help="folder of the skills (default: skills/DEMOS)")], None),
        ("preset", Annotated[str, tyro.conf.arg(help=f"starting point: {', '.join(CLONE_PRESETS)}")], preset),
        ("seed", Annotated[int, tyro.conf.arg(help="of weights, samples and augmentation")], 0),
        ("flat", Annotated[bool, tyro.conf.arg(help="clone the whole task as one skill")], False),
        ("resume", Annotated[bool, tyro.conf.arg(help="go on where the same command was stopped")], False),
        (
            "augment",
            Annotated[
                Path | None,
                tyro.conf.arg(help="JSON file of an augmentation policy, or none; by default the preset's"),
            ],
            None,
        ),
        ("workers", Annotated[int, tyro.conf.arg(help="processes for rollouts")], available()),
        ("skills", tyro.conf.OmitArgPrefixes[CloneConfig], config),
    ]
    return dataclasses.make_dataclass("TrainSkills", fields)
