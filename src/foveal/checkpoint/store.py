"""The checkpoints of a run: numbered by step, the previous good one kept, the best one apart."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from foveal.checkpoint import files
from foveal.checkpoint.files import DamagedCheckpoint
from foveal.checkpoint.folder import KIND, Checkpoint, Segment, load, save
from foveal.checkpoint.manifest import read_manifest
from foveal.errors import FovealError

logger = logging.getLogger(__name__)


class CheckpointStore:
    """``RUN/checkpoints/000012000/`` and so on, and ``RUN/best/``. Only one process at a time may write to a run.

    Args:
        run: the run's folder.
        keep: how many numbered checkpoints stay, at least 2: the newest, and an older one in case that gets damaged.
            Replay segments that they share take disk space once.
        kind: what these are checkpoints of.

    Raises:
        FovealError: ``keep`` is below 2.
    """

    def __init__(self, run: str | Path, keep: int = 2, kind: str = KIND) -> None:
        if keep < 2:
            raise FovealError(f"keep must be at least 2, not {keep}: an older checkpoint stands in for a damaged one")
        self.folder = Path(run).absolute() / "checkpoints"
        self.best_folder = Path(run).absolute() / "best"
        self.keep = keep
        self.kind = kind
        self._parent: Path | None = None  # the checkpoint whose content is known to be good

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal() and path.is_dir())

    def path(self, step: int) -> Path:
        """The folder of a step's checkpoint."""
        return self.folder / f"{step:09d}"

    def save(
        self,
        step: int,
        tensors: Mapping[str, torch.Tensor],
        state: Mapping[str, Any],
        *,
        segments: Iterable[Segment] = (),
    ) -> Path:
        """Write the checkpoint of ``step``, and only then delete those beyond ``keep``.

        Sealed segments of the checkpoint before it are linked, not written.

        Raises:
            FovealError: as for ``save``, or there is a checkpoint of a later step.
        """
        steps = self._recovered_steps()
        if steps and step < steps[-1]:
            raise FovealError(
                f"{self.folder} already holds step {steps[-1]}, and this is step {step}: resume that run, "
                "or give this one a folder of its own"
            )
        written = save(
            self.path(step), tensors, state, segments=segments, kind=self.kind, link_from=self._good_parent()
        )
        self._parent = written
        self._clean()
        return written

    def latest(self, *, segments: bool = True) -> Checkpoint | None:
        """The newest checkpoint that is undamaged, or None where the run has none.

        A damaged one is reported in the log and set aside as ``NUMBER.damaged``.

        Args:
            segments: False skips the replay memory, without a check.

        Raises:
            FovealError: all are damaged, or one can't be read for another reason: a newer format, permissions.
        """
        damage = None
        for step in reversed(self._recovered_steps()):
            try:
                checkpoint = load(self.path(step), kind=self.kind, segments=segments)
            except DamagedCheckpoint as error:
                damage = error
                logger.warning("%s; trying the one before it", error)
                self._set_aside(self.path(step))
                continue
            self._parent = checkpoint.folder
            return checkpoint
        if damage is not None:
            raise FovealError(f"no checkpoint in {self.folder} is undamaged; the oldest: {damage}") from damage
        return None

    def save_best(self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> Path:
        """Replace the best checkpoint, which has no replay memory."""
        return save(self.best_folder, tensors, state, kind=self.kind)

    def best(self) -> Checkpoint:
        """The best checkpoint.

        Raises:
            FovealError: there is none yet, or it is damaged.
        """
        return load(self.best_folder, kind=self.kind)

    def _recovered_steps(self) -> list[int]:
        try:
            files.recover_previous(self.folder)
        except OSError as error:
            raise FovealError(f"can't write to {self.folder}: {error.strerror}; check its permissions") from error
        return self.steps()

    def _good_parent(self) -> Path | None:
        """The last checkpoint written or read here, unless it has been deleted or damaged since."""
        if self._parent is None:
            return None
        try:
            read_manifest(self._parent, self.kind)
        except (FovealError, OSError):
            return None
        return self._parent

    def _clean(self) -> None:
        for step in self.steps()[: -self.keep]:
            files.remove_folder(self.path(step))
        for leftover in self.folder.glob(".*.partial"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)

    def _set_aside(self, folder: Path) -> None:
        aside = folder.with_name(f"{folder.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            os.rename(folder, aside)
        except OSError as error:
            logger.warning("can't rename %s to %s: %s", folder, aside, error.strerror)
