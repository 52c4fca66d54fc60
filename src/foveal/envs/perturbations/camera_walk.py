"""A camera that wanders over a part of a sphere around the agent and always looks at it (Stone et al. 2021)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveal.envs.perturbations.camera_poses import FIXED, Camera, Matrix, Vector, about_x, about_z

USUAL_RADIUS = 4.0
"""Metres from the agent for which speeds are meant; a nearer camera is slower in proportion."""
TINY = 1e-4


class Limits(NamedTuple):
    """What an intensity allows, all in proportion to it.

    Attributes:
        angle: to either side of where the camera is at first, and upwards and downwards; and of roll.
        speed, speed_step: the greatest, and the standard deviation of a change, in metres a change.
        roll_speed, roll_step: the same of roll, in radians.
        nearer, further: the share of its distance by which the camera may come nearer or go away.
    """

    angle: float
    speed: float
    speed_step: float
    roll_speed: float
    roll_step: float
    nearer: float
    further: float

    @classmethod
    def of(cls, intensity: float) -> Limits:
        """Those of an intensity in [0, 1]."""
        whole = cls(np.pi / 2, 0.4, 0.1, np.pi / 50, np.pi / 300, 0.5, 1.5)
        return cls(*(intensity * value for value in whole))


class CameraWalk:
    """Where the camera is: (radius, angle around, angle from above) as seen from the agent, and its roll.

    Args:
        camera: the one that renders.
        intensity: in [0, 1].
        upright: keep it level, in the upper half and on its own side of the agent; else it may go anywhere in its
            range, and tilt.
    """

    def __init__(self, camera: Camera, intensity: float, *, upright: bool) -> None:
        self.camera, self.limits, self.upright = camera, Limits.of(intensity), upright
        self.low = self.high = self.place = np.zeros(3)
        self.velocity = np.zeros(3)
        self.roll = self.roll_velocity = 0.0
        self.pace = 1.0
        self.target = np.zeros(3)

    def begin(self, random: np.random.RandomState) -> None:
        """The range around where the model has the camera, a place in it, and a velocity; then a first step."""
        self.camera.put_back()
        self.target = self._looked_at()
        first = spherical(self.camera.position - self._centre())
        angle, radius = self.limits.angle, first[0]
        self.pace = radius / USUAL_RADIUS
        self.low = np.array([radius - radius * self.limits.nearer, first[1] - angle, first[2] - angle])
        self.high = np.array([radius + radius * self.limits.further, first[1] + angle, first[2] + angle])
        if self.upright:
            self.low[1:], self.high[1:] = (
                np.maximum(self.low[1:], [-np.pi, 0.0]),
                np.minimum(self.high[1:], [0.0, np.pi / 2]),
            )
        around, above = (random.uniform(self.low[axis], self.high[axis]) for axis in (1, 2))
        self.place = np.array([random.uniform(self.low[0], self.high[0]), around, above])
        self.roll = random.uniform(-angle, angle)
        direction = random.randn(3)
        self.velocity = direction / np.linalg.norm(direction) * random.uniform(0.0, self.limits.speed)
        self.roll_velocity = random.uniform(-self.limits.roll_speed, self.limits.roll_speed)
        self.step(random)

    def step(self, random: np.random.RandomState) -> None:
        """A random walk of the velocities, a move with them, and what the range's borders leave of both."""
        limits, fastest = self.limits, self.limits.speed * self.pace
        self.velocity = self.velocity + random.randn(3) * limits.speed_step * self.pace
        self.roll_velocity += random.randn() * limits.roll_step
        if (speed := np.linalg.norm(self.velocity)) > fastest:
            self.velocity = self.velocity * (fastest / speed)
        self.roll_velocity = float(np.clip(self.roll_velocity, -limits.roll_speed, limits.roll_speed))
        before = cartesian(self.place)
        self.place = np.clip(spherical(before + self.velocity), self.low, self.high)
        self.velocity = cartesian(self.place) - before
        roll = float(np.clip(self.roll + self.roll_velocity, -limits.angle, limits.angle))
        self.roll_velocity, self.roll = roll - self.roll, roll

    def show(self) -> None:
        """Put the camera there, looking at what the model's own camera looks at."""
        self.camera.put_back()
        centre = self._centre()
        target = self.target if self.camera.mode == FIXED else self._looked_at()
        position = cartesian(self.place) + centre
        looking = level(target - position) if self.upright else shortest_turn(target - position)
        self.camera.place(position, looking @ about_z(self.roll))

    def _centre(self) -> Vector:
        """Of the sphere: the agent, where the camera follows it, or else the world's origin."""
        return np.zeros(3) if self.camera.mode == FIXED else self.camera.agent

    def _looked_at(self) -> Vector:
        """The point before the model's own camera that is as far away as the agent."""
        position = self.camera.position
        distance = float(np.linalg.norm(position - self.camera.agent))
        return np.asarray(position - distance * self.camera.orientation[:, 2])

    def get_state(self) -> dict[str, Any]:
        """Arrays and numbers."""
        names = ("low", "high", "place", "velocity", "target")
        arrays: dict[str, NDArray[np.float64]] = {name: np.array(getattr(self, name)) for name in names}
        return {**arrays, "roll": self.roll, "roll_velocity": self.roll_velocity, "pace": self.pace}

    def set_state(self, state: dict[str, Any]) -> None:
        """The inverse of ``get_state``."""
        for name in ("low", "high", "place", "velocity", "target"):
            setattr(self, name, np.array(state[name], np.float64))
        self.roll, self.roll_velocity = float(state["roll"]), float(state["roll_velocity"])
        self.pace = float(state["pace"])


def spherical(point: Vector) -> Vector:
    """(radius, angle around the vertical from x, angle from the vertical) of (x, y, z)."""
    x, y, z = point
    return np.array([np.linalg.norm(point), np.arctan2(y, x), np.arctan2(np.hypot(x, y), z)])


def cartesian(place: Vector) -> Vector:
    """The inverse of ``spherical``."""
    radius, around, above = place
    flat = radius * np.sin(above)
    return np.array([flat * np.cos(around), flat * np.sin(around), radius * np.cos(above)])


def level(direction: Vector) -> Matrix:
    """The orientation of a camera that looks along ``direction`` with its horizon level."""
    x, y, z = direction / np.linalg.norm(direction)
    yaw, pitch = np.arctan2(x, y), np.arctan2(z, np.hypot(x, y))
    return about_z(-yaw) @ about_x(pitch + np.pi / 2)  # a camera that isn't turned looks down


def shortest_turn(direction: Vector) -> Matrix:
    """The orientation of a camera that is turned from looking down to looking along ``direction``, as little as needed.

    The axis is divided by a little more than its length, as published: the turn is a rotation up to that.
    """
    wanted, down = direction / np.linalg.norm(direction), np.array([0.0, 0.0, -1.0])
    axis = np.cross(down, wanted)
    sine, cosine = np.linalg.norm(axis), float(down @ wanted)
    x, y, z = axis / (sine + TINY)
    crossing = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    outer = np.outer([x, y, z], [x, y, z])
    return np.asarray(cosine * np.eye(3) + (1.0 - cosine) * outer + sine * crossing)
