"""Drivers of other makers, which foveal's extras bring and nothing else needs."""

from __future__ import annotations

import importlib
from typing import Any

from foveal.errors import require


def optional(module: str, extra: str, what: str) -> Any:
    """A module that an extra brings.

    Args:
        module: its name.
        extra: of foveal, that installs it.
        what: needs it, as the beginning of a sentence.

    Raises:
        FovealError: it is not installed; names the extra.
    """
    require(module, f'{what} needs the extra "{extra}": pip install "foveal[{extra}]"')
    return importlib.import_module(module)
