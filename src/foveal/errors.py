"""The exception whose message is for users of foveal."""

from __future__ import annotations

import importlib
from typing import Any


class FovealError(Exception):
    """Something in the input, the files or the machine is wrong, and the message says what to do.

    The command line prints the message alone, without a traceback, and exits with status 2.
    """


def require(module: str, message: str) -> Any:
    """A module that an extra brings.

    Raises:
        FovealError: it is not installed; the message, and which module is missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise FovealError(f"{message} ({error.name} is missing)") from error
