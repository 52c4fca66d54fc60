"""Families of random pictures with properties of photographs: edges at every scale, 1/f spectra, occlusion.

The families are those that replace photographs well in "Learning to See by Looking at Noise" (Baradad et al., NeurIPS
2021): dead leaves with power-law radii, coloured 1/f noise, and simple structured patterns. Each is a function
``(rng, n, size) -> (n, 3, size, size)`` ``float32``, roughly in [0, 1] and not clipped, that computes many pictures at
a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Family = Callable[[np.random.Generator, int, int], Floats]
Metric = Callable[[Floats, Floats], Floats]


def uniform(rng: np.random.Generator, low: float, high: float, shape: int | tuple[int, ...]) -> Floats:
    """``float32`` numbers, uniform in [low, high)."""
    return rng.random(shape, np.float32) * np.float32(high - low) + np.float32(low)


def normal(rng: np.random.Generator, shape: int | tuple[int, ...]) -> Floats:
    """``float32`` standard normal numbers."""
    return rng.standard_normal(shape, np.float32)


# Colours of photographs differ most in lightness, then between orange and blue, least between green and magenta
# (Ruderman et al. 1998, "Statistics of cone responses to natural images").
TINTS = np.array([[1.0, 0.1, -1.1], [0.4, -0.8, 0.4]], np.float32)


def tint(rng: np.random.Generator, n: int, k: int, most: float) -> Floats:
    """``k`` deviations from grey for each of ``n`` pictures, (n, k, 3); most pictures are pale, some are gaudy."""
    strength = most * uniform(rng, 0.05, 1.0, (n, 1, 1)) ** 2
    return strength * normal(rng, (n, k, 2)) @ TINTS


def palette(rng: np.random.Generator, n: int, k: int) -> Floats:
    """``k`` colours for each of ``n`` pictures, (n, k, 3), around a colour of the picture's own."""
    mean = 0.5 + 0.15 * normal(rng, (n, 1, 1)) + tint(rng, n, 1, 0.2)
    lightness = uniform(rng, 0.08, 0.35, (n, 1, 1)) * normal(rng, (n, k, 1))
    return mean + lightness + tint(rng, n, k, 0.25)


def noise(
    rng: np.random.Generator, n: int, channels: int, size: int, low: float, high: float, *, stretched: float = 1.2
) -> Floats:
    """Gaussian fields (n, channels, size, size) of variance 1 and amplitude spectrum 1 / f ** alpha.

    ``alpha`` is uniform in [low, high) for each picture, which is also stretched in a random direction, by up to e to
    the power of ``stretched``. Opposite borders fit together.
    """
    fy = np.fft.fftfreq(size).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(size).astype(np.float32)
    angle = uniform(rng, 0, np.pi, (n, 1, 1))
    stretch = np.exp(uniform(rng, 0, 1, (n, 1, 1)) ** 3 * stretched)
    along, across = np.cos(angle) * fx + np.sin(angle) * fy, np.cos(angle) * fy - np.sin(angle) * fx
    frequency = np.sqrt((along * stretch) ** 2 + (across / stretch) ** 2)
    frequency[:, 0, 0] = np.inf  # no constant part
    amplitude = frequency ** -uniform(rng, low, high, (n, 1, 1))
    spectrum = normal(rng, (n, channels, size, len(fx), 2)).view(np.complex64)[..., 0] * amplitude[:, None]
    field: Floats = np.fft.irfft2(spectrum, s=(size, size))
    return field / (field.std(axis=(2, 3), keepdims=True) + 1e-6)


