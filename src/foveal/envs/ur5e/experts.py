"""Scripted experts: one small feedback controller per primitive skill, which sees what the simulator knows.

An expert reads nothing but the present ``Truth``, so any skill may follow any other, and demonstrations of skills in
random order show what each does from wherever the one before it has ended. ``SCRIPTS`` has an order of skills that
solves the task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.envs.ur5e.goals import HOVER, Goal, grasped, lifted_high, over, put_into, put_onto, raised
from foveal.envs.ur5e.simulation import MAX_SPEED
from foveal.envs.ur5e.tasks import IN_BOWL, LARGE_BOWL, SMALL_BOWL, TASKS, Bowl, Truth
from foveal.errors import FovealError

Array = NDArray[np.float64]

SKILL_STEPS = 60  # control steps of a skill
OPEN, CLOSE = -1.0, 1.0

_GAIN = 4.0  # 1/s: how fast a distance is closed
_NEAR = 0.006  # metres within which a place is reached
# Metres of height within which the gripper closes, and from which on the way is taken at half the gain. Labels come
# 5 steps before the gripper moves (HRL-BC): the tool is then a centimetre away, and arrives while the fingers move. At
# the full gain it would be 6 cm away.
_SETTLED, _SLOW = 0.003, 0.06
_ABOVE = 0.02  # metres aside within which the tool is above something
_REACH = 0.045  # metres aside within which the way down leads to a thing
_LOWEST = 0.02  # metres: height of the tool when it grasps where there is nothing
_OVER_RIM = 0.035  # metres between the bowl's rim and the tool that lets go


@dataclass(frozen=True)
class _Fit:
    """How exactly something is put down, in metres.

    No more exactly than it must be: a network that comes as near as it can see would else wait for ever.

    Attributes:
        aside: within which it lets go.
        above: within which it lets go, over the height that it is for.
        down: aside within which the way down leads there.
    """

    aside: float
    above: float
    down: float


_INTO_BOWL, _ONTO_TOWER = _Fit(0.02, 0.010, 0.03), _Fit(0.01, 0.005, _ABOVE)


@dataclass(frozen=True)
class Advice:
    """What an expert would do.

    Attributes:
        action: (4,) in [-1, 1], as the environment takes it.
        done: whether the skill has reached its end; the arm then stays where it is.
    """

    action: NDArray[np.float32]
    done: bool


Expert = Callable[[Truth], Advice]


@dataclass(frozen=True)
class Skill:
    """A primitive skill.

    Attributes:
        name: what it does, in up to six words.
        expert: its controller.
        goal: whether it has achieved what it is for.
    """

    name: str
    expert: Expert
    goal: Goal


def skills(task: str) -> tuple[Skill, ...]:
    """The primitive skills of a task, in the order of their numbers.

    Raises:
        FovealError: no such task.
    """
    _check(task)
    return SKILLS[task]


def script(task: str) -> tuple[int, ...]:
    """Numbers of skills which, ``SKILL_STEPS`` each, solve the task.

    Raises:
        FovealError: no such task.
    """
    _check(task)
    return SCRIPTS[task]


def _check(task: str) -> None:
    if task not in SKILLS:
        raise FovealError(f"unknown task {task!r}; choose one of {', '.join(SKILLS)}")


# ------------------------------------------------------------------------------------------------------------- experts


def go_to(thing: int) -> Expert:
    """Move above a thing at ``HOVER`` with the gripper open, so that anything in it drops."""

    def expert(truth: Truth) -> Advice:
        velocity, arrived = _across(truth, truth.centres[thing, :2])
        return _advice(velocity, OPEN, arrived and truth.opening > 0.9)

    return expert


def grasp(truth: Truth) -> Advice:
    """Move straight down to the nearest thing below, or to the table, and close; first put down what it holds."""
    if truth.held.any():
        held = int(np.argmax(truth.held))
        carried = truth.tool[2] - truth.lower(held)
        resting = truth.lower(held) < 2.0 * _NEAR
        down = np.array([0.0, 0.0, 0.0 if resting else max(_LOWEST, carried) - truth.tool[2]])
        return _advice(down, CLOSE, resting)
    target = np.array([*truth.tool[:2], _LOWEST])
    aside = np.hypot(*(truth.centres[:, :2] - truth.tool[:2]).T)  # (N,)
    if aside.min() < _REACH:
        target = truth.centres[int(np.argmin(aside))]
    way = target - truth.tool
    low = abs(way[2]) < _SETTLED
    if not (low or (truth.closing and abs(way[2]) < 3.0 * _NEAR)):
        way[2] *= float(np.hypot(way[0], way[1]) < _ABOVE)
        return _advice(_gently(way), OPEN, False)
    return _advice(np.zeros(3), CLOSE, truth.closing and truth.opening < 0.02)


def rise(truth: Truth) -> Advice:
    """Move straight up to ``HOVER`` with the gripper as it is."""
    way = np.array([0.0, 0.0, HOVER - truth.tool[2]])
    return _advice(way, CLOSE if truth.closing else OPEN, abs(way[2]) < _NEAR)


def to_bowl(bowl: Bowl, aside: float = 0.0) -> Expert:
    """Move above the bowl, down to its rim, and open: each thing has a place on a circle of radius ``aside``."""

    def expert(truth: Truth) -> Advice:
        if truth.bowl is None:
            raise FovealError("there is no bowl on this table")
        held = np.flatnonzero(truth.held)
        angle = 2.0 * np.pi * (held[0] if held.size else 0) / len(truth.centres)
        place = truth.bowl[:2] + aside * np.array([np.cos(angle), np.sin(angle)]) * bool(held.size)
        return _put(truth, place, bowl.height + _OVER_RIM, _INTO_BOWL, aside)

    return expert


def to_tower(truth: Truth) -> Advice:
    """Move above the first thing, down until what is in the gripper rests on what stands there, and open."""
    place = truth.centres[0, :2]
    loose = [i for i in range(len(truth.centres)) if not truth.held[i]]
    below = [i for i in loose if np.hypot(*(truth.centres[i, :2] - place)) < _ABOVE]
    top = max((truth.upper(i) for i in below), default=0.0)
    held = np.flatnonzero(truth.held)
    grip = truth.tool[2] - truth.lower(int(held[0])) if held.size else 0.03
    return _put(truth, place, top + grip, _ONTO_TOWER)


def _put(truth: Truth, place: Array, height: float, fit: _Fit, circle: float = 0.0) -> Advice:
    """Move over ``place``, down to ``height`` and open; once open and low within ``circle`` and a bit of it, stay."""
    aside = float(np.hypot(*(place - truth.tool[:2])))
    let_go = not truth.closing and not truth.held.any()
    if let_go and aside < fit.down + circle and truth.tool[2] < HOVER - _ABOVE:
        return _advice(np.zeros(3), OPEN, truth.opening > 0.9)
    grip = CLOSE if truth.closing else OPEN
    if aside > fit.down:
        return _advice(_across(truth, place)[0], grip, False)
    way = np.array([*(place - truth.tool[:2]), height - truth.tool[2]])
    arrived = aside < fit.aside and -way[2] < fit.above
    return _advice(_gently(way), OPEN if arrived else grip, False)


def _across(truth: Truth, place: Array) -> tuple[Array, bool]:
    """The way to ``place`` at ``HOVER``, up first; and whether that is reached."""
    aside = place - truth.tool[:2]
    height = HOVER - truth.tool[2]
    far = np.hypot(*aside) > _ABOVE
    if far and height > 0.05:
        return np.array([0.0, 0.0, height]), False
    way = np.array([*aside, height])
    return way, bool(np.abs(way).max() < _NEAR)


def _gently(way: Array) -> Array:
    """The same way, (3,) metres, at half the gain where its height is nearly reached."""
    return way * np.array([1.0, 1.0, 0.5 if abs(way[2]) < _SLOW else 1.0])


def _advice(way: Array, gripper: float, done: bool) -> Advice:
    """Move along ``way``, in metres, no faster than the environment allows."""
    velocity = np.clip(_GAIN * way / MAX_SPEED, -1.0, 1.0)
    return Advice(np.array([*velocity, gripper], np.float32), bool(done))


_GRASP, _RISE = Skill("down and grasp", grasp, grasped), Skill("up", rise, raised)

SKILLS: dict[str, tuple[Skill, ...]] = {
    "pick": (_GRASP, Skill("up", rise, lifted_high), Skill("go to the cube", go_to(0), over(0))),
    "bowl": (
        _GRASP,
        _RISE,
        Skill("go to the bowl and release", to_bowl(SMALL_BOWL), put_into(SMALL_BOWL, IN_BOWL)),
        Skill("go to the cube", go_to(0), over(0)),
    ),
    "tower": (
        _GRASP,
        _RISE,
        Skill("go to the tower and release", to_tower, put_onto(1, 0)),
        Skill("go to the small cube", go_to(1), over(1)),
    ),
    "breakfast": (
        _GRASP,
        _RISE,
        Skill("go to the bowl and release", to_bowl(LARGE_BOWL, aside=0.04), put_into(LARGE_BOWL, LARGE_BOWL.rim)),
        *(Skill(f"go to the {thing.name}", go_to(i), over(i)) for i, thing in enumerate(TASKS["breakfast"].things)),
    ),
}
SCRIPTS: dict[str, tuple[int, ...]] = {
    "pick": (2, 0, 1),
    "bowl": (3, 0, 1, 2),
    "tower": (3, 0, 1, 2),
    "breakfast": (3, 0, 1, 2, 4, 0, 1, 2, 5, 0, 1, 2),
}
