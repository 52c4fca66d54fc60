"""Whether the arm stands as policies know it, and whether its joints can follow a motion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from foveal.envs.ur5e.kinematics import JOINT_SPEED, LINKS, damped_least_squares, jacobian
from foveal.envs.ur5e.model import TOOL_REACH
from foveal.envs.ur5e.simulation import DOWN
from foveal.errors import FovealError
from foveal.robot.frame import TaskFrame
from foveal.robot.stops import ArmStopped

Array = NDArray[np.float64]

NAMES = ("base", "shoulder", "elbow", "wrist 1", "wrist 2", "wrist 3")
_LIMITS = np.array([link.limit for link in LINKS])
_MARGIN = np.radians(3.0)  # radians before a joint's limit
TILT, YAW = 5.0, 15.0  # degrees that a tool may be off: from straight down, and about the vertical


def check_tool_down(pose: Array, frame: TaskFrame) -> None:
    """Whether the tool points down and its fingers open along the task's y axis, as in training.

    Args:
        pose: (6,) of the tool in the base's frame.
        frame: the task's.

    Raises:
        FovealError: they do not.
    """
    present = (frame.rotation.inv() * Rotation.from_rotvec(pose[3:])).as_matrix()
    tilt = float(np.degrees(np.arccos(np.clip(-present[2, 2], -1.0, 1.0))))
    if tilt > TILT:
        raise FovealError(
            f"the tool is tilted by {tilt:.0f} degrees from straight down, and policies know it upright to {TILT:g}: "
            "turn it, or say --any-orientation"
        )
    along = present[:, 1] @ DOWN[:, 1]
    yaw = float(np.degrees(np.arccos(np.clip(abs(along), 0.0, 1.0))))  # half a turn changes nothing for two fingers
    if yaw > YAW:
        raise FovealError(
            f"the fingers open {yaw:.0f} degrees off the task's y axis, and policies know up to {YAW:g}: turn the last "
            "joint, give another --turn, or say --any-orientation"
        )


def check_joints(joints: Array, twist: Array, seconds: float) -> None:
    """Whether every joint stays off its limit and within its speed if the tool goes on for a while.

    Args:
        joints: (6,) radians.
        twist: (6,) of the tool in the base's frame: m/s, then rad/s.
        seconds: how long.

    Raises:
        ArmStopped: one does not.
    """
    speeds = damped_least_squares(jacobian(joints, TOOL_REACH), twist)
    ahead = joints + seconds * speeds
    too_far = (np.abs(ahead) > _LIMITS - _MARGIN) & (np.abs(ahead) >= np.abs(joints))
    if too_far.any():
        number = int(np.argmax(too_far))
        raise ArmStopped(
            f"the {NAMES[number]} joint is at {np.degrees(joints[number]):.0f} degrees, and this motion would bring it "
            f"to its limit of {np.degrees(_LIMITS[number]):.0f}: start from another posture"
        )
    if float(np.abs(speeds).max()) > JOINT_SPEED:
        number = int(np.abs(speeds).argmax())
        raise ArmStopped(
            f"this motion needs {abs(speeds[number]):.1f} rad/s of the {NAMES[number]} joint, more than "
            f"{JOINT_SPEED:.1f}: the arm is near a singular posture"
        )
