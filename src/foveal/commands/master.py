"""``foveal master train``: a policy that chooses skills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands import train
from foveal.commands.options import preset_of
from foveal.commands.verbs import parse
from foveal.errors import FovealError
from foveal.machine.cores import available
from foveal.skills.config import MasterConfig, master_config
from foveal.skills.demos import task_of
from foveal.skills.master import Master
from foveal.skills.policy import SkillPolicy


@dataclass(frozen=True)
class TrainOptions:
    """PPO learns which skill is next.

    Presets bring defaults of their own: name one before --help.

    Attributes:
        env: such as ur5e/bowl.
        skills: folder of cloned skills; without, scripted experts act.
        out: new run folder (default: masters/TASK).
        resume: run folder to continue.
        preset: starting point: paper, compact or debug.
        seed: of everything random.
        workers: processes that the arms are spread over.
        ppo: how it learns.
    """

    env: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="ENV")]] = None
    skills: Path | None = None
    out: Path | None = None
    resume: Path | None = None
    preset: str = "compact"
    seed: int = 0
    workers: int = field(default_factory=available)
    ppo: tyro.conf.OmitArgPrefixes[MasterConfig] = field(default_factory=master_config)


def main(arguments: Sequence[str]) -> None:
    """Train a new run, or go on with one."""
    preset = preset_of(arguments)
    defaults = TrainOptions(preset=preset, ppo=master_config(preset))
    options: TrainOptions = parse("master", {"train": defaults}, arguments)
    if options.resume is not None:
        train.main(arguments[1:])  # which refuses all other options
    elif options.env is not None:
        _train(task_of(options.env), options)
    else:
        raise FovealError("name the task, e.g. foveal master train ur5e/bowl, or a run: --resume")


def _train(task: str, options: TrainOptions) -> None:
    """Train, and say how often the task was solved."""
    skills = None if options.skills is None else SkillPolicy.load(options.skills)
    if skills is not None and skills.task != task:
        raise FovealError(f"{options.skills} holds skills of {skills.task!r}, and the task is {task!r}")
    out, master = options.out or Path("masters") / task, Master(task, skills, options.ppo, options.seed)
    try:
        master.learn(out, workers=options.workers, progress=True)
    except KeyboardInterrupt:
        print(f"to go on: foveal master train --resume {out}")
        raise
    last = master.curve[-1]
    print(f"{last['episodes']} episodes, the latest solved: {100 * last['success']:.0f} %; the master is in {out}")
