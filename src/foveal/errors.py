"""The exception whose message is for users of foveal."""

from __future__ import annotations


class FovealError(Exception):
    """Something in the input, the files or the machine is wrong, and the message says what to do.

    The command line prints the message alone, without a traceback, and exits with status 2.
    """
