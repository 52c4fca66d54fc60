"""``foveal list``: what can be chosen by name, a line each."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from foveal.auditing.adapters import ADAPTERS
from foveal.augmentations import AUGMENTATIONS
from foveal.bench.suites import load_suite, suite_names
from foveal.commands.plugins import import_plugins
from foveal.corruptions import CORRUPTIONS
from foveal.corruptions.streams import STREAMS
from foveal.envs import games
from foveal.envs.family import FAMILIES
from foveal.envs.perturbations import PERTURBATIONS
from foveal.errors import FovealError
from foveal.learners import LEARNERS
from foveal.methods import METHODS
from foveal.networks.encoders import ENCODERS
from foveal.registry import Registry, nearest
from foveal.saliency import SALIENCY

WIDEST = 120
"""Columns of text at most, however wide the terminal is."""
LINES = 3
"""Of an entry, where everything is listed."""
GYMNASIUM = "every environment with an RGB picture among its observations that is registered with Gymnasium, by its id"


def _entries(registry: Registry[Any]) -> Callable[[], dict[str, str]]:
    return lambda: {name: registry.about(name) for name in registry.names()}


def _changes() -> dict[str, str]:
    """Those of single frames and those that remember, as one."""
    return dict(sorted({**_entries(CORRUPTIONS)(), **_entries(STREAMS)()}.items()))


def _environments() -> dict[str, str]:
    """Every family with its tasks."""
    families = {f"{name}/": _family(name, FAMILIES.get(name)().names()) for name in FAMILIES.names()}
    return {**families, games.PREFIX: _games(), "others": GYMNASIUM}


def _family(prefix: str, tasks: Sequence[str]) -> str:
    return f"{FAMILIES.about(prefix)} {len(tasks)} tasks: {', '.join(tasks)}."


def _games() -> str:
    try:
        known = games.known_games()
    except FovealError as error:
        return str(error)
    return f"Atari 2600 (Bellemare et al. 2013). {len(known)} games: {', '.join(known)}."


def _suites() -> dict[str, str]:
    """Every suite that ships, with what it is."""
    return {name: load_suite(name).about for name in suite_names()}


KINDS: Mapping[str, Callable[[], dict[str, str]]] = {
    "learners": _entries(LEARNERS),
    "methods": _entries(METHODS),
    "encoders": _entries(ENCODERS),
    "augmentations": _entries(AUGMENTATIONS),
    "maps": _entries(SALIENCY),
    "perturbations": _entries(PERTURBATIONS),
    "corruptions": _changes,
    "adapters": _entries(ADAPTERS),
    "environments": _environments,
    "suites": _suites,
}
"""What there is to choose -> gives name -> a line about it."""
SAID = {
    "methods": ("Several are joined by +, such as sgqn+svea.",),
    "corruptions": ("Each at severities from 1 to 5, such as noise:3.",),
    "adapters": ("foveal audit finds by itself which one it needs.",),
}
"""What else there is to say of a kind."""


@dataclass(frozen=True)
class ListOptions:
    """What can be chosen by name: learners, methods, encoders, maps, perturbations, environments, suites and so on.

    Attributes:
        kind: learners, methods, encoders, augmentations, maps, perturbations, corruptions, adapters, environments or
            suites alone.
        plugins: module that registers your own.
    """

    kind: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="KIND")]] = "all"
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


def main(arguments: Sequence[str]) -> None:
    """Print the names, each with a line about it."""
    options = tyro.cli(ListOptions, args=import_plugins(arguments), prog="foveal list")
    if options.kind not in ("all", *KINDS):
        raise FovealError(f"there are no {options.kind!r}: {nearest(options.kind, list(KINDS))}")
    chosen = KINDS if options.kind == "all" else {options.kind: KINDS[options.kind]}
    lines = LINES if options.kind == "all" else None
    print("\n\n".join(_section(kind, entries(), lines) for kind, entries in chosen.items()))


def _section(kind: str, entries: Mapping[str, str], most: int | None) -> str:
    """A heading and its entries, wrapped behind the names, in at most so many lines each."""
    columns = min(shutil.get_terminal_size().columns, WIDEST)
    indent = max(len(name) for name in entries) + 4
    text = textwrap.TextWrapper(
        columns,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        max_lines=most,
        placeholder=f" ... (all: foveal list {kind})",
    )
    lines = [text.fill(f"  {name:{indent - 4}}  {about.replace('`', '')}") for name, about in entries.items()]
    return "\n".join([kind, *lines, *(f"  {said}" for said in SAID.get(kind, ()))])
