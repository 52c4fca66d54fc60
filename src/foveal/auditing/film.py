"""An episode of an audit as people see it: moments at even distances, and what the policy looks at in each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foveal.auditing.conditions import Condition
from foveal.evaluation.results import Episode


@dataclass(frozen=True)
class Film:
    """The first episode under one condition, at even distances.

    Attributes:
        condition: what.
        steps: (T,) agent steps before each moment.
        totals: (T,) return so far.
        episode: how it went.
        frames: (T, H, W, 3), what came in from the first camera.
        rewards: (L,), of every agent step.
        actions: (L, A), as the environment took them: the numbers of each, or which one was chosen.
        maps: by name, (T, H, W), how much each pixel matters.
        levels: by the same names, the strength that gets the brightest colour.
    """

    condition: Condition
    steps: tuple[int, ...]
    totals: tuple[float, ...]
    episode: Episode
    frames: NDArray[np.uint8]
    rewards: NDArray[np.float64]
    actions: NDArray[np.float64]
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)

    @property
    def apart(self) -> int:
        """Agent steps from one moment to the next."""
        return self.steps[1] - self.steps[0] if len(self.steps) > 1 else 1
