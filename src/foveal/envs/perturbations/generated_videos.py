"""Generated videos for users without the benchmark's footage: drifting layers of textured leaves.

A layer has the statistics of natural images that matter to a convolutional network: dead leaves with power-law radii
(occlusion and scale invariance; Lee, Mumford and Huang, 2001) textured with 1/f noise of correlated colours (Baradad et
al., "Learning to see by looking at noise", NeurIPS 2021), both drawn by ``foveal.pictures.patterns``. Layers drift at
different speeds, so that shapes appear, disappear and pass each other.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from foveal.pictures.patterns import Floats, ellipse, fallen, noise, normal, uniform

FRAMES = 500  # the longest episode at the benchmark's action repeats; longer ones begin again
LAYERS = 3
LEAVES = 180
MARGIN = 1.5  # width of a layer, which wraps around, over that of a frame


class GeneratedVideos:
    """``count`` videos of (FRAMES, 3, size, size), always the same for one name.

    Args:
        name: videos of different names differ.
        count: how many.
        size: height and width of a frame, in pixels.
    """

    def __init__(self, name: str, count: int, size: int) -> None:
        self.name, self.count, self.size = name, count, size

    def __len__(self) -> int:
        return self.count

    def frames(self, index: int) -> NDArray[np.uint8]:
        """(FRAMES, 3, size, size) of the video at ``index``."""
        return generated_video((zlib.crc32(self.name.encode()), index), self.size)


@lru_cache(maxsize=16)
def generated_video(seed: tuple[int, int], size: int, length: int = FRAMES) -> NDArray[np.uint8]:
    """One video, (length, 3, size, size), the same for the same arguments."""
    rng = np.random.Generator(np.random.PCG64(list(seed)))  # the same whatever NumPy's default comes to be
    time = np.arange(length)
    video = np.empty((length, 3, size, size), np.uint8)
    layers = _layers(rng, round(MARGIN * size))
    paths = [_path(rng, time, size) for _ in layers]
    light = 1.0 + 0.12 * np.sin(2 * np.pi * (time / rng.uniform(60, 250) + rng.random()))
    for t in time:
        scene = _window(layers[0], paths[0][t], size)[:3]
        for layer, path in zip(layers[1:], paths[1:], strict=True):
            cut = _window(layer, path[t], size)
            scene += cut[3] * (cut[:3] - scene)
        video[t] = np.clip(scene * light[t], 0.0, 255.0)
    video.setflags(write=False)
    return video


def _layers(rng: np.random.Generator, width: int) -> Floats:
    """(LAYERS, 4, width, width): leaves in [0, 255] and their opacity in [0, 1]; opposite borders fit together."""
    texture = noise(rng, LAYERS, 4, width, 1.0, 1.8, stretched=0.0)
    colors = _leaves(rng, width) + 28.0 * (texture[:, :1] + 0.4 * texture[:, 1:])
    cover = np.clip(3.0 * noise(rng, LAYERS, 1, width, 2.2, 2.2, stretched=0.0) - 1.0, 0.0, 1.0)
    cover[0] = 1.0  # nothing is behind it
    return np.concatenate([np.clip(colors, 0.0, 255.0), cover], axis=1)


def _leaves(rng: np.random.Generator, width: int) -> Floats:
    """(LAYERS, 3, width, width) of discs in shades of 8 bits, not clipped."""
    counts, smallest = np.full(LAYERS, LEAVES), np.full(LAYERS, width / 45, np.float32)
    leaves = fallen(rng, counts, smallest, width / 2.5, width, shapes=[ellipse], flattest=1.0, wrap=True)
    mean = uniform(rng, 60.0, 190.0, (LAYERS, 1, 3))
    shades = mean + 45.0 * normal(rng, (LAYERS, LEAVES, 1)) + 22.0 * normal(rng, (LAYERS, LEAVES, 3))
    shades[:, :1] = mean  # of the leaf under all others
    return shades.reshape(-1, 3)[leaves.label].transpose(0, 3, 1, 2)


def _path(rng: np.random.Generator, time: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """(T, 2): the corner of a layer's window at each frame, in pixels: a steady drift and a slow sway."""
    drift = rng.normal(0.0, size / 120, 2)
    phase = time[:, None] / rng.uniform(40, 160, 2) + rng.random(2)
    sway = rng.uniform(0.0, size / 8, 2) * np.sin(2 * np.pi * phase)
    return np.asarray(rng.uniform(0.0, size, 2) + time[:, None] * drift + sway)


def _window(layer: Floats, corner: NDArray[np.float64], size: int) -> Floats:
    """(4, size, size) of a layer that wraps around, its corner between pixels (bilinear)."""
    width = layer.shape[1]
    whole = np.floor(corner).astype(int)
    fy, fx = (corner - whole).astype(np.float32)
    rows, columns = (whole[0] + np.arange(size + 1)) % width, (whole[1] + np.arange(size + 1)) % width
    patch = layer[:, rows[:, None], columns]
    down = patch[:, :-1] + fy * (patch[:, 1:] - patch[:, :-1])
    return down[:, :, :-1] + fx * (down[:, :, 1:] - down[:, :, :-1])
