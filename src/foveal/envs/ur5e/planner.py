"""Which skill is next, by a rule that sees the true state: what a perfect master would say.

Unlike ``SCRIPTS``, whose order is fixed, it goes back to where something went wrong.
"""

from __future__ import annotations

from foveal.envs.ur5e.experts import script
from foveal.envs.ur5e.goals import HIGH, HOVER, over
from foveal.envs.ur5e.tasks import IN_BOWL, LARGE_BOWL, SMALL_BOWL, Truth, lies_in, stands_on

GRASP, RISE, PUT = 0, 1, 2
GO_TO: dict[str, dict[int, int]] = {
    "pick": {0: 2},
    "bowl": {0: 3},
    "tower": {1: 3},
    "breakfast": {0: 3, 1: 4, 2: 5},
}
"""Task -> thing that is to be picked up -> number of the skill that goes to it."""


def next_skill(task: str, truth: Truth) -> int:
    """The number of the skill that the task needs now.

    Raises:
        FovealError: no such task.
    """
    script(task)  # knows the tasks
    ways = GO_TO[task]
    if truth.held.any():
        wanted = bool(truth.held[list(ways)].any())
        if not wanted:  # which opens the gripper
            return next(iter(ways.values()))
        return PUT if task != "pick" and truth.tool[2] > HOVER - HIGH else RISE
    left = [thing for thing in ways if not _placed(task, thing, truth)]
    thing = left[0] if left else next(iter(ways))
    return GRASP if over(thing)(truth, truth) else ways[thing]


def _placed(task: str, thing: int, truth: Truth) -> bool:
    if task == "tower":
        return stands_on(truth, thing, 0)
    if task == "bowl":
        return lies_in(truth, thing, IN_BOWL, SMALL_BOWL)
    return task == "breakfast" and lies_in(truth, thing, LARGE_BOWL.rim, LARGE_BOWL)