def plane(rng: np.random.Generator, n: int, size: int, warp: float) -> tuple[Floats, Floats]:
    """Coordinates x and y in [0, 1], each (n, size, size), distorted smoothly by up to about ``warp``."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    bend = noise(rng, n, 2, size, 1.6, 2.4) * uniform(rng, 0, warp, (n, 1, 1, 1)) ** 2 / max(warp, 1e-6)
    return axis + bend[:, 0], axis[:, None] + bend[:, 1]


def paint(values: Floats, colours: Floats) -> Floats:
    """Colour ramps: values (n, size, size) run through the colours (n, k, 3) from 0 to 1, linearly between them."""
    n, k, _ = colours.shape
    place = np.clip(values, 0.0, 1.0) * np.float32(k - 1)
    low = np.minimum(place.astype(np.int64), k - 2)
    part = (place - low)[..., None]
    picture = np.arange(n)[:, None, None]
    ramp = colours[picture, low] * (1 - part) + colours[picture, low + 1] * part
    return ramp.transpose(0, 3, 1, 2).astype(np.float32)


def coloured_noise(rng: np.random.Generator, n: int, size: int) -> Floats:
    """1/f ** alpha noise, alpha in 1..2, in three channels that mostly go together."""
    fields = noise(rng, n, 3, size, 1.0, 2.0)
    weights = tint(rng, n, 3, 0.6).transpose(0, 2, 1)  # (n, colour, field)
    weights[:, :, 0] += 1.0  # the first field moves all three colours alike
    mix = uniform(rng, 0.1, 0.3, (n, 1, 1)) * weights
    mixed = (mix @ fields.reshape(n, 3, -1)).reshape(fields.shape)
    return palette(rng, n, 1).transpose(0, 2, 1)[..., None] + mixed


def marble(rng: np.random.Generator, n: int, size: int) -> Floats:
    """Level lines of smooth noise through a colour ramp: veins, terraces, clouds."""
    field = noise(rng, n, 1, size, 1.2, 2.2)[:, 0]
    levels = uniform(rng, 0.3, 3.0, (n, 1, 1))
    ridged = np.where(rng.random((n, 1, 1)) < 0.5, np.abs(field), field)
    return paint(0.5 + 0.5 * np.sin(levels * ridged * 2.0), palette(rng, n, 4))


def waves(rng: np.random.Generator, n: int, size: int) -> Floats:
    """Gradients, stripes, checks and rings, warped, through a colour ramp."""
    x, y = plane(rng, n, size, 0.15)
    angle = uniform(rng, 0, np.pi, (n, 1, 1))
    pitch = np.exp(uniform(rng, np.log(0.3), np.log(14.0), (n, 1, 1)))  # periods in a picture; less than 1: a gradient
    u = pitch * (np.cos(angle) * x + np.sin(angle) * y)
    v = pitch * (np.cos(angle) * y - np.sin(angle) * x)
    rings = pitch * np.hypot(x - uniform(rng, 0, 1, (n, 1, 1)), y - uniform(rng, 0, 1, (n, 1, 1)))
    layout = rng.integers(0, 4, (n, 1, 1))  # two in four are stripes
    phase = np.where(layout == 0, rings, u) + uniform(rng, 0, 1, (n, 1, 1))
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * phase)
    checks = 0.5 + 0.5 * np.sin(2 * np.pi * phase) * np.sin(2 * np.pi * v)
    value = np.where(layout == 1, checks, wave)
    hardness = np.exp(uniform(rng, 0.0, 3.0, (n, 1, 1)))  # from a sine to nearly a square wave
    return paint(0.5 + np.clip((value - 0.5) * hardness, -0.5, 0.5), palette(rng, n, 4))


def julia(rng: np.random.Generator, n: int, size: int) -> Floats:
    """Escape times of quadratic Julia sets with constants near the Mandelbrot set's boundary."""
    x, y = plane(rng, n, size, 0.1)
    zoom = np.exp(uniform(rng, np.log(0.8), np.log(3.2), (n, 1, 1)))
    z = ((x - 0.5) * zoom + 1j * (y - 0.5) * zoom).astype(np.complex64)
    z += (0.5 * (normal(rng, (n, 1, 1)) + 1j * normal(rng, (n, 1, 1)))).astype(np.complex64)
    turn = uniform(rng, 0, 2 * np.pi, (n, 1, 1))
    cardioid = 0.5 * np.exp(1j * turn) - 0.25 * np.exp(2j * turn)
    constant = (cardioid * uniform(rng, 1.0, 1.12, (n, 1, 1))).astype(np.complex64)
    time = np.zeros((n, size, size), np.float32)
    for _ in range(24):
        z = z * z + constant
        inside = np.abs(z) < 4.0
        time += inside
        z = np.where(inside, z, np.complex64(4.0))  # stays outside, and finite
    return paint((time / 24) ** uniform(rng, 0.4, 1.2, (n, 1, 1)), palette(rng, n, 5))


