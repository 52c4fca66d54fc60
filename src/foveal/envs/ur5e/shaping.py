"""A potential of states: how far a task has come, from the true state, for rewards that guide.

Ng, Harada and Russell 1999, "Policy invariance under reward transformations": with gamma phi(s') - phi(s) added to the
reward, the best policies stay the best. It is what a good engineer would write down, and it uses what the simulator
alone knows; the methods that this repository is about get nothing but the task's own reward.
"""

from __future__ import annotations

import numpy as np

from foveal.envs.ur5e.goals import HOVER
from foveal.envs.ur5e.tasks import TASKS, Truth
from foveal.errors import FovealError

SHAPED = ("pick", "bowl", "tower")
"""Tasks with a potential: those in which one thing is picked up."""
HIGHEST = 5.0
"""Of the potential: half of the reward of success."""
_REACH, _CARRY = 0.10, 0.15  # metres at which a distance has cost half


def potential(task: str, truth: Truth) -> float:
    """phi, in [0, ``HIGHEST``]: near the thing 1, with it in the gripper 2, high 3, over the goal 4, low over it 5.

    Raises:
        FovealError: the task has none.
    """
    if task not in SHAPED:
        raise FovealError(f"ur5e/{task} has no potential to shape rewards by; these have: {', '.join(SHAPED)}")
    thing = TASKS[task].first
    if not truth.held[thing]:
        return _closeness(float(np.linalg.norm(truth.centres[thing] - truth.tool)), _REACH)
    raised = float(np.clip(truth.lower(thing) / (HOVER - 0.06), 0.0, 1.0))
    if task == "pick":
        return 2.0 + 3.0 * raised
    goal = truth.centres[0] if truth.bowl is None else truth.bowl
    aside = float(np.hypot(*(goal[:2] - truth.centres[thing, :2])))
    near = _closeness(aside, _CARRY)
    # What hangs beside the goal should be high, and what hangs over it low.
    over = float(aside < 0.03)
    return 2.0 + (raised + near) * (1.0 - over) + over * (2.0 + (1.0 - raised))


def _closeness(distance: float, half: float) -> float:
    """1 where the distance is 0, a half at ``half``."""
    return half / (half + distance)
