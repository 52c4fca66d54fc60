"""A bank of pictures on the training device, filled from a folder of photographs or from generated pictures.

Picture ``i`` of a source is a function of its seed and ``i`` alone. So a bank is described by how many pictures it has
drawn, and a resumed run rebuilds exactly the bank that it had.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.augmentations.folder import FolderPictures
from foveal.augmentations.generated import GeneratedPictures
from foveal.errors import FovealError

GENERATED = "generated"


class PictureSource(Protocol):
    """An endless, reproducible sequence of square pictures.

    Attributes:
        name: what to write into the record of a result.
    """

    name: str

    def draw(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pictures of these indices, (n, 3, size, size)."""
        ...


class PictureBank:
    """The latest ``count`` pictures of a source, held as ``uint8`` on one device.

    Args:
        sequence: where pictures come from.
        count: how many are held; at 84 pixels, a thousand take 21 MB.
        device: where they are held.

    Attributes:
        pictures: (count, 3, size, size) ``uint8``. ``hold`` writes into this tensor, which never moves.
        drawn: how many pictures were drawn from the source so far.
        source: the source's name, for the record of a result.
    """

    def __init__(self, sequence: PictureSource, count: int, device: torch.device | str = "cpu") -> None:
        if count < 1:
            raise FovealError(f"a bank holds at least one picture, got count={count}")
        self.sequence = sequence
        self.source = sequence.name
        self.drawn = count
        self.pictures = torch.from_numpy(sequence.draw(np.arange(count))).to(device)

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``n`` pictures drawn uniformly with replacement: (n, 3, size, size) ``float32`` in [0, 255].

        The generator lives on the bank's device.
        """
        index = torch.randint(len(self), (n,), generator=generator, device=self.pictures.device)
        return self.pictures.index_select(0, index).float()

    def hold(self, drawn: int) -> None:
        """Hold the latest of the source's first ``drawn`` pictures; only those that are not here yet are drawn.

        Raises:
            FovealError: those are fewer than the bank holds.
        """
        if drawn < len(self):
            raise FovealError(f"a bank of {len(self)} pictures cannot have drawn only {drawn}; was count changed?")
        known = self.drawn if drawn >= self.drawn else 0
        self._write(np.arange(max(drawn - len(self), known), drawn))
        self.drawn = drawn

    def _write(self, indices: NDArray[np.int64]) -> None:
        """Picture ``i`` lives in slot ``i % count``."""
        if not indices.size:
            return
        slots = torch.from_numpy(indices % len(self)).to(self.pictures.device)
        self.pictures[slots] = torch.from_numpy(self.sequence.draw(indices)).to(self.pictures.device)


def pictures(
    source: str | Path = GENERATED,
    size: int = 84,
    count: int = 1000,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> PictureBank:
    """A bank of pictures for overlays.

    Args:
        source: ``"generated"``, or a folder that holds images at any depth, such as Places365's.
        size: side of the square pictures in pixels.
        count: how many are held at a time.
        seed: of the choice of files, crops and generated pictures.
        device: where the bank lives: the device that trains.

    Raises:
        FovealError: the folder is missing, holds no image that can be read, or a number makes no sense.
    """
    if size < 8:
        raise FovealError(f"pictures are at least 8 pixels wide, got size={size}")
    if seed < 0:
        raise FovealError(f"a seed is not negative, got {seed}")
    sequence: PictureSource
    if source == GENERATED:
        sequence = GeneratedPictures(size, seed)
    else:
        sequence = FolderPictures(Path(source), size, seed)
    return PictureBank(sequence, count, device)
