"""Endless generated pictures for overlays, where no folder of photographs is at hand.

The published protocol uses Places365 instead, so results that were obtained with these pictures say so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foveal.pictures.block import BLOCK, Block, empty_block
from foveal.pictures.patterns import FAMILIES, Floats, noise, normal, uniform


class GeneratedPictures:
    """Random compositions of the families in ``patterns``, with random light, contrast and sharpness; all are square.

    Args:
        side: of the pictures in pixels.
        seed: a block depends on the seed, the side and its number alone.
    """

    name = "generated"
    distinct: int | None = None

    def __init__(self, side: int, seed: int) -> None:
        self.side = side
        self.seed = seed

    def block(self, number: int) -> Block:
        """Pictures ``BLOCK * number`` and on."""
        rng = np.random.default_rng([self.seed, number])
        block = empty_block(self.side)
        block.pixels[:] = _develop(rng, _compose(rng, BLOCK, self.side)).transpose(0, 2, 1, 3)
        return block


def _layers(rng: np.random.Generator, n: int, size: int) -> Floats:
    """One picture each of a random family: (n, 3, size, size)."""
    family = rng.choice(len(FAMILIES), n, p=[share for _, share in FAMILIES])
    layers = np.empty((n, 3, size, size), np.float32)
    for number, (draw, _) in enumerate(FAMILIES):
        which = np.flatnonzero(family == number)
        if len(which):
            layers[which] = draw(rng, len(which), size)
    return layers


def _compose(rng: np.random.Generator, n: int, size: int) -> Floats:
    """Half of the pictures are one layer; the others two, side by side along a ragged border or blended."""
    pictures = _layers(rng, n, size)
    mixed = np.flatnonzero(rng.random(n) < 0.5)
    if len(mixed) == 0:
        return pictures
    count = len(mixed)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    angle = uniform(rng, 0, 2 * np.pi, (count, 1, 1))
    tilt = uniform(rng, 0, 3, (count, 1, 1)) * (np.cos(angle) * axis + np.sin(angle) * axis[:, None])
    sharpness = np.exp(uniform(rng, -0.5, 4, (count, 1, 1)))
    height = noise(rng, count, 1, size, 1.3, 2.2)[:, 0] + tilt + 0.5 * normal(rng, (count, 1, 1))
    mask = (1 / (1 + np.exp(-np.clip(sharpness * height, -30, 30))))[:, None]
    pictures[mixed] = mask * pictures[mixed] + (1 - mask) * _layers(rng, count, size)
    return pictures


def _develop(rng: np.random.Generator, pictures: Floats) -> NDArray[np.uint8]:
    """Uneven light, some blur, then the brightness and contrast of all kinds of photographs, in 8 bits."""
    n, _, size, _ = pictures.shape
    strength = uniform(rng, 0.0, 0.35, (n, 1, 1, 1)) * (rng.random((n, 1, 1, 1)) < 0.6)
    pictures = pictures * np.exp(strength * noise(rng, n, 1, size, 2.0, 2.8))
    pictures = _blur(pictures, uniform(rng, 0.0, 1.0, (n, 1, 1, 1)))
    mean, deviation = pictures.mean(axis=(1, 2, 3), keepdims=True), pictures.std(axis=(1, 2, 3), keepdims=True)
    contrast = uniform(rng, 0.08, 0.32, (n, 1, 1, 1))
    brightness = np.clip(0.46 + 0.13 * normal(rng, (n, 1, 1, 1)), 0.15, 0.85)
    pictures = brightness + (pictures - mean) * contrast / (deviation + 0.02)
    return np.round(np.clip(pictures, 0.0, 1.0) * 255).astype(np.uint8)


def _blur(pictures: Floats, strength: Floats) -> Floats:
    """A [1, 2, 1] / 4 filter along both axes, mixed in by ``strength`` in [0, 1]."""
    padded = np.pad(pictures, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    down = 0.25 * (padded[:, :, :-2] + padded[:, :, 2:]) + 0.5 * padded[:, :, 1:-1]
    soft = 0.25 * (down[..., :-2] + down[..., 2:]) + 0.5 * down[..., 1:-1]
    return pictures + strength * (soft - pictures)
