"""Whether a map depends on what the network has learned (Adebayo et al. 2018, "Sanity checks for saliency maps").

Weights are replaced by random ones layer by layer, from the top. A map that stays as it is shows the picture,
edges say, and not what the network makes of it: guided backpropagation is known for that.

Maps of any two networks of one shape are alike in one way: fewer paths lead to pixels at the border. So what all maps
of a network have in common is taken out before maps are compared (``likeness``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.graph import nodes
from foveal.saliency.maps import ScalarFunction
from foveal.saliency.values import seeded

TINY = 1e-9
STAGES = 5
"""Of how many layers are randomised together at most."""

Numbers = NDArray[np.float64]


def weights_of(fn: ScalarFunction, obs: Tensor) -> list[Tensor]:
    """The weights that a value depends on, those of the top layers first.

    They are found in the graph, so ``fn`` may be a closure over any torch network; what is frozen
    (``requires_grad=False``) is not in it. Biases and gains, which have one axis, are no weights here.

    Args:
        fn, obs: as for ``foveal.saliency.gradient``.
    """
    pixels = obs.detach().clone().float().requires_grad_()
    with torch.enable_grad():
        output: Any = fn(pixels)
    found = [getattr(node, "variable", None) for node in nodes(output)]  # of nodes at which gradients are added up
    return [one for one in found if isinstance(one, Tensor) and one is not pixels and one.ndim > 1]


def cascade(
    saliency: Callable[[], Tensor],
    weights: Sequence[Tensor],
    *,
    stages: int = STAGES,
    generator: torch.Generator | None = None,
) -> tuple[list[int], Numbers]:
    """How alike maps remain while more and more layers are randomised, from the top.

    Every weight is drawn from a Gaussian of the layer's own root mean square. All are put back afterwards.

    Args:
        saliency: gives the maps of some observations, (B, H, W), as the weights are now.
        weights: of the layers, the topmost first.
        stages: how many times at most; the last time all layers are random.
        generator: of the weights, on the CPU; by default one that is seeded alike each time.

    Returns:
        (K,) how many layers were random, and (K, B) the ``likeness`` to the maps before: 0 where the map has become the
        same everywhere, or the same for all pictures, NaN where it was so before.

    Raises:
        FovealError: there are no weights, no stages, or fewer than two maps.
    """
    if not weights or stages < 1:
        raise FovealError(f"cascade wants weights and at least one stage, not {len(weights)} and {stages}")
    counts = np.unique(np.linspace(1, len(weights), min(stages, len(weights))).round().astype(int)).tolist()
    before = saliency()
    draws = seeded(generator)
    found = []
    with _put_back(weights):
        for start, end in zip([0, *counts], counts, strict=False):
            for layer in weights[start:end]:
                _randomise(layer, draws)
            found.append(likeness(before, saliency()))
    alike = np.stack(found)
    had_some = np.isfinite(likeness(before, before))  # (B,)
    return counts, np.where(np.isnan(alike) & had_some, 0.0, alike)


def likeness(one: Tensor, other: Tensor) -> Numbers:
    """Spearman's rank correlation of what is a map's own: from its ranks the mean ranks of all beside it are taken.

    Ties have mean ranks.

    Args:
        one, other: (B, H, W), at least two of different pictures.

    Returns:
        (B,); NaN where all maps of either are the same.

    Raises:
        FovealError: there is one map alone.
    """
    if len(one) < 2:
        raise FovealError("what is a map's own shows beside others alone: give maps of at least two pictures")
    a, b = _ranks(one), _ranks(other)
    return _correlation(a - a.mean(0), b - b.mean(0))


def _ranks(maps: Tensor) -> Numbers:
    from scipy.stats import rankdata  # takes a second, which every command would spend

    return np.asarray(rankdata(maps.flatten(1).cpu(), axis=1))


def _correlation(a: Numbers, b: Numbers) -> Numbers:
    """Pearson's, row by row."""
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    scale = np.sqrt(np.square(a).sum(1) * np.square(b).sum(1))
    correlations: Numbers = (a * b).sum(1) / np.where(scale > TINY, scale, np.nan)
    return correlations


@torch.no_grad()
def _randomise(layer: Tensor, draws: torch.Generator) -> None:
    size = layer.detach().float().square().mean().sqrt()
    layer.copy_(torch.randn(layer.shape, generator=draws).to(layer.device) * size)


@contextmanager
def _put_back(weights: Sequence[Tensor]) -> Iterator[None]:
    kept = [layer.detach().clone() for layer in weights]
    try:
        yield
    finally:
        with torch.no_grad():
            for layer, old in zip(weights, kept, strict=True):
                layer.copy_(old)
