"""``foveal data check``: what of the benchmarks' own data is in a folder, and whether it is whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands.verbs import parse
from foveal.envs.perturbations.inventory import Finding, inventory
from foveal.evaluation.layout import columns
from foveal.progress import watched


@dataclass(frozen=True)
class CheckOptions:
    """What of DMC-GB's colours and videos, DAVIS and Places is there; the exit status is 1 if something is broken.

    Attributes:
        folder: what --data names: DMC-GB's data folder, with DAVIS and Places in it if you have them.
    """

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]


def main(arguments: Sequence[str]) -> None:
    """Check a folder.

    Raises:
        SystemExit: with status 1, something is broken.
    """
    options: CheckOptions = parse("data", {"check": CheckOptions}, arguments)
    found = inventory(options.folder.expanduser(), _bar)
    print(table(found))
    broken = [line for finding in found for line in finding.broken]
    for line in broken:
        print(f"broken: {line}")
    if broken:
        raise SystemExit(1)


def table(found: Sequence[Finding]) -> str:
    """A line for each part."""
    head = ["data", "state", "there", "for"]
    rows = [[each.name, each.state, f"{each.found:,} of {each.wanted:,} {each.unit}", each.used_by] for each in found]
    return columns([head, *rows])


def _bar(files: Iterable[Path], total: int, what: str) -> Iterable[Path]:
    return watched(files, total, what, visible=total > 0, unit="file")
