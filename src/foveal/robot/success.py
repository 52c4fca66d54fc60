"""Whether a task is done, as far as an arm can tell: then a run ends, and the arm does not undo it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from foveal.envs.ur5e.model import LARGEST_EDGE
from foveal.envs.ur5e.tasks import LIFTED
from foveal.errors import FovealError
from foveal.registry import nearest
from foveal.robot.interfaces import Observation

SuccessFunction = Callable[[Observation, bool], bool]
"""(observation, whether the gripper was commanded to close) -> whether the task is done."""

HELD = (0.05, 0.9)  # opening of a gripper that was commanded to close and holds something
STEPS = 10  # for which it must hold it: a second
_HEIGHT, _OPENING = 8, 13  # in the vector of an observation


class Lifted:
    """Something hangs between the fingers, well above the table: the task ``pick``."""

    def __init__(self) -> None:
        self._steps = 0

    def __call__(self, observation: Observation, closing: bool) -> bool:
        """``closing``: the gripper was commanded to close."""
        vector = np.asarray(observation["vector"])
        low, high = HELD
        held = closing and low < float(vector[_OPENING]) < high and float(vector[_HEIGHT]) > LIFTED + LARGEST_EDGE
        self._steps = self._steps + 1 if held else 0
        return self._steps >= STEPS


SUCCESS: Mapping[str, Callable[[], SuccessFunction]] = {"pick": Lifted}


def known_success(task: str) -> SuccessFunction:
    """What tells the end of a task.

    Raises:
        FovealError: none does.
    """
    if task not in SUCCESS:
        raise FovealError(
            f"an arm can't tell whether {task!r} is done: {nearest(task, list(SUCCESS))}, or say MODULE:NAME of a "
            "function of yours"
        )
    return SUCCESS[task]()


def check_measured(gripper: Any) -> None:
    """Whether a gripper measures how open it is, which success depends on.

    Raises:
        FovealError: it does not.
    """
    if not getattr(gripper, "measures", True):
        raise FovealError("this gripper does not measure its opening, so nothing tells that a task is done")
