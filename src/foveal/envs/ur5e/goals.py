"""What a single skill is to achieve, whatever the task makes of it: predicates on the beginning and on now.

A skill's turn begins where the script has it begin. Its goal is what the next skill of the script needs, or, of the
last one, success.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foveal.envs.ur5e.tasks import LIFTED, Bowl, Truth, lies_in, stands_on

Goal = Callable[[Truth, Truth], bool]
"""(where the skill began, now) -> whether it has achieved what it is for."""

HOVER = 0.24  # metres: the tool's height on its way across the table
HIGH = 0.04  # metres by which the tool may miss that height
OVER = 0.03  # metres aside within which the tool is over a thing: the way down leads to it from there
OPENED = 0.9  # opening from which on a gripper is open


def over(thing: int) -> Goal:
    """The open gripper is over a thing, high enough to look down on it."""

    def goal(began: Truth, now: Truth) -> bool:
        aside = float(np.hypot(*(now.centres[thing, :2] - now.tool[:2])))
        return aside < OVER and _high(now) and now.opening > OPENED

    return goal


def grasped(began: Truth, now: Truth) -> bool:
    """Something is between the closing fingers."""
    return bool(now.held.any()) and now.closing


def raised(began: Truth, now: Truth) -> bool:
    """The tool is high and still holds all that it did at first, which hangs as high as what counts as picked."""
    held = _held(began)
    return _high(now) and all(now.held[thing] and now.lower(thing) > LIFTED for thing in held)


def lifted_high(began: Truth, now: Truth) -> bool:
    """What the gripper held at first hangs as high as ``pick`` wants it: the episode ends there, below ``HOVER``."""
    held = _held(began)
    return bool(held) and all(now.held[thing] and now.lower(thing) > LIFTED for thing in held)


def put_into(bowl: Bowl, radius: float) -> Goal:
    """All that the gripper held at first lies in the bowl, untouched, and the gripper opens."""

    def goal(began: Truth, now: Truth) -> bool:
        held = _held(began)
        inside = all(lies_in(now, thing, radius, bowl) for thing in held)
        return bool(held) and inside and not now.closing

    return goal


def put_onto(upper: int, lower: int) -> Goal:
    """What the gripper held at first stands on another thing, untouched, and the gripper opens."""

    def goal(began: Truth, now: Truth) -> bool:
        return bool(began.held[upper]) and not now.touched.any() and stands_on(now, upper, lower) and not now.closing

    return goal


def _high(now: Truth) -> bool:
    return abs(float(now.tool[2]) - HOVER) < HIGH


def _held(truth: Truth) -> list[int]:
    return [int(thing) for thing in np.flatnonzero(truth.held)]
