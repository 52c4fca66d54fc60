"""``--import``: modules of the user's own, loaded before names are looked up."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from foveal import registry


def import_plugins(arguments: Sequence[str]) -> list[str]:
    """Import every module named by ``--import MODULE`` and return the other arguments.

    Raises:
        FovealError: one can't be imported.
    """
    modules, others = plugins_in(arguments)
    registry.import_plugins(modules)
    return others


def plugins_in(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Modules that ``--import`` names, and the other arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--import", dest="modules", action="append", default=[])
    known, others = parser.parse_known_args(list(arguments))
    return known.modules, others
