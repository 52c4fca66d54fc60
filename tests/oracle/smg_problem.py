"""What SMG adds to ``problem.py``: its networks' weights, its pictures, and which of its updates does what."""

from __future__ import annotations

import numpy as np

from oracle import problem
from oracle.problem import Array

STEPS = (998, 1001, 1002)  # of the published numbering: due without the mask's loss, not due, due with it
MASK_FROM = 1  # in ours, where updates are 0, 1 and 2
BEHIND = (True, False, True)  # whether the changed observation has the picture behind its foreground, or over all of it
ACTION_HIDDEN = 1024  # as the published code has it
DECODER = (32, 128, 64)
KEPT = 40  # of a larger tensor


def shapes() -> dict[str, tuple[int, ...]]:
    """Of the weights that SAC does not have."""
    found: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *weight: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = weight, weight[:1]

    latent, filters = problem.LATENT, problem.FILTERS
    for name in ("foreground_head", "background_head"):
        layer(name, 3 * latent, latent)
    for index in range(problem.LAYERS):
        layer(f"background.convolutions.{index}", filters, filters if index else problem.CHANNELS, 3, 3)
    layer("background.projection.linear", latent, filters * problem.SMALL**2)
    found["background.projection.norm.weight"] = found["background.projection.norm.bias"] = (latent,)
    for name in ("foreground", "background"):
        layer(f"{name}_decoder.linear", DECODER[0] * problem.SMALL**2, latent)
        layer(f"{name}_decoder.0", DECODER[1], DECODER[0], 3, 3)
        layer(f"{name}_decoder.1", DECODER[2], DECODER[1], 3, 3)
        layer(f"{name}_decoder.image", 3, DECODER[2], 3, 3)
    layer("foreground_decoder.mask", 1, DECODER[2], 3, 3)
    layer("action.0", ACTION_HIDDEN, 2 * latent)
    layer("action.1", ACTION_HIDDEN, ACTION_HIDDEN)
    layer("action.2", problem.ACTIONS, ACTION_HIDDEN)
    return found


def weights() -> dict[str, Array]:
    """All initial weights, SAC's included."""
    found = problem.weights("sac")
    for number, (name, shape) in enumerate(sorted(shapes().items())):
        found[name] = problem.initial(name, shape, 11, number)
    return found


def backgrounds(update: int) -> Array:
    """The pictures that are put behind the foreground; ``problem.draws`` has those that are laid over it."""
    random = np.random.Generator(np.random.PCG64([13, update]))
    return random.integers(0, 256, (problem.BATCH, 3, problem.SIDE, problem.SIDE)).astype(np.uint8)


def summary(tensor: Array) -> Array:
    """That of ``problem``, with fewer entries."""
    return problem.summary(tensor, KEPT)
