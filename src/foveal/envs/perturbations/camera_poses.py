"""Placing a camera of a Control Suite model for the next picture, and rotations for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""(3, 3)."""
Vector = NDArray[np.float64]
"""(3,)."""

FIXED, TRACKING = "fixed", "trackcom"
MODES = (FIXED, "track", TRACKING, "targetbody", "targetbodycom")
"""MuJoCo's ways for a camera to follow a body, by number."""


def about_x(angle: float) -> Matrix:
    """Rotation by an angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def about_y(angle: float) -> Matrix:
    """Rotation by an angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def about_z(angle: float) -> Matrix:
    """Rotation by an angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


class Camera:
    """One camera of a loaded model, as the next picture will be taken. MuJoCo puts it back at every step.

    Args:
        physics: of a dm_control suite environment.
        index: of the camera.
    """

    def __init__(self, physics: Any, index: int) -> None:
        self.physics, self.index = physics, index

    @property
    def mode(self) -> str:
        """How it follows a body."""
        return MODES[int(self.physics.model.cam_mode[self.index])]

    def put_back(self) -> None:
        """Where the model has it now."""
        import mujoco

        mujoco.mj_camlight(self.physics.model.ptr, self.physics.data.ptr)

    @property
    def position(self) -> Vector:
        """In the world, in metres."""
        return np.array(self.physics.data.cam_xpos[self.index])

    @property
    def orientation(self) -> Matrix:
        """Its axes as columns: right, up, and backwards, away from what it looks at."""
        return np.array(self.physics.data.cam_xmat[self.index]).reshape(3, 3)

    @property
    def agent(self) -> Vector:
        """Centre of mass of the model's first body with all that hangs on it."""
        return np.array(self.physics.data.subtree_com[1])

    def place(self, position: Vector | None = None, orientation: Matrix | None = None) -> None:
        """Move it for the next picture."""
        if position is not None:
            self.physics.data.cam_xpos[self.index] = position
        if orientation is not None:
            self.physics.data.cam_xmat[self.index] = orientation.ravel()
