"""Is a map even? Numbers about maps on their own grid, where every position counts once.

A drawn map hides this: the receptive fields of a 7x7 map overlap most in the middle of the picture, so that a map with
one position ten times as high as all others still correlates at 0.85 to 0.97, by where it is, with one that is the same
everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.errors import FovealError

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Evenness:
    """Means over maps.

    Attributes:
        variation: coefficient of variation of a map's positions, the population's standard deviation over the mean: 0
            where all are alike, sqrt(positions - 1) where one has everything.
        entropy: of a map over that of an even one, in [0, 1]: 1 where all positions are alike, 0 where one has
            everything.
        change: mean absolute difference of two consecutive maps, each divided by its mean: 0 where a map stays the
            same up to scale, 2 at most. None where no two are consecutive.
        maps: how many there are.
    """

    variation: float
    entropy: float
    change: float | None
    maps: int

    def as_dict(self) -> dict[str, float | int | None]:
        return asdict(self)

    @property
    def numbers(self) -> dict[str, float]:
        """What is known of the maps, by name, without how many there are."""
        numbers = {"variation": self.variation, "entropy": self.entropy, "change": self.change}
        return {name: float(value) for name, value in numbers.items() if value is not None}

    @classmethod
    def from_dict(cls, state: Mapping[str, float | int | None]) -> Evenness:
        """The inverse of ``as_dict``."""
        return cls(**state)  # type: ignore[arg-type]

    def __str__(self) -> str:
        changes = "" if self.change is None else f", change {self.change:.3f}"
        return f"variation {self.variation:.3f}, entropy {self.entropy:.4f}{changes}"


def variation(maps: ArrayLike) -> Numbers:
    """Coefficient of variation of each map; see ``Evenness``.

    Args:
        maps: (N, h, w) on their own grid, finite, not negative. One that is 0 everywhere has no preference: it is even.

    Returns:
        (N,).

    Raises:
        FovealError: they are others than that.
    """
    return normalised(maps).std((1, 2))


def entropy(maps: ArrayLike) -> Numbers:
    """Normalised entropy of each map; see ``Evenness``. Arguments, result's shape and errors as for ``variation``.

    A map of one position is even: 1.
    """
    shares = normalised(maps).reshape(len(np.asarray(maps)), -1)  # (N, positions), of mean 1
    positions = shares.shape[1]
    if positions == 1:
        return np.ones(len(shares))
    shares = shares / positions
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    whole: Numbers = -(shares * logs).sum(1) / np.log(positions)
    return whole


def normalised(maps: ArrayLike) -> Numbers:
    """Each map divided by its mean: an even one is 1 everywhere; arguments and errors as for ``variation``."""
    values = np.asarray(maps, np.float64)
    if values.ndim != 3 or values.size == 0:
        raise FovealError(f"maps on their own grid are (N, h, w), not {values.shape}")
    if not np.isfinite(values).all() or values.min() < 0:
        raise FovealError("a map on its own grid must be finite and not negative")
    means = values.mean((1, 2), keepdims=True)
    return np.divide(values, means, out=np.ones_like(values), where=means > 0)


class EvennessMeter:
    """Adds maps up as they come: from several environments side by side, one step after the other."""

    def __init__(self) -> None:
        self._before: Numbers | None = None
        self._sums = np.zeros(3)  # of variations, of entropies, of changes
        self._maps = self._pairs = 0

    def add(self, maps: ArrayLike, follows: ArrayLike | bool = True) -> None:
        """The maps of one step.

        Args:
            maps: (N, h, w), one for each environment; N must not change.
            follows: (N,) whether each continues the episode of the map that it had the step before.

        Raises:
            FovealError: as ``variation``.
        """
        now = normalised(maps)
        self._sums[0] += variation(maps).sum()
        self._sums[1] += entropy(maps).sum()
        self._maps += len(now)
        if self._before is not None:
            chosen = np.broadcast_to(np.asarray(follows, bool), len(now))
            self._sums[2] += np.abs(now - self._before).mean((1, 2))[chosen].sum()
            self._pairs += int(chosen.sum())
        self._before = now

    def read(self) -> Evenness | None:
        """The means so far; None before the first map."""
        if not self._maps:
            return None
        varied, spread, changed = (float(total) for total in self._sums)
        change = changed / self._pairs if self._pairs else None
        return Evenness(varied / self._maps, spread / self._maps, change, self._maps)


def evenness(maps: ArrayLike, follows: ArrayLike | bool = True) -> Evenness:
    """Of the maps of one sequence.

    Args:
        maps: (N, h, w), in their order.
        follows: (N,) whether each continues the episode of the one before it; the first never does.

    Raises:
        FovealError: as ``variation``, or there is no map.
    """
    values, meter = normalised(maps), EvennessMeter()
    continuing = np.broadcast_to(np.asarray(follows, bool), len(values))
    for one, follow in zip(values, continuing, strict=True):
        meter.add(one[None], follow)
    found = meter.read()
    assert found is not None  # ``normalised`` refuses no maps
    return found
