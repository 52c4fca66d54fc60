"""Settings of the C library's memory allocator, to keep memory that training will need again in a moment."""

from __future__ import annotations

import ctypes

KEPT = 2**30  # bytes
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers of these settings, malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep up to 1 GiB that was freed, for this process.

    By default it gives large blocks back to the kernel, which clears every page when they are needed again: hundreds of
    thousands of page faults in ten updates of pixel policies. Peak memory is the same.

    Returns:
        Whether it was done; the C libraries of macOS, Windows and musl have no such setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function; no such library, in the ways of each platform
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEPT)) and bool(mallopt(_MMAP_THRESHOLD, KEPT))
