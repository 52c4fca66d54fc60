"""Where a training of skills or of a master is kept until it is done."""

from __future__ import annotations

from pathlib import Path


def unfinished(folder: str | Path) -> Path:
    """Where the run is kept that is to become what ``folder`` will hold: beside it, until it is done."""
    path = Path(folder)
    return path.with_name(f"{path.name}.unfinished")