@dataclass(frozen=True)
class Patches:
    """Pictures cut into patches, which are numbered through all pictures.

    Attributes:
        label: (n, size, size), which patch a pixel belongs to.
        picture: (patches,), which picture a patch belongs to.
        x, y, radius: (patches,), a centre and a size, in pixels.
    """

    label: NDArray[np.int64]
    picture: NDArray[np.int64]
    x: Floats
    y: Floats
    radius: Floats


def fill(rng: np.random.Generator, patches: Patches) -> Floats:
    """Give every patch a colour and a shading, and some of them a texture."""
    n, size, _ = patches.label.shape
    many = len(patches.picture)
    # Colours near six that the picture has, rather than any.
    main = palette(rng, n, 6)[patches.picture, rng.integers(0, 6, many)]  # (patches, 3)
    colour = main + 0.05 * normal(rng, (many, 3))
    slope = 0.12 * uniform(rng, 0, 1, n)[patches.picture][:, None] * normal(rng, (many, 2))
    rough = uniform(rng, 0.0, 0.3, n)[patches.picture] * (rng.random(many) < 0.5)
    textures = np.where(rng.random((n, 1, 1)) < 0.3, _grating(rng, n, size), noise(rng, n, 1, size, 0.3, 1.4)[:, 0])

    row, column = np.arange(size)[:, None], np.arange(size)
    label = patches.label
    across = (column - patches.x[label]) / patches.radius[label]
    down = (row - patches.y[label]) / patches.radius[label]
    shade = np.clip(slope[label, 0] * across + slope[label, 1] * down, -0.4, 0.4)
    # Every patch shows another part of its picture's texture.
    shift = rng.integers(0, size, (2, many))
    texture = textures[np.arange(n)[:, None, None], (row + shift[0][label]) % size, (column + shift[1][label]) % size]
    value = shade + rough[label] * texture
    return colour[label].transpose(0, 3, 1, 2) + value[:, None].astype(np.float32)


