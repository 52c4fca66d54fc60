"""Blocks of pictures, which are drawn together, sent together and replaced together."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK = 64
"""Pictures in a block."""


class Block(NamedTuple):
    """Consecutive pictures of a source.

    Attributes:
        pixels: (BLOCK, side, 3, side) ``uint8``: row, colour, column. Pictures that are not square are squeezed.
        aspects: (BLOCK,) ``float32``, width over height before they were squeezed.
    """

    pixels: NDArray[np.uint8]
    aspects: NDArray[np.float32]


def empty_block(side: int) -> Block:
    """Memory for one block of pictures of ``side`` pixels."""
    return Block(np.empty((BLOCK, side, 3, side), np.uint8), np.ones(BLOCK, np.float32))


class PictureSource(Protocol):
    """A reproducible sequence of pictures.

    Attributes:
        name: for the record of a result.
        distinct: number of different pictures, after which the sequence repeats itself; None if it never does.
    """

    name: str
    distinct: int | None

    def block(self, number: int) -> Block:
        """Pictures ``BLOCK * number`` and on, a function of the source's arguments and of ``number`` alone."""
        ...
