"""What DrQ-v2's code and ours are given beside the batches and draws of ``problem``: weights, and agent steps."""

from __future__ import annotations

import numpy as np

from oracle.problem import ACTIONS, CHANNELS, HIDDEN, LATENT, UPDATES, Array, initial

FILTERS, STRIDES, FEATURES = 32, (2, 1, 1, 1), 35  # that code's; the last is the side of what the convolutions give
STEPS = (2000, 60_000, 150_000)
"""Agent steps of the updates: exploration at its widest, half as wide, and at its least."""
TARGETS = ("projection", "critics")
assert len(STEPS) == UPDATES


def shapes() -> dict[str, tuple[int, ...]]:
    """Of all weights by name, in the layout of the published code."""
    found: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *weight: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = weight, weight[:1]

    for index in range(len(STRIDES)):
        layer(f"convolutions.{index}", FILTERS, FILTERS if index else CHANNELS, 3, 3)
    for name in ("projection", "actor_projection"):
        layer(f"{name}.linear", LATENT, FILTERS * FEATURES * FEATURES)
        found[f"{name}.norm.weight"] = found[f"{name}.norm.bias"] = (LATENT,)
    for name, size, outputs in (
        ("policy", LATENT, ACTIONS),
        ("critics.0", LATENT + ACTIONS, 1),
        ("critics.1", LATENT + ACTIONS, 1),
    ):
        layer(f"{name}.0", HIDDEN, size)
        layer(f"{name}.1", HIDDEN, HIDDEN)
        layer(f"{name}.2", outputs, HIDDEN)
    return found | {f"target_{name}": shape for name, shape in found.items() if name.startswith(TARGETS)}


def weights() -> dict[str, Array]:
    """Initial weights, ``float32``; those of target networks are others than those of the trained ones."""
    found = {}
    for number, (name, shape) in enumerate(sorted(shapes().items())):
        found[name] = initial(name, shape, 4, number)
    # Actions near 1, so that some of them leave [-1, 1] with their noise and some do not.
    found["policy.2.bias"] += np.float32(1.0)
    return found