def _grating(rng: np.random.Generator, n: int, size: int) -> Floats:
    """Fine stripes (n, size, size) with whole periods, so that they can be shifted cyclically."""
    axis = np.arange(size, dtype=np.float32) / size
    kx, ky = rng.integers(-size // 5, size // 5 + 1, (2, n, 1, 1)).astype(np.float32)
    return np.sin(2 * np.pi * (kx * axis + ky * axis[:, None])).astype(np.float32)


def voronoi(rng: np.random.Generator, n: int, size: int) -> Floats:
    """Cells around random points, with straight or wobbly borders."""
    x, y = plane(rng, n, size, 0.12)
    cells = 48
    points = uniform(rng, 0, 1, (n, cells, 2))
    used = np.exp(uniform(rng, np.log(4), np.log(cells), (n, 1)))
    points[np.arange(cells) >= used] = 9.0  # far away: this picture has fewer cells
    blocky = rng.random((n, 1, 1)) < 0.3
    label = np.zeros((n, size, size), np.int64)
    nearest = np.full((n, size, size), np.inf, np.float32)
    for cell in range(cells):  # one cell of all pictures at a time: all of them at once would not fit the cache
        dx, dy = x - points[:, cell, 0, None, None], y - points[:, cell, 1, None, None]
        distance = np.where(blocky, np.maximum(np.abs(dx), np.abs(dy)), np.sqrt(dx * dx + dy * dy))
        label[distance < nearest] = cell
        np.minimum(nearest, distance, out=nearest)
    label += cells * np.arange(n)[:, None, None]
    picture = np.repeat(np.arange(n), cells)
    centre = points.reshape(-1, 2) * size
    radius = (size / np.sqrt(used)).astype(np.float32)[picture, 0]
    return fill(rng, Patches(label, picture, centre[:, 0], centre[:, 1], radius))


def ellipse(u: Floats, v: Floats) -> Floats:
    """The square of a length, less than 1 inside the unit disc."""
    return u * u + v * v


# Shapes by the length of (u, v) in their own metric; a point is inside where it is less than 1.
SHAPES: tuple[Metric, ...] = (
    ellipse,
    ellipse,  # twice as often as the others
    lambda u, v: np.maximum(np.abs(u), np.abs(v)) * 1.2,  # rectangle
    lambda u, v: np.maximum(np.abs(u) * 0.87 + v * 0.5, -v) * 1.6,  # triangle
)


def dead_leaves(rng: np.random.Generator, n: int, size: int) -> Floats:
    """Shapes with power-law radii that hide one another."""
    largest = 0.45 * size
    smallest = np.exp(uniform(rng, np.log(0.025 * size), np.log(0.12 * size), n))
    # Enough leaves to cover a picture about four times: the mean of r ** 2 under r ** -3 between a and b.
    mean_square = np.log(largest / smallest) * 2 / (smallest**-2 - largest**-2)
    counts = np.ceil(4 * size**2 / (np.pi * 0.6 * mean_square)).astype(np.int64)
    return fill(rng, fallen(rng, counts, smallest, largest, size))


def fallen(
    rng: np.random.Generator,
    counts: NDArray[np.int64],
    smallest: Floats,
    largest: float,
    size: int,
    *,
    shapes: Sequence[Metric] = SHAPES,
    flattest: float = 0.35,
    wrap: bool = False,
) -> Patches:
    """Leaves that have fallen on each other; the oldest of each picture lies under all others, everywhere.

    Radii have a density of r ** -3, as objects in photographs.

    Args:
        rng: of everything.
        counts: (n,), leaves of each picture.
        smallest: (n,) ``float32``, the least radius in each picture, in pixels.
        largest: radius, in pixels.
        size: of the pictures, in pixels.
        shapes: any of which a leaf may have.
        flattest: the least height of a leaf over its width.
        wrap: whether opposite borders fit together.
    """
    n = len(counts)
    picture = np.repeat(np.arange(n), counts)
    many = len(picture)
    inverse = rng.random(many, np.float32)  # inverse transform sampling of the radius
    least = smallest[picture]
    radius = (least**-2 * (1 - inverse) + largest**-2 * inverse) ** -0.5
    beyond = 0 if wrap else 3  # pixels from the border at which the middle of a leaf may lie
    x, y = uniform(rng, -beyond, size + beyond, many), uniform(rng, -beyond, size + beyond, many)
    angle, flat = uniform(rng, 0, np.pi, many), uniform(rng, flattest, 1.0, many)
    shape = rng.integers(0, len(shapes), many)
    first = np.cumsum(counts) - counts
    label = np.broadcast_to(first[:, None, None], (n, size, size)).reshape(-1).copy()
    half = 2 ** np.ceil(np.log2(np.maximum(radius, 1.0)))  # half the window a leaf is drawn in, a power of two
    for reach in np.unique(half):
        offset = np.arange(-reach, reach + 1).astype(np.int64)
        for kind, metric in enumerate(shapes):
            which = np.flatnonzero((half == reach) & (shape == kind))
            row = np.round(y[which])[:, None].astype(np.int64) + offset  # (leaves, window)
            column = np.round(x[which])[:, None].astype(np.int64) + offset
            dy = ((row - y[which, None]) / radius[which, None]).astype(np.float32)[:, :, None]
            dx = ((column - x[which, None]) / radius[which, None]).astype(np.float32)[:, None, :]
            cos, sin = np.cos(angle[which, None, None]), np.sin(angle[which, None, None])
            inside = metric(cos * dx + sin * dy, (cos * dy - sin * dx) / flat[which, None, None]) < 1.0
            if wrap:
                row, column = row % size, column % size
            inside &= ((row >= 0) & (row < size))[:, :, None] & ((column >= 0) & (column < size))[:, None, :]
            leaf, down, across = np.nonzero(inside)
            pixel = (picture[which[leaf]] * size + row[leaf, down]) * size + column[leaf, across]
            np.maximum.at(label, pixel, which[leaf])  # a later leaf lies on an earlier one
    return Patches(label.reshape(n, size, size), picture, x, y, radius)


# How often each family is drawn.
FAMILIES: tuple[tuple[Family, float], ...] = (
    (dead_leaves, 0.40),
    (coloured_noise, 0.18),
    (voronoi, 0.14),
    (marble, 0.10),
    (waves, 0.10),
    (julia, 0.08),
)
