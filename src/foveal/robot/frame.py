"""Between the arm's base, in which its controller speaks, and the task's frame, in which policies were trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from foveal.errors import FovealError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TaskFrame:
    """Where the task's frame is in the base's: turned about the vertical, and moved.

    In ``foveal.envs.ur5e`` both have the same origin and the base is turned by half a turn, so that joint angle 0
    reaches along +x.

    Attributes:
        turn: degrees about z, from the base's x axis to the task's.
        origin: (x, y, z) metres of the task's origin in the base's frame.

    Raises:
        FovealError: a number that is not finite.
    """

    turn: float = 180.0
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.turn, *self.origin)):
            raise FovealError(f"the task's frame is turned by {self.turn} and moved by {self.origin}; give numbers")

    @property
    def rotation(self) -> Rotation:
        """The task's axes in the base's frame."""
        return Rotation.from_euler("z", self.turn, degrees=True)

    def position(self, pose: Array) -> Array:
        """(3,) metres in the task's frame of a tool pose (6,) in the base's: metres, then a rotation vector."""
        return np.asarray(self.rotation.inv().apply(pose[:3] - np.array(self.origin)))

    def to_base(self, velocity: Array) -> Array:
        """(3,) m/s along the base's axes of a velocity (3,) along the task's."""
        return np.asarray(self.rotation.apply(velocity))

    def from_base(self, velocity: Array) -> Array:
        """(3,) m/s along the task's axes of a velocity (3,) along the base's."""
        return np.asarray(self.rotation.inv().apply(velocity))

    def vector(self, joints: Array, pose: Array, opening: float) -> NDArray[np.float32]:
        """(14,): what the arm feels, laid out as in the observations of ``foveal.envs.ur5e``.

        Args:
            joints: (6,) radians.
            pose: (6,) of the tool in the base's frame.
            opening: of the gripper, 0 to 1.
        """
        turned = self.rotation.inv() * Rotation.from_rotvec(pose[3:])
        x, y, z, w = turned.as_quat()
        quaternion = np.array([w, x, y, z]) * (1.0 if y >= 0.0 else -1.0)
        return np.concatenate([joints, self.position(pose), quaternion, [opening]]).astype(np.float32)
