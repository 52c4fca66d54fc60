"""The tasks: what lies on the table, what success is, and how long an episode may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SUCCESS_REWARD = 10.0  # once, and the episode ends; any other step gives 0 (HRL-BC's sparse reward)
LIFTED = 0.10  # metres between the table and the lower side of what has been picked
IN_BOWL = 0.04  # metres between the centres of cube and bowl, seen from above
STACKED = 0.025  # the same between a cube and the one below it
CONTACT = 0.008  # metres by which a cube's lower side may miss the upper side of what carries it


@dataclass(frozen=True)
class Thing:
    """Something to grasp. Its lengths are multiples of an edge that is drawn anew in every episode.

    Attributes:
        name: unique in its task.
        shape: ``"box"``, ``"cylinder"`` or ``"sphere"``.
        half: half extents along its x, y and z axes, per metre of edge.
        color: red, green, blue in [0, 1].
        sizes: the part of ``Randomization.edge`` from which its edge is drawn, where (0, 1) is all of it.
    """

    name: str
    shape: str
    half: tuple[float, float, float]
    color: tuple[float, float, float]
    sizes: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Bowl:
    """An octagonal bowl that stands freely on the table. Metres.

    Attributes:
        floor: radius of its floor, inside.
        rim: radius of its rim, inside.
        height: of its rim above the table.
    """

    floor: float
    rim: float
    height: float


@dataclass(frozen=True)
class Truth:
    """What the simulator knows: for experts, success and tests. In metres and the world's frame.

    The world's origin is the centre of the arm's base on the table; x points away from the arm, z up.

    Attributes:
        tool: (3,) the point between the finger tips.
        closing: whether the last command was to close the gripper.
        opening: between the fingers, 0 (closed) to 1.
        centres: (N, 3) of the task's things.
        half: (N, 3) their half extents along their own axes.
        held: (N,) bool: touched by both fingers.
        touched: (N,) bool: touched by a finger.
        bowl: (3,) centre of the bowl's foot, or None where there is none.
    """

    tool: Array
    closing: bool
    opening: float
    centres: Array
    half: Array
    held: NDArray[np.bool_]
    touched: NDArray[np.bool_]
    bowl: Array | None

    def lower(self, thing: int) -> float:
        """Height of a thing's lower side, if it lies as it did at first."""
        return float(self.centres[thing, 2] - self.half[thing, 2])

    def upper(self, thing: int) -> float:
        """Height of a thing's upper side, if it lies as it did at first."""
        return float(self.centres[thing, 2] + self.half[thing, 2])


@dataclass(frozen=True)
class Task:
    """A task for the arm.

    Attributes:
        things: what can be grasped.
        bowl: or None.
        steps: control steps, at 10 Hz, after which an episode is truncated.
        success: says whether the task is done.
        first: the thing that the script goes to first.
    """

    things: tuple[Thing, ...]
    bowl: Bowl | None
    steps: int
    success: Callable[[Truth], bool]
    first: int = 0


def lifted(truth: Truth) -> bool:
    """The first thing hangs between the fingers, well above the table."""
    return bool(truth.held[0]) and truth.lower(0) > LIFTED


def in_bowl(truth: Truth) -> bool:
    """The cube lies in the bowl, at most ``IN_BOWL`` from its centre, and no finger touches it."""
    return lies_in(truth, 0, IN_BOWL, SMALL_BOWL)


def tower(truth: Truth) -> bool:
    """The second cube stands on the first, and no finger touches either."""
    return not truth.touched.any() and stands_on(truth, 1, 0)


def breakfast(truth: Truth) -> bool:
    """Everything lies in the bowl, and no finger touches it."""
    return all(lies_in(truth, thing, LARGE_BOWL.rim, LARGE_BOWL) for thing in range(len(truth.centres)))


def lies_in(truth: Truth, thing: int, radius: float, bowl: Bowl) -> bool:
    """Whether a thing is untouched and its centre within ``radius`` of the bowl's axis and below its rim plus its size.

    Things may lie on each other, so that the centres of upper ones come above the rim.
    """
    if truth.bowl is None or truth.touched[thing]:
        return False
    offset = truth.centres[thing] - truth.bowl
    deep = offset[2] < bowl.height + float(truth.half[thing].min())
    return bool(np.hypot(offset[0], offset[1]) < radius and offset[2] > 0.0 and deep)


def stands_on(truth: Truth, upper: int, lower: int) -> bool:
    """Whether the upper thing rests on the lower one, at most ``STACKED`` beside its centre."""
    aside = truth.centres[upper, :2] - truth.centres[lower, :2]
    gap = truth.lower(upper) - truth.upper(lower)
    return bool(np.hypot(*aside) < STACKED and abs(gap) < CONTACT)


RED, GREEN = (0.78, 0.16, 0.14), (0.16, 0.55, 0.24)
_CUBE = (0.5, 0.5, 0.5)
SMALL_BOWL = Bowl(floor=0.060, rim=0.085, height=0.050)
LARGE_BOWL = Bowl(floor=0.085, rim=0.115, height=0.060)

TASKS = {
    "pick": Task((Thing("cube", "box", _CUBE, RED),), None, 200, lifted),
    "bowl": Task((Thing("cube", "box", _CUBE, RED),), SMALL_BOWL, 600, in_bowl),
    "tower": Task(  # depth tells the two apart by their sizes alone
        (
            Thing("large cube", "box", _CUBE, GREEN, sizes=(0.6, 1.0)),
            Thing("small cube", "box", _CUBE, RED, sizes=(0.0, 0.4)),
        ),
        None,
        600,
        tower,
        first=1,
    ),
    "breakfast": Task(
        (
            Thing("fruit", "sphere", (0.4, 0.4, 0.4), (0.88, 0.42, 0.10)),
            Thing("egg cup", "cylinder", (0.36, 0.36, 0.45), (0.86, 0.82, 0.66)),
            Thing("bread", "box", (0.36, 0.36, 0.40), (0.55, 0.34, 0.16)),
        ),
        LARGE_BOWL,
        1200,
        breakfast,
    ),
}
