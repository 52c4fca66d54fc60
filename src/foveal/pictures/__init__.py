"""Pictures for overlays: photographs of a folder, or generated ones, in an order that depends on a seed.

Nothing here imports PyTorch, so that the process which draws pictures beside training starts quickly and stays small.
"""

from __future__ import annotations

from foveal.pictures.block import BLOCK, Block, PictureSource, empty_block
from foveal.pictures.prefetcher import Prefetcher
from foveal.pictures.source import GENERATED, open_source

__all__ = ["BLOCK", "GENERATED", "Block", "PictureSource", "Prefetcher", "empty_block", "open_source"]
