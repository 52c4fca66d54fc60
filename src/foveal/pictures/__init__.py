"""Pictures for overlays, in an order that a seed decides: photographs of a folder, or generated ones.

Nothing here imports PyTorch, so that the processes which draw pictures beside training start quickly and stay small.
"""

from __future__ import annotations

from foveal.pictures.ahead import Ahead
from foveal.pictures.block import BLOCK, Block, PictureSource, empty_block
from foveal.pictures.source import GENERATED, open_source

__all__ = ["BLOCK", "GENERATED", "Ahead", "Block", "PictureSource", "empty_block", "open_source"]
