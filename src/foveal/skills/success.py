"""How often something succeeds, and how far to trust that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from foveal.errors import FovealError
from foveal.evaluation.statistics import CONFIDENCE


@dataclass(frozen=True)
class SuccessRate:
    """Of episodes that are independent of each other.

    Attributes:
        successes: episodes that ended well.
        episodes: all of them.
        rate: their ratio.
        low, high: Wilson's 95 % interval, which holds also where none or all succeed.
    """

    successes: int
    episodes: int
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, outcomes: Sequence[bool]) -> SuccessRate:
        """Of single episodes.

        Raises:
            FovealError: there is none.
        """
        if not outcomes:
            raise FovealError("there is no episode to take a success rate of")
        successes = sum(map(bool, outcomes))
        found = binomtest(successes, len(outcomes))
        interval = found.proportion_ci(CONFIDENCE, "wilson")
        return cls(successes, len(outcomes), successes / len(outcomes), float(interval.low), float(interval.high))

    def __str__(self) -> str:
        return (
            f"{self.successes} of {self.episodes}, {100 * self.rate:.0f} % (95 %: {100 * self.low:.0f} to "
            f"{100 * self.high:.0f})"
        )
