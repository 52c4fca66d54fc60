"""What CURL, PAD, RAD's crops and SRM are given beside ``problem.py``'s weights, batches and draws."""

from __future__ import annotations

import numpy as np

from oracle import problem
from oracle.problem import Array

SHARED = 8  # convolutions that PAD's head has in common with the critic
RENDERED = 100  # side of the pictures that PAD's adaptation crops
COPIES = 6  # crops of one transition in a step at test time
STEPS = 3  # of an episode
RINGS = ((0.0, 0.05), (0.12, 0.04), (0.4, 0.0), (0.31, 0.03))  # low edge and width
LITTLE = (24, 16)  # sides of a picture and of its crop
KEPT = 90  # of a larger tensor as many entries, evenly spread, and its sums


def shapes() -> dict[str, tuple[int, ...]]:
    """Of the weights that only these methods have."""
    latent, filters, hidden = problem.LATENT, problem.FILTERS, problem.HIDDEN
    found: dict[str, tuple[int, ...]] = {"similarity": (latent, latent)}
    layers = {f"pad.convolutions.{index}": (filters, filters, 3, 3) for index in range(SHARED, problem.LAYERS)}
    layers["pad.projection.linear"] = (latent, filters * problem.SMALL * problem.SMALL)
    layers |= {"pad.head.0": (hidden, 2 * latent), "pad.head.1": (hidden, hidden), "pad.head.2": (2, hidden)}
    for name, shape in layers.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = shape, shape[:1]
    found["pad.projection.norm.weight"] = found["pad.projection.norm.bias"] = (latent,)
    return found


def weights(method: str) -> dict[str, Array]:
    """SAC's, and those of the method, ``float32``."""
    found = problem.weights("sac")
    for number, (name, shape) in enumerate(sorted(shapes().items())):
        if name.startswith("pad") != (method == "pad"):
            continue
        if name == "similarity":
            found[name] = (0.5 + 0.5 * problem.uniform(shape, 4, number)).astype(np.float32)
        else:
            found[name] = problem.initial(name, shape, 4, number)
    return found


def positives(update: int) -> Array:
    """The second crops of CURL's batch, ``uint8``: those of the first, moved and a little noisy."""
    random = np.random.Generator(np.random.PCG64([5, update]))
    moved = np.roll(problem.transitions(update)["obs"], (2, -3), (2, 3))
    return np.clip(moved.astype(np.int64) + random.integers(-8, 9, moved.shape), 0, 255).astype(np.uint8)


def pictures(side: int, number: int, count: int = 1) -> Array:
    """``count`` pictures of three frames, (count, 9, side, side) ``uint8``."""
    random = np.random.Generator(np.random.PCG64([6, number]))
    return random.integers(0, 256, (count, problem.CHANNELS, side, side)).astype(np.uint8)


def episode(step: int) -> dict[str, Array]:
    """A transition of an episode, and where its crops begin: rows and columns, the observation's first, (4, COPIES)."""
    random = np.random.Generator(np.random.PCG64([7, step]))
    return {
        "obs": pictures(RENDERED, 2 * step),
        "next_obs": pictures(RENDERED, 2 * step + 1),
        "action": (random.integers(-(2**15), 2**15, (1, problem.ACTIONS)) / 2**15).astype(np.float32),
        "places": random.integers(0, RENDERED - problem.SIDE, (4, COPIES)),
    }


def summary(tensor: Array) -> Array:
    """That of ``problem``, with fewer entries."""
    return problem.summary(tensor, KEPT)
