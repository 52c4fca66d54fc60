"""A policy that was trained in the simulator, for a real arm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.robot.interfaces import Observation
from foveal.skills.base import Memory
from foveal.skills.loading import load_policy
from foveal.skills.noise import repaired


class TrainedPolicy:
    """Skills in the order of their task's script, as a master chooses them, or a flat policy; one episode.

    Depth is repaired first (``foveal.skills.noise.repaired``), as that of any real camera must be.

    Args:
        folder: of skills, a master or a flat policy. A master chooses the likeliest skill, as in evaluations.

    Raises:
        FovealError: the folder holds something else, skills that do not say of which task they are, or a master over
            experts.
    """

    def __init__(self, folder: str | Path) -> None:
        self._policy = load_policy(folder)
        self._memory: Memory | None = None
        view = self._policy.view
        self._policy.predict({"depth": np.zeros((view.size, view.size), np.uint16)})  # what can't act says so now

    @property
    def skill(self) -> int:
        """Number of the one that runs; before the first observation -1."""
        return -1 if self._memory is None else self._memory.skill

    @property
    def picture_size(self) -> int:
        """Height and width of the picture that its frames are cut from, pixels."""
        return self._policy.view.render

    def __call__(self, observation: Observation, /) -> NDArray[np.float32]:
        """``depth`` in metres, 0 where nothing was measured, as large as frames are or as they are cut from -> (4,).

        Raises:
            FovealError: there is no depth, or it has another size.
        """
        frame = repaired(self._policy.frame(observation))
        action, self._memory = self._policy.predict({"depth": frame}, self._memory, deterministic=True)
        return action
