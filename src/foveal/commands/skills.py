"""``foveal skills train``: skills from demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands import train
from foveal.commands.options import preset_of
from foveal.commands.verbs import parse
from foveal.errors import FovealError
from foveal.skills.augmentation import read_augmentation
from foveal.skills.cloning import CloningWork, Epoch, clone
from foveal.skills.config import CloneConfig, clone_config
from foveal.skills.workers import available
from foveal.training import Callback, Trainer


@dataclass(frozen=True)
class TrainOptions:
    """Clone skills from demonstrations.

    Presets bring defaults of their own: name one before --help.

    Attributes:
        demos: folder of demonstrations.
        out: new run folder (default: skills/DEMOS).
        resume: run folder to continue.
        preset: starting point: paper, compact or debug.
        seed: of weights, samples and augmentation.
        flat: clone the whole task as one skill.
        augment: JSON file of an augmentation policy, or none; by default the preset's.
        workers: processes for rollouts.
        skills: how they are cloned.
    """

    demos: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="DEMOS")]] = None
    out: Path | None = None
    resume: Path | None = None
    preset: str = "compact"
    seed: int = 0
    flat: bool = False
    augment: Path | None = None
    workers: int = field(default_factory=available)
    skills: tyro.conf.OmitArgPrefixes[CloneConfig] = field(default_factory=clone_config)


def main(arguments: Sequence[str]) -> None:
    """Train a new run, or go on with one."""
    preset = preset_of(arguments)
    defaults = TrainOptions(preset=preset, skills=clone_config(preset))
    options: TrainOptions = parse("skills", {"train": defaults}, arguments)
    if options.resume is not None:
        train.main(arguments[1:])  # which refuses all other options
    elif options.demos is not None:
        _train(options.demos, options)
    else:
        raise FovealError("name the demonstrations, e.g. foveal skills train demos/bowl, or a run: --resume")


def _train(demos: Path, options: TrainOptions) -> None:
    out, config = options.out or Path("skills") / demos.name, options.skills
    if options.augment is not None:
        config = replace(config, augmentation=read_augmentation(options.augment))
    try:
        policy = clone(
            demos,
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
