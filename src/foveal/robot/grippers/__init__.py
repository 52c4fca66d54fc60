"""Grippers by name: a file for each maker, behind one protocol (``foveal.robot.interfaces.Gripper``)."""

from __future__ import annotations

from foveal.errors import FovealError
from foveal.robot.grippers.onrobot import MODELS, OnRobot
from foveal.robot.grippers.plain import NoGripper, ToolOutput
from foveal.robot.grippers.robotiq import Robotiq
from foveal.robot.interfaces import Gripper

__all__ = ["KNOWN", "NoGripper", "OnRobot", "Robotiq", "ToolOutput", "known_gripper"]

KNOWN = ("none", "tool-output", "robotiq", *MODELS)


def known_gripper(text: str, host: str) -> Gripper:
    """The gripper that ``NAME`` or ``NAME:WHERE`` names, of ``KNOWN``.

    Args:
        text: WHERE is the number of a tool output, or the address of an OnRobot Compute Box.
        host: address of the arm.

    Raises:
        FovealError: it does not say where, or does not answer there.
    """
    name, _, where = text.partition(":")
    if name == "none":
        return NoGripper()
    if name == "robotiq":
        return Robotiq(where or host)
    if name == "tool-output":
        if not where.isdecimal():
            raise FovealError(f"--gripper {text} names no output: say tool-output:0 or tool-output:1")
        return ToolOutput(host, int(where))
    if not where:
        raise FovealError(f"--gripper {text} names no Compute Box: say {text}:192.168.1.1, with its address")
    return OnRobot(name, where)
