"""``--import``: modules of the user's own, loaded before names are looked up."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from foveal.errors import FovealError


def import_plugins(arguments: Sequence[str]) -> list[str]:
    """Import every module named by ``--import MODULE`` and return the other arguments.

    The current folder is searched too.

    Raises:
        FovealError: one can't be imported.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE")
    known, others = parser.parse_known_args(list(arguments))
    if known.modules and "" not in sys.path:
        sys.path.insert(0, "")
    for module in known.modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise FovealError(f"--import {module}: {error}") from error
    return others
