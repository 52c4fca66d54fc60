"""A policy on a real Universal Robots arm, through ur_rtde: limits first, then motion.

``run`` drives, ``Limits`` bounds what it may do, ``unlock`` releases a protective stop after somebody has confirmed it.
``docs/real-arm.md`` says what must be true of the cell before anything moves.
"""

from __future__ import annotations

from foveal.robot.frame import TaskFrame
from foveal.robot.interfaces import Camera, Gripper, PolicyFunction
from foveal.robot.limits import Limits
from foveal.robot.running import Report, RunSettings, Step, run
from foveal.robot.stops import ArmStopped, unlock

__all__ = [
    "ArmStopped",
    "Camera",
    "Gripper",
    "Limits",
    "PolicyFunction",
    "Report",
    "RunSettings",
    "Step",
    "TaskFrame",
    "run",
    "unlock",
]
