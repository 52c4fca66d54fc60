"""What the tool may do: how fast it moves, how quickly that changes, and where. Plain arithmetic, without an arm."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from foveal.envs.ur5e.randomization import WORKSPACE
from foveal.envs.ur5e.simulation import CONTROL_STEP, MAX_SPEED
from foveal.errors import FovealError

Array = NDArray[np.float64]
Workspace = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

MOST_SPEED, MOST_ACCELERATION, MOST_TURN = 1.0, 5.0, 1.0  # what a user may ask for: m/s, m/s^2, rad/s
LONGEST_TIMEOUT = 1.0  # seconds
# How long the arm goes on at its old velocity before a new one counts, as a share of the period: it is half a period on
# average where the controller ramps for a whole one, and the rest is for news that is late.
_LAG = 0.8
_UPRIGHT_GAIN = 1.0  # 1/s, with which the tool is turned back


@dataclass(frozen=True)
class Limits:
    """Bounds of a run. Velocities are the tool's, in the task's frame.

    Attributes:
        scale: m/s that an action of 1 asks for along an axis, as in training.
        speed: m/s, the most in any direction; 0.25 is the reduced speed of ISO 10218-1.
        acceleration: m/s^2, the most in any direction, also when stopping.
        turn: rad/s, the most with which the tool is turned back to the orientation that it began with.
        workspace: metres, (low, high) of x, y, z: the tool never leaves it.
        period: seconds from one command to the next.
        timeout: seconds without a command after which the controller stops the arm by itself.

    Raises:
        FovealError: a bound that is no positive number, too large, or an empty workspace.
    """

    scale: float = MAX_SPEED
    speed: float = 0.25
    acceleration: float = 1.0
    turn: float = 0.2
    workspace: Workspace = WORKSPACE
    period: float = CONTROL_STEP
    timeout: float = 0.25

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.name != "workspace"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise FovealError(f"the arm's {name} is {value}; give a positive number")
        most = {"scale": MOST_SPEED, "speed": MOST_SPEED, "acceleration": MOST_ACCELERATION, "turn": MOST_TURN}
        for name, bound in {**most, "timeout": LONGEST_TIMEOUT}.items():
            if getattr(self, name) > bound:
                raise FovealError(f"the arm's {name} is {getattr(self, name)}; at most {bound:g} is allowed")
        if self.timeout < 2.0 * self.period:
            raise FovealError(
                f"the arm's timeout is {self.timeout} s; with a command every {self.period} s give at least "
                f"{2.0 * self.period:g}, or the controller stops whenever one is late"
            )
        for axis, (low, high) in zip("xyz", self.workspace, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise FovealError(f"the workspace's {axis} is {low} to {high} m; give low, then high")

    def outside(self, position: Array) -> float:
        """Metres by which a position (3,) is out of the workspace along the worst axis; 0 within it."""
        low, high = np.array(self.workspace).T
        return float(np.maximum(low - position, position - high).max(initial=0.0))


def velocity_bounds(position: Array, previous: Array, limits: Limits) -> tuple[Array, Array]:
    """(3,) and (3,): velocities, lowest and highest, that leave the tool within the workspace whatever follows.

    A velocity v towards a wall at distance d, after the velocity u, is allowed where u L + v T + v^2 / (2 b) <= d. L is
    the lag with which commands act, T the timeout, for which the arm goes on if this was the last command, and b the
    braking after it: the acceleration over sqrt(3), so that all three axes can brake at once. From there, braking by b
    keeps to the same bound, as L is shorter than (T - period / 2) / sqrt(3).
    Outside of the workspace nothing is allowed but the way back.
    """
    low, high = np.array(limits.workspace).T
    lag, wait, braking = _LAG * limits.period, limits.timeout, limits.acceleration / math.sqrt(3.0)

    def fastest(distance: Array) -> Array:
        return np.asarray(braking * (np.sqrt(wait**2 + 2.0 * np.maximum(distance, 0.0) / braking) - wait))

    to_low = position - low - lag * np.maximum(-previous, 0.0)
    to_high = high - position - lag * np.maximum(previous, 0.0)
    return -fastest(to_low), fastest(to_high)


def limited(wanted: Array, previous: Array, position: Array, limits: Limits, seconds: float) -> Array:
    """(3,) m/s: the velocity nearest ``wanted`` on the straight way there that all limits allow.

    The previous velocity first brakes as far as the workspace asks for; what is left of the acceleration leads on
    towards the wanted velocity. Both are within the speed limit and the workspace's bounds, and so is all between them.

    Args:
        wanted: (3,) m/s.
        previous: (3,) m/s, the command before.
        position: (3,) metres, where the tool is.
        limits: the bounds.
        seconds: since the command before. More than a period counts as one.
    """
    low, high = velocity_bounds(position, previous, limits)
    target = np.clip(wanted * min(1.0, limits.speed / max(float(np.linalg.norm(wanted)), 1e-12)), low, high)
    braked = np.clip(previous, low, high)
    left = limits.acceleration * min(seconds, limits.period) - float(np.linalg.norm(braked - previous))
    way = target - braked
    share = np.clip(left / max(float(np.linalg.norm(way)), 1e-12), 0.0, 1.0)
    return np.asarray(braked + share * way)


def turning_back(kept: Rotation, present: Rotation, limits: Limits) -> Array:
    """(3,) rad/s about the base's axes that turn the tool from its present orientation to the one that it keeps."""
    error = (kept * present.inv()).as_rotvec()
    speed = _UPRIGHT_GAIN * error
    return np.asarray(speed * min(1.0, limits.turn / max(float(np.linalg.norm(speed)), 1e-12)))
