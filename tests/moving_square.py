"""Films whose task is known: a square that moves over a texture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 48
SQUARE = 10


def film(count: int = 80, side: int = SIDE, pan: int = 0, noise: float = 3.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(N, 3, side, side) ``uint8`` and (N, side, side) bool: frames of a square on a Lissajous curve, and where it is.

    Args:
        count: of frames.
        side: of frames.
        pan: pixels that the background moves by in each frame.
        noise: standard deviation of every pixel, in levels.
        seed: of texture and noise.
    """
    random = np.random.default_rng(seed)
    texture = random.uniform(0, 200, (3, side, side))
    frames, masks = np.zeros((count, 3, side, side)), np.zeros((count, side, side), bool)
    for step in range(count):
        row, column = ((side - SQUARE) * (0.5 + 0.5 * np.sin([0.23 * step, 0.37 * step]))).astype(int)
        masks[step, row : row + SQUARE, column : column + SQUARE] = True
        frames[step] = np.where(masks[step], 245.0, np.roll(texture, pan * step, 2))
    frames += random.normal(0, noise, frames.shape)
    return torch.from_numpy(np.clip(frames, 0, 255).astype(np.uint8)), torch.from_numpy(masks)


def overlap(mine: Tensor, theirs: Tensor) -> float:
    """Intersection over union, over all frames together."""
    return float((mine & theirs).sum() / (mine | theirs).sum())


def write_frames(folder: Path, pixels: Tensor) -> Path:
    """One PNG for each frame, named by its number."""
    folder.mkdir()
    for number, frame in enumerate(pixels):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / f"{number:06d}.png")
    return folder


def write_masks(folder: Path, masks: dict[str, Tensor]) -> Path:
    """One PNG for each mask."""
    folder.mkdir(exist_ok=True)
    for name, mask in masks.items():
        Image.fromarray((mask.numpy() * 255).astype(np.uint8)).save(folder / f"{name}.png")
    return folder
