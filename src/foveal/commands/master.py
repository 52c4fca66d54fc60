"""``foveal master train``: a policy that chooses skills."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.commands import train
from foveal.commands.options import preset_of
from foveal.commands.verbs import RESUME, options_class, parse
from foveal.errors import FovealError
from foveal.skills.config import MASTER_PRESETS, MasterConfig, master_config
from foveal.skills.demos import task_of
from foveal.skills.master import Master
from foveal.skills.policy import SkillPolicy
from foveal.skills.workers import available

Env = tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="ENV", help="such as ur5e/bowl")]]


def main(arguments: Sequence[str]) -> None:
    """Train a new run, or go on with one, and say how often the task was solved."""
    options = parse("master", {"train": _train_options(preset_of(arguments))}, arguments)
    if options.resume is not None:
        train.main(["--resume", str(options.resume)])
        return
    master = _new(options)
    out = options.out or Path("masters") / master.task
    try:
        master.learn(out, workers=options.workers, progress=True)
    except KeyboardInterrupt:
        print(f"to go on: foveal master train --resume {out}")
        raise
    last = master.curve[-1]
    print(f"{last['episodes']} episodes, the latest solved: {100 * last['success']:.0f} %; the master is in {out}")


def _new(options: Any) -> Master:
    if options.env is None:
        raise FovealError("name the task, e.g. foveal master train ur5e/bowl, or a run: --resume")
    task = task_of(options.env)
    skills = None if options.skills is None else SkillPolicy.load(options.skills)
    if skills is not None and skills.task != task:
        raise FovealError(f"{options.skills} holds skills of {skills.task!r}, and the task is {task!r}")
    return Master(task, skills, options.ppo, options.seed)


def _train_options(preset: str) -> type:
    skills = tyro.conf.arg(help="folder of cloned skills; without, scripted experts act")
    fields: list[Any] = [
        ("env", Env, None),
        ("skills", Annotated[Path | None, skills], None),
        ("out", Annotated[Path | None, tyro.conf.arg(help="new run folder (default: masters/TASK)")], None),
        RESUME,
        ("preset", Annotated[str, tyro.conf.arg(help=f"starting point: {', '.join(MASTER_PRESETS)}")], preset),
        ("seed", Annotated[int, tyro.conf.arg(help="of everything random")], 0),
        ("workers", Annotated[int, tyro.conf.arg(help="processes that the arms are spread over")], available()),
        ("ppo", tyro.conf.OmitArgPrefixes[MasterConfig], master_config(preset)),
    ]
    return options_class("TrainMaster", "PPO learns which skill is next.", fields)
