"""``foveal demos collect``: demonstrations of an arm's skills."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.commands.options import preset_of
from foveal.commands.verbs import options_class, parse
from foveal.skills.demos import DEMO_PRESETS, DemoOptions, collect, demo_options, task_of
from foveal.skills.workers import available


def main(arguments: Sequence[str]) -> None:
    """Collect, and say where."""
    options = parse("demos", {"collect": _collect_options(preset_of(arguments))}, arguments)
    out = options.out or Path("demos") / task_of(options.env)
    made = collect(options.env, out, options.demos, workers=options.workers, progress=True)
    print(f"{made.episodes} episodes, {made.steps} steps: {out}\nnext: foveal skills train {out}")


def _collect_options(preset: str) -> type:
    fields: list[Any] = [
        ("env", tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="ENV", help="such as ur5e/bowl")]]),
        ("out", Annotated[Path | None, tyro.conf.arg(help="new folder (default: demos/TASK)")], None),
        ("preset", Annotated[str, tyro.conf.arg(help=f"starting point: {', '.join(DEMO_PRESETS)}")], preset),
        ("workers", Annotated[int, tyro.conf.arg(help="processes")], available()),
        ("demos", tyro.conf.OmitArgPrefixes[DemoOptions], demo_options(preset)),
    ]
    text = "Scripted experts show the skills of a task, and what fails is kept; in Minari's HDF5 layout."
    return options_class("CollectDemos", text, fields)
