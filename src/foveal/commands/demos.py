"""``foveal demos collect``: demonstrations of an arm's skills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands.options import verb
from foveal.skills.demos import DemoOptions, collect, task_of
from foveal.skills.workers import available


@dataclass(frozen=True)
class CollectOptions:
    """Scripted experts show the skills of a task; what fails is kept. Written in Minari's HDF5 layout.

    Attributes:
        env: ur5e/pick, ur5e/bowl, ur5e/tower or ur5e/breakfast.
        out: new folder (default: demos/TASK).
        workers: processes.
        demos: how they are made.
    """

    env: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="ENV")]]
    out: Path | None = None
    workers: int = field(default_factory=available)
    demos: tyro.conf.OmitArgPrefixes[DemoOptions] = field(default_factory=DemoOptions)


def main(arguments: Sequence[str]) -> None:
    """Collect, and say where."""
    _, rest = verb(arguments, "demos", {"collect": "scripted experts show the skills of a task"})
    options = tyro.cli(CollectOptions, args=rest, prog="foveal demos collect")
    out = options.out or Path("demos") / task_of(options.env)
    found = collect(options.env, out, options.demos, workers=options.workers, progress=True)
    print(f"{found.episodes} episodes, {found.steps} steps: {out}\nnext: foveal skills train {out}")
