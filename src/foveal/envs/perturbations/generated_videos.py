"""Generated videos for users without the benchmark's footage: drifting layers of textured leaves.

A layer has the statistics of natural images that matter to a convolutional network: dead leaves with power-law radii
(occlusion and scale invariance; Lee, Mumford and Huang, 2001) textured with 1/f noise of correlated colours (Baradad et
al., "Learning to see by looking at noise", NeurIPS 2021). Layers drift at different speeds, so that shapes appear,
disappear and pass each other.

``foveal.pictures.patterns`` draws stills for overlays. It shares no code with this module: its families are computed
for many pictures at a time in float32 and don't wrap around, and published results refer to the videos made here.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAMES = 500  # the longest episode at the benchmark's action repeats; longer ones begin again
LAYERS = 3
LEAVES = 180
MARGIN = 1.5  # width of a layer, which wraps around, over that of a frame

Layer = NDArray[np.float32]


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
    random = np.random.RandomState(list(seed))  # its streams never change between versions of NumPy
    width = round(MARGIN * size)
    time = np.arange(length)
    video = np.empty((length, 3, size, size), np.uint8)
    layers = [_layer(random, width, transparent=depth > 0) for depth in range(LAYERS)]
    paths = [_path(random, time, size) for _ in layers]
    light = 1.0 + 0.12 * np.sin(2 * np.pi * (time / random.uniform(60, 250) + random.rand()))
    for t in time:
        scene = _window(layers[0], paths[0][t], size)[:3]
        for layer, path in zip(layers[1:], paths[1:], strict=True):
            cut = _window(layer, path[t], size)
            scene += cut[3] * (cut[:3] - scene)
        video[t] = np.clip(scene * light[t], 0.0, 255.0)
    video.setflags(write=False)
    return video


def _layer(random: Any, width: int, *, transparent: bool) -> Layer:
    """(4, width, width): leaves in [0, 255] and their opacity in [0, 1]; opposite borders fit together."""
    noise = _noise(random, (4, width), exponent=random.uniform(1.0, 1.8))
    colors = _dead_leaves(random, width) + 28.0 * (noise[:1] + 0.4 * noise[1:4])
    cover = np.ones((1, width, width))
    if transparent:
        cover = np.clip(3.0 * _noise(random, (1, width), exponent=2.2) - 1.0, 0.0, 1.0)
    return np.concatenate([np.clip(colors, 0.0, 255.0), cover]).astype(np.float32)


def _noise(random: Any, shape: tuple[int, int], exponent: float) -> NDArray[np.float64]:
    """(channels, width, width) of periodic 1/f**exponent noise, mean 0 and standard deviation 1."""
    channels, width = shape
    frequency = np.hypot(np.fft.fftfreq(width)[:, None], np.fft.rfftfreq(width)[None])  # (width, width // 2 + 1)
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(random.normal(size=(channels, width, width)))
    noise = np.fft.irfft2(white / frequency**exponent, s=(width, width))
    return np.asarray(noise / noise.std(axis=(1, 2), keepdims=True))


def _dead_leaves(random: Any, width: int) -> NDArray[np.float64]:
    """(3, width, width) in [0, 255]: discs laid on each other, radii with density r**-3 as in photographs."""
    smallest, largest = width / 45, width / 2.5
    radii = (smallest**-2 + random.rand(LEAVES) * (largest**-2 - smallest**-2)) ** -0.5
    mean = random.uniform(60.0, 190.0, 3)
    shades = mean + random.normal(0.0, 45.0, (LEAVES, 1)) + random.normal(0.0, 22.0, (LEAVES, 3))
    centres = random.uniform(0.0, width, (LEAVES, 2))
    picture = np.empty((3, width, width))
    picture[:] = mean[:, None, None]
    grid = np.arange(width)
    for radius, shade, (y, x) in zip(radii, shades, centres, strict=True):
        down, across = _wrapped(grid - y, width), _wrapped(grid - x, width)
        rows, columns = np.flatnonzero(np.abs(down) <= radius), np.flatnonzero(np.abs(across) <= radius)
        inside = np.hypot(down[rows, None], across[None, columns]) <= radius
        block = np.ix_(np.arange(3), rows, columns)
        picture[block] = np.where(inside, shade[:, None, None], picture[block])
    return picture


def _wrapped(distance: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    return np.asarray((distance + width / 2) % width - width / 2)


def _path(random: Any, time: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """(T, 2): the corner of a layer's window at each frame, in pixels: a steady drift and a slow sway."""
    drift = random.normal(0.0, size / 120, 2)
    phase = time[:, None] / random.uniform(40, 160, 2) + random.rand(2)
    sway = random.uniform(0.0, size / 8, 2) * np.sin(2 * np.pi * phase)
    return np.asarray(random.uniform(0.0, size, 2) + time[:, None] * drift + sway)


def _window(layer: Layer, corner: NDArray[np.float64], size: int) -> Layer:
    """(4, size, size) of a layer that wraps around, its corner between pixels (bilinear)."""
    width = layer.shape[1]
    whole = np.floor(corner).astype(int)
    fy, fx = (corner - whole).astype(np.float32)
    rows, columns = (whole[0] + np.arange(size + 1)) % width, (whole[1] + np.arange(size + 1)) % width
    patch = layer[:, rows[:, None], columns]
    down = patch[:, :-1] + fy * (patch[:, 1:] - patch[:, :-1])
    across: Layer = down[:, :, :-1] + fx * (down[:, :, 1:] - down[:, :, :-1])
    return across
