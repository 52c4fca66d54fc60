"""Finds what a user brings to the arm: each is an object in a module or behind an entry point."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from foveal.errors import FovealError
from foveal.registry import nearest
from foveal.robot.interfaces import Camera, Gripper, Observation, PolicyFunction
from foveal.robot.stops import ArmStopped, ur_rtde
from foveal.robot.trained import TrainedPolicy
from foveal.training.run_folder import kind_of

PICTURES = ("depth", "rgb")
TOOL_OUTPUTS = 2


class NoGripper:
    """Sends nothing; is as open as the last order said. Dry runs use it in place of any other."""

    def __init__(self) -> None:
        self._opening = 1.0

    def grip(self, close: bool) -> None:
        self._opening = 0.0 if close else 1.0

    def opening(self) -> float:
        return self._opening

    def disconnect(self) -> None:
        """There is nothing to do."""


class ToolOutput(NoGripper):
    """A gripper that closes while a digital output at the tool flange is high. It reports no opening of its own.

    Args:
        host: address of the arm.
        number: of the output, 0 or 1.

    Raises:
        FovealError: no such output, or the controller refuses.
    """

    def __init__(self, host: str, number: int) -> None:
        super().__init__()
        if number not in range(TOOL_OUTPUTS):
            raise FovealError(f"tool output {number} does not exist; there are 0 and 1")
        self._number = number
        try:
            self._outputs = ur_rtde("rtde_io").RTDEIOInterface(host)
        except RuntimeError as error:
            raise FovealError(f"can't set outputs of the arm at {host}: {error}") from error

    def grip(self, close: bool) -> None:
        try:
            done = self._outputs.setToolDigitalOut(self._number, close)
        except RuntimeError as error:
            raise ArmStopped(f"can't set tool output {self._number}: {error}") from error
        if not done:
            raise ArmStopped(f"the controller did not set tool output {self._number}")
        super().grip(close)

    def disconnect(self) -> None:
        self._outputs.disconnect()


def load_policy(text: str) -> PolicyFunction:
    """The policy at ``MODULE:NAME``, where a class is called without arguments, or that of a folder.

    Raises:
        FovealError: there is none.
    """
    if kind_of(text):
        return TrainedPolicy(text)
    named = _named(text, "policy", "foveal.arm.policies")
    policy: PolicyFunction = named() if isinstance(named, type) else named
    return policy


def load_camera(text: str) -> Camera:
    """What the class or function at ``MODULE:NAME`` or behind the entry point makes when it is called.

    Raises:
        FovealError: there is none, or it makes something else.
    """
    camera: Camera = _named(text, "camera", "foveal.arm.cameras")()
    _check_methods(camera, text, "read", "close")
    return camera


def load_gripper(text: str, host: str) -> Gripper:
    """``none``, ``tool-output:0``, ``tool-output:1``, or as ``load_camera``.

    Raises:
        FovealError: there is none, or it makes something else.
    """
    if text == "none":
        return NoGripper()
    kind, _, number = text.partition(":")
    if kind == "tool-output":
        if not number.isdecimal():
            raise FovealError(f"--gripper {text} names no output: say tool-output:0 or tool-output:1")
        return ToolOutput(host, int(number))
    gripper: Gripper = _named(text, "gripper", "foveal.arm.grippers")()
    _check_methods(gripper, text, "grip", "opening", "disconnect")
    return gripper


def check_pictures(pictures: object) -> Observation:
    """The same pictures, if they are what policies are used to.

    Raises:
        FovealError: something else, or depth that is not a number.
    """
    if not isinstance(pictures, Mapping) or not pictures or set(pictures) - set(PICTURES):
        raise FovealError("the camera must read a dict of 'depth', 'rgb' or both")
    depth, rgb = (None if name not in pictures else np.asarray(pictures[name]) for name in PICTURES)
    if depth is not None and (depth.ndim != 2 or depth.dtype.kind != "f"):
        raise FovealError(f"the camera's depth is {depth.shape} {depth.dtype}; it must be (H, W) floats in metres")
    if depth is not None and not np.isfinite(depth).all():
        raise FovealError("the camera's depth holds values that are not finite: put 0 where nothing was measured")
    if rgb is not None and (rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8):
        raise FovealError(f"the camera's rgb is {rgb.shape} {rgb.dtype}; it must be (H, W, 3) uint8")
    return pictures


def _named(text: str, kind: str, group: str) -> Any:
    """What ``MODULE:NAME`` or an entry point of ``group`` names; modules in the current folder count too."""
    if ":" not in text:
        points = {point.name: point for point in entry_points(group=group)}
        if text not in points:
            hint = f" or {nearest(text, list(points))}" if points else ""
            folders = ", or the folder of a trained one" if kind == "policy" else ""
            raise FovealError(f"unknown {kind} {text!r}: say MODULE:NAME{folders}{hint}")
        return points[text].load()
    module, _, name = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        named = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise FovealError(f"{kind} {text}: {error}") from error
    if not callable(named):
        raise FovealError(f"{kind} {text} can't be called")
    return named


def _check_methods(thing: object, text: str, *names: str) -> None:
    missing = [name for name in names if not callable(getattr(thing, name, None))]
    if missing:
        raise FovealError(f"{text} gave a {type(thing).__name__}, which has no {missing[0]}()")
