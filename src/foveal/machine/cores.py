"""How much of the processor is this process's to use."""

from __future__ import annotations

import os


def available() -> int:
    """Processor cores that this process may use: where the system can say so, those it is confined to."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
