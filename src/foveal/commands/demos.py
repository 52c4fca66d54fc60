"""``foveal demos collect``: demonstrations of an arm's skills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands.options import preset_of
from foveal.commands.verbs import parse
from foveal.machine.cores import available
from foveal.skills.demos import DemoOptions, collect, demo_options, task_of


@dataclass(frozen=True)
class CollectOptions:
    """Scripted experts show the skills of a task, and what fails is kept; in Minari's HDF5 layout.

    Presets bring defaults of their own: name one before --help.

    Attributes:
        env: such as ur5e/bowl.
        out: new folder (default: demos/TASK).
        resume: go on with the folder where the same command was stopped.
        preset: starting point: paper, compact or debug.
        workers: processes.
        demos: how demonstrations are made.
    """

    env: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="ENV")]] = tyro.MISSING
    out: Path | None = None
    resume: bool = False
    preset: str = "compact"
    workers: int = field(default_factory=available)
    demos: tyro.conf.OmitArgPrefixes[DemoOptions] = field(default_factory=demo_options)


def main(arguments: Sequence[str]) -> None:
    """Collect, and say where."""
    preset = preset_of(arguments)
    defaults = CollectOptions(preset=preset, demos=demo_options(preset))
    options: CollectOptions = parse("demos", {"collect": defaults}, arguments)
    out = options.out or Path("demos") / task_of(options.env)
    made = collect(options.env, out, options.demos, workers=options.workers, progress=True, resume=options.resume)
    print(f"{made.episodes} episodes, {made.steps} steps: {out}\nnext: foveal skills train {out}")
