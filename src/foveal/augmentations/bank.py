"""A bank of whole pictures on the training device; every sample is a new random crop of one.

Picture ``i`` of a source is a function of its seed and ``i`` alone. So the number of pictures drawn describes the
content of a bank, and a resumed run has exactly the pictures that it had before.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from foveal.augmentations.resized_crop import random_boxes, resized
from foveal.errors import FovealError
from foveal.pictures import BLOCK, GENERATED, Block, Prefetcher, open_source

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in how bright a pixel is (ITU-R BT.601), by which Atari games are made grey too."""


class PictureBank:
    """The latest ``count`` pictures of a source, ``uint8``, on one device, of which it gives random crops.

    The first block is drawn at once, so that a source that cannot be used fails here. The others come from a process
    that draws ahead of their use, started when it is first needed.

    Args:
        source: ``"generated"``, or a folder with images at any depth, such as Places365's.
        size: side of the crops in pixels.
        count: the largest number of pictures in memory. Of a folder with fewer, all are.
        detail: side of the pictures in memory over ``size``.
        seed: of the order of files, or of the generated pictures.
        device: where pictures are stored.
        channels: 3, or 1 for grey pictures.

    Attributes:
        pictures: (count, side, channels, side) ``uint8``: row, colour, column. ``advance`` writes into it; it never
            moves.
        channels: of a picture.
        aspects: (count,) width over height of the pictures before they were squeezed into squares.
        drawn: how many pictures were drawn from the source so far. Crops are of the latest of these.
        source: the source's name, for the record of a result.

    Raises:
        FovealError: the folder is missing, has no image that can be read, or pictures don't fit into memory.
    """

    def __init__(
        self,
        source: str | Path,
        size: int,
        count: int,
        detail: float = 1.5,
        seed: int = 0,
        device: torch.device | str = "cpu",
        channels: int = 3,
    ) -> None:
        self.size = size
        self.channels = channels
        self._seed = seed
        self._side = round(detail * size)
        self._origin = open_source(source, self._side, seed)
        self.source = self._origin.name
        distinct = self._origin.distinct
        # A folder that fits is drawn once; drawing it again would replace pictures by themselves.
        self._last = distinct if distinct is not None and distinct <= count else None
        self._allocate(self._last or count, device)
        self.drawn = 0
        self._prefetcher: Prefetcher | None = None
        self._latest = 0, self._origin.block(0)
        self.advance(min(BLOCK, len(self)))

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(
        self, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32, size: int | None = None
    ) -> Tensor:
        """``n`` random crops of pictures drawn uniformly with replacement: (n, channels, size, size) in [0, 255].

        Args:
            n: how many.
            generator: on the bank's device.
            dtype: of the arithmetic and the result.
            size: side of the crops; None for the bank's own.
        """
        place = torch.rand(n, generator=generator, device=self.pictures.device) * self._available
        index = torch.minimum(place.long(), self._available - 1)  # a product may round up to the bound
        boxes = random_boxes(self.aspects.index_select(0, index), generator)
        crops = resized(self.pictures.index_select(0, index), boxes, size or self.size, dtype)
        return crops.clamp_(max=255.0)  # weights that sum to 1 do so up to rounding

    def advance(self, drawn: int) -> None:
        """Keep the latest of the source's first ``drawn`` pictures, after waiting for those that are not drawn yet.

        Raises:
            FovealError: nothing more can be drawn.
        """
        drawn = min(drawn, self._last or drawn)
        known = self.drawn if drawn >= self.drawn else 0
        start = max(drawn - len(self), known)
        while start < drawn:
            stop = min(drawn, start // BLOCK * BLOCK + BLOCK)
            self._write(start, stop)
            start = stop
        self.drawn = drawn
        self._available.fill_(min(drawn, len(self)))

    def prefetch(self, drawn: int) -> None:
        """Begin to draw the pictures for ``advance(drawn)``, without waiting for them."""
        if min(drawn, self._last or drawn) > self.drawn and self.drawn % BLOCK == 0:
            self._stream(self.drawn // BLOCK)

    def close(self) -> None:
        """End the process that draws; it starts again when it is needed."""
        if self._prefetcher is not None:
            self._prefetcher.close()
            self._prefetcher = None

    def _allocate(self, count: int, device: torch.device | str) -> None:
        shape = (count, self._side, self.channels, self._side)
        try:
            self.pictures = torch.empty(shape, dtype=torch.uint8, device=device)
        except RuntimeError as error:
            raise FovealError(
                f"{count:,} overlay pictures of {self._side} pixels need {math.prod(shape) / 2**30:.1f} GiB "
                f"of memory on {device}, which are not free: lower training.overlay_count or training.overlay_detail"
            ) from error
        self.aspects = torch.ones(count, device=device)
        self._available = torch.zeros((), dtype=torch.int64, device=device)

    def _write(self, start: int, stop: int) -> None:
        """Write pictures of one block into their slots: picture ``i`` has slot ``i % count``."""
        block = self._block(start // BLOCK)
        slots = torch.arange(start, stop, device=self.pictures.device) % len(self)
        part = slice(start % BLOCK, start % BLOCK + stop - start)
        pixels = torch.from_numpy(block.pixels[part]).to(self.pictures.device)  # (n, side, 3, side)
        self.pictures[slots] = pixels if self.channels == 3 else grey(pixels)
        self.aspects[slots] = torch.from_numpy(block.aspects[part]).to(self.pictures.device)

    def _block(self, number: int) -> Block:
        """A block; the latest is kept, because only some of its pictures may be needed at a time."""
        if self._latest[0] != number:
            self._latest = number, self._stream(number).take()
        return self._latest[1]

    def _stream(self, number: int) -> Prefetcher:
        """The process that draws, with block ``number`` next."""
        if self._prefetcher is None or self._prefetcher.next != number:
            self.close()
            self._prefetcher = Prefetcher(self.source, self._side, self._seed, number)
        return self._prefetcher


def grey(pixels: Tensor) -> Tensor:
    """How bright ``uint8`` colours are, as consoles and grey screens have it: (n, H, 3, W) -> (n, H, 1, W)."""
    weighed = pixels.float() * pixels.new_tensor(LUMA, dtype=torch.float32)[:, None]  # (n, H, 3, W) * (3, 1)
    return weighed.sum(2, keepdim=True).round().to(torch.uint8)


def pictures(
    source: str | Path = GENERATED,
    size: int = 84,
    count: int = 1000,
    detail: float = 1.5,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> PictureBank:
    """A bank of ``count`` pictures for overlays, ready to be sampled.

    Args:
        source: ``"generated"``, or a folder with images at any depth, such as Places365's.
        size: side of the crops in pixels.
        count: the largest number of pictures in memory. Of a folder with fewer, all are.
        detail: side of the pictures in memory over ``size``: with 1.5, crops of at least 40 % of a picture's area are
            as sharp as those of the file. A picture takes ``3 * (detail * size) ** 2`` bytes.
        seed: of the order of files, or of the generated pictures.
        device: of the bank: the device that trains.

    Raises:
        FovealError: the folder is missing, has no image that can be read, or a number is out of range.
    """
    if size < 8:
        raise FovealError(f"pictures are at least 8 pixels wide, got size={size}")
    if count < 1:
        raise FovealError(f"a bank holds at least one picture, got count={count}")
    if not 1 <= detail <= 8:
        raise FovealError(f"detail is between 1 and 8, got {detail}")
    if seed < 0:
        raise FovealError(f"a seed is not negative, got {seed}")
    bank = PictureBank(source, size, count, detail, seed, device)
    bank.advance(count)
    bank.close()
    return bank
