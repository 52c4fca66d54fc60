"""``foveal hrl``: one row of evidence, from nothing to a success rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands.skills import read_policy
from foveal.skills.conditions import CONDITIONS
from foveal.skills.evidence import ROWS, RowOptions, run_row


@dataclass(frozen=True)
class HrlOptions:
    """Demonstrations, skills, master and success rate; or what that is compared with.

    Attributes:
        task: ur5e/bowl, ur5e/pick and so on.
        row: the method (see above).
        seed: of training.
        preset: paper, compact or debug.
        episodes: of each condition.
        on: conditions to evaluate under: training, far_starts, moved_camera, noisy_depth.
        augment: JSON file that foveal skills search wrote, or none; by default the preset's.
        work: demonstrations, skills and masters, which rows of the same task and seed share.
        out: results.
        workers: processes; 0 takes as many as there are cores.
        films: also write an mp4 of an episode that was solved and of one that was not.
    """

    task: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="ENV")]]
    row: str = "hrl-bc"
    seed: int = 0
    preset: str = "compact"
    episodes: int = 50
    on: tuple[str, ...] = field(default_factory=lambda: tuple(CONDITIONS))
    augment: Path | None = None
    work: Path = Path("runs/hrl")
    out: Path = Path("results/hrl-bc")
    workers: int = 0
    films: bool = False


def main(arguments: Sequence[str]) -> None:
    """Run a row, and say where its results are."""
    rows = "\n\n".join(f"{name}: {text}" for name, text in ROWS.items())
    options = tyro.cli(
        HrlOptions,
        args=arguments,
        prog="foveal hrl",
        description=f"Demonstrations, skills, master and success rate, or what that is compared with.\n\n{rows}",
    )
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.name not in {"on", "augment"}}
    given["augmentation"] = None if options.augment is None else read_policy(options.augment)
    path = run_row(RowOptions(**given, conditions=options.on))
    print(f"wrote {path}")
