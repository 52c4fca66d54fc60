"""The problem that both codes are given: weights, batches and draws, from whole numbers of a seeded generator.

PCG64's whole numbers are the same on every machine and in every version of NumPy, so none of this needs to be stored.
Weights are in the published code's layout: kernels (out, in, rows, columns), and features channel by channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BATCH, ACTIONS, FILTERS, LAYERS, LATENT, HIDDEN = 4, 2, 8, 11, 12, 16
SIDE, SMALL, CHANNELS = 84, 21, 9  # of the picture, of the last convolution's features, colours of three frames
DISCOUNT, QUANTILE, TEMPERATURE = 0.99, 0.95, 0.1
UPDATES = 3
METHODS = ("sac", "svea", "sgqn")
DECODER = (32, 128, 64)
KEPT = 800  # of a larger tensor as many entries, evenly spread, and its sums


def shapes(method: str) -> dict[str, tuple[int, ...]]:
    """Of all trained weights by name, but for the temperature."""
    found: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *weight: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = weight, weight[:1]

    for index in range(LAYERS):
        layer(f"convolutions.{index}", FILTERS, FILTERS if index else CHANNELS, 3, 3)
    for name in ("projection", "actor_projection"):
        layer(f"{name}.linear", LATENT, FILTERS * SMALL * SMALL)
        found[f"{name}.norm.weight"] = found[f"{name}.norm.bias"] = (LATENT,)
    for name, size, outputs in (
        ("policy", LATENT, 2 * ACTIONS),
        ("critics.0", LATENT + ACTIONS, 1),
        ("critics.1", LATENT + ACTIONS, 1),
    ):
        layer(f"{name}.0", HIDDEN, size)
        layer(f"{name}.1", HIDDEN, HIDDEN)
        layer(f"{name}.2", outputs, HIDDEN)
    if method == "sgqn":
        layer("decoder.linear", DECODER[0] * SMALL * SMALL, LATENT + ACTIONS)
        for index, (size, outputs) in enumerate(zip(DECODER, (*DECODER[1:], CHANNELS), strict=True)):
            layer(f"decoder.{index}", outputs, size, 3, 3)
    return found


TARGETS = ("convolutions", "projection", "critics")


def uniform(shape: tuple[int, ...], *seed: int) -> Array:
    """In [-1, 1), of a generator of its own."""
    numbers: Array = np.random.Generator(np.random.PCG64(seed)).integers(-(2**15), 2**15, shape) / 2**15
    return numbers


def initial(name: str, shape: tuple[int, ...], *seed: int) -> Array:
    """A weight as the name says: near 1 for a normalisation, small for a bias, else as wide as He et al. draw it."""
    drawn = uniform(shape, *seed)
    if name.endswith("norm.weight"):
        return (1.0 + 0.2 * drawn).astype(np.float32)
    if name.endswith("bias"):
        return (0.1 * drawn).astype(np.float32)
    return (np.sqrt(6.0 / np.prod(shape[1:])) * drawn).astype(np.float32)


def weights(method: str) -> dict[str, Array]:
    """Initial weights, ``float32``; those of target networks begin with ``target_`` and are others."""
    named = shapes("sgqn")  # has them all, so that a name's weights are the same for every method
    named |= {f"target_{name}": shape for name, shape in named.items() if name.startswith(TARGETS)}
    found = {}
    for number, (name, shape) in enumerate(sorted(named.items())):
        if name.startswith("decoder") and method != "sgqn":
            continue
        found[name] = initial(name, shape, 1, number)
    # A policy that is neither sure nor saturated: log std near -1.7. See README.md on what saturation would change.
    found["policy.2.weight"] *= np.float32(0.0625)
    found["policy.2.bias"][ACTIONS:] += np.float32(0.375)
    return found


def transitions(update: int) -> dict[str, Array]:
    """A batch: pictures ``uint8``, smooth enough to have saliency; actions, rewards; whether the episode goes on."""
    random = np.random.Generator(np.random.PCG64([2, update]))

    def pictures() -> Array:
        coarse = random.integers(0, 200, (BATCH, CHANNELS, SMALL, SMALL)).repeat(4, 2).repeat(4, 3)
        return (coarse + random.integers(0, 56, coarse.shape)).astype(np.uint8)

    action = random.integers(-(2**15), 2**15, (BATCH, ACTIONS)) / 2**15
    reward = random.integers(0, 2**15, BATCH) / 2**15
    going_on = np.ones(BATCH)
    going_on[update % BATCH] = 0.0
    floats = {"action": action, "reward": reward, "going_on": going_on}
    return {"obs": pictures(), "next_obs": pictures(), **{k: v.astype(np.float32) for k, v in floats.items()}}


def draws(update: int) -> dict[str, Array]:
    """What is drawn in an update: the policy's two noises, the share that is filled in, the pictures laid over."""
    random = np.random.Generator(np.random.PCG64([3, update]))

    def noise() -> Array:  # nearly Gaussian: 12 uniform numbers less 6
        return (random.integers(0, 2**15, (12, BATCH, ACTIONS)).sum(0) / 2**15 - 6.0).astype(np.float32)

    return {
        "target_noise": noise(),
        "actor_noise": noise(),
        "fill": np.float32(random.integers(0, 2**15) / 2**15),
        "overlays": random.integers(0, 256, (BATCH, 3, SIDE, SIDE)).astype(np.uint8),
    }


def due(update: int) -> bool:
    """Whether actor, targets and attribution take their step: in every second update from the first."""
    return update % 2 == 0


def summary(tensor: Array, kept: int = KEPT) -> Array:
    """All of a small tensor; of a larger one some entries, its sum and the sum of its magnitudes. In its own order."""
    flat = np.asarray(tensor, np.float64).reshape(-1)
    if flat.size <= kept:
        return flat.astype(np.float32)
    some = flat[np.linspace(0, flat.size - 1, kept).astype(np.int64)]
    return np.append(some, [flat.sum(), np.abs(flat).sum()]).astype(np.float32)
