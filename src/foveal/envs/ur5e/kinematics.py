"""Where a UR5e's tool is and how it moves: the manufacturer's public parameters, on plain NumPy.

Lengths, masses and centres of mass are those of "DH Parameters for calculations of kinematics and dynamics" (Universal
Robots, support articles), torques those of "Max. joint torques" (ibid.), joint limits those of the UR5e's user manual.
The calibration of a real arm differs from them by fractions of a millimetre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError

Array = NDArray[np.float64]

JOINT_SPEED = np.pi  # rad/s, of every joint
DAMPING = 0.02  # of the inverse: keeps joint speeds bounded where the arm is stretched out
_TOLERANCE = 1e-5  # metres and radians, of the inverse kinematics
_ITERATIONS = 200


@dataclass(frozen=True)
class Link:
    """A joint and the link that it turns.

    Attributes:
        a, d: metres, and alpha: radians, of the Denavit-Hartenberg transform Rz(theta) Tz(d) Tx(a) Rx(alpha).
        mass: of the link, kg.
        centre: of mass, metres, in the frame after that transform.
        torque: the joint's largest, N m.
        limit: the joint turns within +-limit, radians.
    """

    a: float
    d: float
    alpha: float
    mass: float
    centre: tuple[float, float, float]
    torque: float
    limit: float


_TURN = 2.0 * np.pi
LINKS = (
    Link(0.0, 0.1625, np.pi / 2, 3.761, (0.0, -0.02561, 0.00193), 150.0, _TURN),
    Link(-0.425, 0.0, 0.0, 8.058, (0.2125, 0.0, 0.11336), 150.0, _TURN),
    Link(-0.3922, 0.0, 0.0, 2.846, (0.15, 0.0, 0.0265), 150.0, np.pi),  # further, the elbow meets the upper arm
    Link(0.0, 0.1333, np.pi / 2, 1.37, (0.0, -0.0018, 0.01634), 28.0, _TURN),
    Link(0.0, 0.0997, -np.pi / 2, 1.3, (0.0, 0.0018, 0.01634), 28.0, _TURN),
    Link(0.0, 0.0996, 0.0, 0.365, (0.0, 0.0, -0.001159), 28.0, _TURN),
)


def link_transform(link: Link, angle: float) -> Array:
    """(4, 4): the frame after a joint in the frame before it, Rz(angle) Tz(d) Tx(a) Rx(alpha)."""
    ct, st, ca, sa = np.cos(angle), np.sin(angle), np.cos(link.alpha), np.sin(link.alpha)
    return np.array(
        [
            [ct, -st * ca, st * sa, link.a * ct],
            [st, ct * ca, -ct * sa, link.a * st],
            [0.0, sa, ca, link.d],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def frames(joints: Array) -> Array:
    """(7, 4, 4): the base's frame, then the frame after each joint, all in the base's frame; the last is the flange.

    Args:
        joints: (6,) radians.
    """
    poses = [np.eye(4)]
    for link, angle in zip(LINKS, joints, strict=True):
        poses.append(poses[-1] @ link_transform(link, float(angle)))
    return np.stack(poses)


def tool_pose(joints: Array, reach: float) -> Array:
    """(4, 4) in the base's frame: the flange's pose, moved out by ``reach`` metres along its own z axis."""
    pose: Array = frames(joints)[-1].copy()
    pose[:3, 3] += reach * pose[:3, 2]
    return pose


def jacobian(joints: Array, reach: float) -> Array:
    """(6, 6): velocity of the tool, linear then angular, in the base's frame, per joint speed."""
    poses = frames(joints)
    tool = poses[-1][:3, 3] + reach * poses[-1][:3, 2]
    axes = poses[:-1, :3, 2]  # (6, 3)
    linear = np.cross(axes, tool - poses[:-1, :3, 3])
    return np.concatenate([linear.T, axes.T])


def damped_least_squares(jacobian: Array, twist: Array, damping: float = DAMPING) -> Array:
    """(6,) joint speeds in rad/s that give nearly this ``twist`` (m/s, then rad/s) and stay small near singularities.

    dq = J^T (J J^T + damping^2 I)^-1 twist (Wampler, 1986; Nakamura and Hanafusa, 1986).
    """
    square = jacobian @ jacobian.T + damping**2 * np.eye(6)
    speeds: Array = jacobian.T @ np.linalg.solve(square, twist)
    return speeds


def orientation_error(wanted: Array, actual: Array) -> Array:
    """(3,) the rotation from the matrix ``actual`` to ``wanted``, as half the sum of the cross products of their axes.

    That is the rotation vector to first order. Its direction is right for rotations up to a right angle.
    """
    return np.asarray(0.5 * np.cross(actual.T, wanted.T).sum(axis=0))


def solve(position: Array, rotation: Array, reach: float, start: Array) -> Array:
    """(6,) joint angles at which the tool has this pose in the base's frame: the solution nearest ``start``.

    Args:
        position: (3,) metres.
        rotation: (3, 3).
        reach: metres from the flange to the tool.
        start: (6,) radians, where the search begins.

    Raises:
        FovealError: the pose is out of reach from there.
    """
    joints = start.astype(np.float64).copy()
    for _ in range(_ITERATIONS):
        pose = tool_pose(joints, reach)
        error = np.concatenate([position - pose[:3, 3], orientation_error(rotation, pose[:3, :3])])
        if np.abs(error).max() < _TOLERANCE:
            return joints
        joints = joints + np.clip(damped_least_squares(jacobian(joints, reach), error), -0.3, 0.3)
    raise FovealError(f"the arm can't bring its tool to {np.round(position, 3).tolist()} m in the base's frame")
