"""Cloning that was stopped: what an epoch leaves behind, and how it goes on; and where such runs are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal import checkpoint
from foveal.checkpoint import CheckpointStore
from foveal.errors import FovealError

CLONING = "foveal.skills.run"


def unfinished(folder: str | Path) -> Path:
    """Where the run is kept that is to become what ``folder`` will hold: beside it, until it is done."""
    path = Path(folder)
    return path.with_name(f"{path.name}.unfinished")


class CloningRun:
    """A folder with a checkpoint of every epoch.

    Args:
        folder: the run's.
        about: what a run must have in common with the one that it goes on with, by name; JSON values.
    """

    def __init__(self, folder: str | Path, about: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self._about = dict(about)
        self._store = CheckpointStore(folder, kind=CLONING)

    def load(self) -> dict[str, Any] | None:
        """What ``save`` was given after the last good epoch; None where there was none.

        Raises:
            FovealError: the run was about something else, or all of its checkpoints are damaged.
        """
        held = self._store.latest()
        if held is None:
            return None
        about = held.state["about"]
        others = [name for name, value in self._about.items() if about.get(name) != value]
        if others:
            raise FovealError(
                f"{self.folder} holds cloning with other {', '.join(others)}: give the same options as then, or "
                "delete that folder"
            )
        return dict(checkpoint.join(held.tensors, held.state["run"]))

    def save(self, epoch: int, state: Mapping[str, Any]) -> None:
        """Keep what the epochs after this one depend on: nested JSON values, tensors and arrays."""
        tensors, described = checkpoint.split(state, "run")
        self._store.save(epoch, tensors, {"about": self._about, "run": described})
