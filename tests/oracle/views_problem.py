"""What the published classes of MaDi, SimGRL and SADA and ours are both given, beside what ``problem.py`` has.

From whole numbers of seeded PCG64 generators, which are the same on every machine, so that none of it is stored.
"""

from __future__ import annotations

import itertools

import numpy as np

from oracle.problem import ACTIONS, BATCH, CHANNELS, FILTERS, LAYERS, SIDE, Array

MASKER_FILTERS = 6
FRAME_FILTERS, FRAME_LAYERS = 16, 3  # SimGRL's code has these built in
CANVAS, REACH = 120, 6  # side of the picture that SimGRL's windows move over, and the largest step
FEATURES, LATENT, HIDDEN = 12, 5, 16  # of SADA's actor and critic here
ANGLES = (30.0, -117.0, 45.0, 180.0)  # degrees, one for each sample
MOVES = ((16, -16), (-5, 9), (0, 0), (3, -12))  # pixels down and across, one for each sample


def numbers(*seed: int) -> np.random.Generator:
    """The generator of one thing."""
    return np.random.Generator(np.random.PCG64([4, *seed]))


def uniform(shape: tuple[int, ...], *seed: int) -> Array:
    """In [-1, 1), ``float32``."""
    return (numbers(*seed).integers(-(2**15), 2**15, shape) / 2**15).astype(np.float32)


def kernels(shapes: list[tuple[int, ...]], seed: int) -> list[tuple[Array, Array]]:
    """Weight and bias of each layer."""
    found = []
    for index, shape in enumerate(shapes):
        scale = np.float32(np.sqrt(6.0 / np.prod(shape[1:])))
        bias = np.float32(0.1) * uniform(shape[:1], seed, index, 1)
        found.append((scale * uniform(shape, seed, index, 0), bias))
    return found


def masker() -> list[tuple[Array, Array]]:
    """MaDi's: from colours to a logit that is neither sure nor the same everywhere."""
    sizes = (3, MASKER_FILTERS, MASKER_FILTERS, 1)
    return kernels([(outputs, size, 3, 3) for size, outputs in itertools.pairwise(sizes)], 1)


def frame_stack() -> list[tuple[Array, Array]]:
    """SimGRL's convolutions: some of each frame, the others of all."""
    sizes = [3, *[FRAME_FILTERS] * FRAME_LAYERS]
    shapes = [(outputs, size, 3, 3) for size, outputs in itertools.pairwise(sizes)]
    sizes = [3 * FRAME_FILTERS, *[FILTERS] * (LAYERS - FRAME_LAYERS)]
    shapes += [(outputs, size, 3, 3) for size, outputs in itertools.pairwise(sizes)]
    return kernels(shapes, 2)


def pictures(seed: int) -> Array:
    """A batch of observations, ``uint8``."""
    return numbers(3, seed).integers(0, 256, (BATCH, CHANNELS, SIDE, SIDE)).astype(np.uint8)


def canvases() -> Array:
    """Pictures for windows to move over, ``uint8``."""
    return numbers(4).integers(0, 256, (BATCH, 3, CANVAS, CANVAS)).astype(np.uint8)


def steps() -> Array:
    """(2, BATCH): pixels down and across from one frame to the next."""
    return numbers(5).integers(-REACH, REACH + 1, (2, BATCH))


def saliencies() -> list[tuple[Array, Array]]:
    """Maps, (9, 20, 20), and where the task is in each frame, (3, 20, 20): for the TID score."""
    cases = []
    for seed in range(3):
        part = np.zeros((3, 20, 20), bool)
        for frame in range(3):
            part[frame, 4 + frame : 10 + frame, 5 : 9 + 2 * seed] = True
        gain = 1.0 + part.repeat(3, 0) * np.float32([0.3, 1.0, 3.0]).repeat(3)[:, None, None]
        cases.append((gain.astype(np.float32) * uniform((CHANNELS, 20, 20), 6, seed), part))
    return cases


def heads() -> dict[str, Array]:
    """SADA's actor and critic by the names that ``problem.py`` gives to ours."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("projection", "actor_projection"):
        shapes |= {f"{name}.linear.weight": (LATENT, FEATURES), f"{name}.linear.bias": (LATENT,)}
        shapes |= {f"{name}.norm.weight": (LATENT,), f"{name}.norm.bias": (LATENT,)}
    for name, size, outputs in (
        ("policy", LATENT, 2 * ACTIONS),
        ("critics.0", LATENT + ACTIONS, 1),
        ("critics.1", LATENT + ACTIONS, 1),
    ):
        for layer, (inputs, out) in enumerate(((size, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, outputs))):
            shapes |= {f"{name}.{layer}.weight": (out, inputs), f"{name}.{layer}.bias": (out,)}
    found = {}
    for number, (name, shape) in enumerate(sorted(shapes.items())):
        drawn = uniform(shape, 7, number)
        if name.endswith("norm.weight"):
            found[name] = np.float32(1.0) + np.float32(0.2) * drawn
        else:
            found[name] = np.float32(0.1 if name.endswith("bias") else np.sqrt(6.0 / shape[-1])) * drawn
    return found


def features() -> tuple[Array, Array]:
    """(BATCH, FEATURES) of the clean and of the augmented observation."""
    return uniform((BATCH, FEATURES), 8), uniform((BATCH, FEATURES), 9)


def noise() -> Array:
    """(2 * BATCH, ACTIONS) of the policy's sample, nearly Gaussian."""
    drawn = numbers(10).integers(0, 2**15, (12, 2 * BATCH, ACTIONS)).sum(0)
    return (drawn / 2**15 - 6.0).astype(np.float32)


def random_kernels() -> Array:
    """(BATCH, 3, 3, 3, 3) of the random convolution."""
    return uniform((BATCH, 3, 3, 3, 3), 11)
