"""``foveal skills``: train skills from demonstrations, and see whether each ends what it begins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands import train
from foveal.commands.options import preset_of
from foveal.commands.verbs import parse
from foveal.errors import FovealError
from foveal.explanation.explain import check_writable
from foveal.machine.cores import available
from foveal.skills.augmentation import read_augmentation
from foveal.skills.cloning import CloningWork, Epoch, clone
from foveal.skills.config import CloneConfig, clone_config
from foveal.skills.judging import judged
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


@dataclass(frozen=True)
class EvaluateOptions:
    """How often each skill achieves its own goal within its 60 steps, begun where the script begins it.

    Experts bring every scene to where a skill's turn is; the skill acts alone, and its goal is judged.

    Attributes:
        skills: folder of cloned skills, or a task such as ur5e/bowl, for its scripted experts.
        on: condition: training, far_starts, moved_camera, noisy_depth or structured_light.
        episodes: scenes, none of which anything was trained, chosen or evaluated on.
        seed: of the first scene; by default one that nothing else uses.
        out: write every turn to this JSON file.
        workers: processes.
    """

    skills: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="SKILLS|ENV")]]
    on: str = "training"
    episodes: int = 100
    seed: int | None = None
    out: Path | None = None
    workers: int = field(default_factory=available)


def main(arguments: Sequence[str]) -> None:
    """Train a new run, go on with one, or evaluate skills one by one."""
    preset = preset_of(arguments)
    defaults = TrainOptions(preset=preset, skills=clone_config(preset))
    verbs = {"train": defaults, "evaluate": EvaluateOptions}
    options: TrainOptions | EvaluateOptions = parse("skills", verbs, arguments)
    if isinstance(options, EvaluateOptions):
        _evaluate(options)
    elif options.resume is not None:
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


def _evaluate(options: EvaluateOptions) -> None:
    check_writable(options.out, "turns.json")
    report = judged(options.skills, options.on, options.episodes, options.seed, workers=options.workers, progress=True)
    print(report)
    if options.out is not None:
        options.out.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
        print(f"wrote {options.out}")


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
