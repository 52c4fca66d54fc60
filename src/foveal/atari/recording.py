"""A game that was played, kept as its actions: whatever was to be seen on the way is played again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.evaluation.recording import Sight


@dataclass(frozen=True)
class Replay:
    """What was seen before every step of a game: (4, 84, 84) by the agent, (210, 160, 3) on the screen.

    Attributes:
        env: the game's id.
        rules: keyword arguments of ``foveal.atari.vector.AtariVector``, which plays it again.
        seed: of how it began.
        actions: (length,) indices into the minimal action set.
    """

    env: str
    rules: Mapping[str, Any]
    seed: int
    actions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.actions)

    def __iter__(self) -> Iterator[Sight]:
        from foveal.atari.vector import AtariVector

        grey, colored = (
            AtariVector(self.env, 1, self.seed, in_color=in_color, **self.rules) for in_color in (False, True)
        )
        grey.reset()
        colored.reset()
        for step, action in enumerate(self.actions):
            yield Sight(step, grey.observation[0], action, colored.observation[0, -1])
            grey.step(np.array([action]))
            colored.step(np.array([action]))
        grey.close()
        colored.close()
