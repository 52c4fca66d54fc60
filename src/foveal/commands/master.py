"""``foveal master train``: a policy that chooses skills."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.commands.options import preset_of, verb
from foveal.errors import FovealError
from foveal.skills.config import MASTER_PRESETS, MasterConfig, master_config
from foveal.skills.demos import task_of
from foveal.skills.master import Master
from foveal.skills.policy import load_skills
from foveal.skills.unfinished import unfinished
from foveal.skills.workers import available

Env = tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="ENV", help="such as ur5e/bowl")]]


def main(arguments: Sequence[str]) -> None:
    """Train, save, and say how often the task was solved."""
    _, rest = verb(arguments, "master", {"train": "PPO learns which skill is next"})
    options: Any = tyro.cli(
        _options_class(preset_of(rest)),
        args=rest,
        prog="foveal master train",
        description="PPO learns which skill is next. Presets bring defaults of their own: name one before --help.",
    )
    out, master = _resumed(options.resume) if options.resume is not None else _new(options)
    run = unfinished(out)
    try:
        master.learn(run=run, workers=options.workers, progress=True)
    except KeyboardInterrupt:
        print(f"to go on: foveal master train --resume {out}")
        raise
    master.save(out)
    shutil.rmtree(run, ignore_errors=True)
    last = master.curve[-1]
    print(f"{last['episodes']} episodes, the latest solved: {100 * last['success']:.0f} %; the master is in {out}")


def _resumed(out: Path) -> tuple[Path, Master]:
    """Where the master goes, and what there is of it."""
    if not unfinished(out).is_dir():
        raise FovealError(f"there is no {unfinished(out)} to go on with: train a master without --resume")
    return out, Master.resume(unfinished(out))


def _new(options: Any) -> tuple[Path, Master]:
    if options.env is None:
        raise FovealError("name the task, e.g. foveal master train ur5e/bowl, or a master to go on with: --resume")
    task = task_of(options.env)
    out = options.out or Path("masters") / task
    if unfinished(out).is_dir():
        raise FovealError(
            f"{unfinished(out)} holds training that did not end: go on with foveal master train --resume {out}, or "
            "delete that folder"
        )
    skills = None if options.skills is None else load_skills(options.skills)
    if skills is not None and skills.skill_set.task != task:
        raise FovealError(f"{options.skills} holds skills of {skills.skill_set.task!r}, and the task is {task!r}")
    return out, Master(task, skills, options.ppo, options.seed)


def _options_class(preset: str) -> type:
    fields: list[Any] = [
        ("env", Env, None),
        (
            "skills",
            Annotated[Path | None, tyro.conf.arg(help="folder of cloned skills; without, scripted experts act")],
            None,
        ),
        ("out", Annotated[Path | None, tyro.conf.arg(help="folder of the master (default: masters/TASK)")], None),
        ("resume", Annotated[Path | None, tyro.conf.arg(help="folder of a master whose training was stopped")], None),
        ("preset", Annotated[str, tyro.conf.arg(help=f"starting point: {', '.join(MASTER_PRESETS)}")], preset),
        ("seed", Annotated[int, tyro.conf.arg(help="of everything random")], 0),
        ("workers", Annotated[int, tyro.conf.arg(help="processes that the arms are spread over")], available()),
        ("ppo", tyro.conf.OmitArgPrefixes[MasterConfig], master_config(preset)),
    ]
    return dataclasses.make_dataclass("TrainMaster", fields)
