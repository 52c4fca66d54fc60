"""Finds what a user brings to the arm: each is an object in a module or behind an entry point."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from foveal.errors import FovealError
from foveal.registry import nearest, search_here
from foveal.robot.cameras import DRIVERS, Driver, Framed, Framing, Intrinsics
from foveal.robot.grippers import KNOWN, known_gripper
from foveal.robot.interfaces import Camera, Gripper, Observation, PolicyFunction
from foveal.robot.success import SUCCESS, SuccessFunction, known_success
from foveal.robot.trained import TrainedPolicy
from foveal.robot.watch import TIMESTAMP
from foveal.training.run_folder import kind_of

PICTURES = ("depth", "rgb")


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


def load_driver(text: str) -> Driver | None:
    """The driver that ``NAME`` or ``NAME:WHICH`` names, see ``foveal.robot.cameras``; None where it names none.

    Raises:
        FovealError: its extra is missing, or there is no such camera.
    """
    name, _, which = text.partition(":")
    if name not in DRIVERS:
        return None
    return DRIVERS[name](which) if which else DRIVERS[name]()


def load_camera(text: str, framing: Framing | None = None, intrinsics: Intrinsics | None = None) -> Camera:
    """A camera with a driver of foveal's, or one of the user's.

    That is what the class or function at ``MODULE:NAME`` or behind the entry point makes when it is called.

    Args:
        text: names it.
        framing: what policies see, of a driver's frames.
        intrinsics: of the camera, where a calibration knows better than the driver.

    Raises:
        FovealError: there is none, or it makes something else.
    """
    driver = load_driver(text)
    if driver is not None:
        return Framed(driver, Framing() if framing is None else framing, intrinsics)
    camera: Camera = _named(text, "camera", "foveal.arm.cameras")()
    _check_methods(camera, text, "read", "close")
    return camera


def load_gripper(text: str, host: str) -> Gripper:
    """One that ``foveal.robot.grippers.KNOWN`` names, or as ``load_camera``.

    Raises:
        FovealError: there is none, or it makes something else.
    """
    if text.partition(":")[0] in KNOWN:
        return known_gripper(text, host)
    gripper: Gripper = _named(text, "gripper", "foveal.arm.grippers")()
    _check_methods(gripper, text, "grip", "opening", "disconnect")
    return gripper


def load_success(text: str) -> SuccessFunction:
    """What tells that a task is done: a task's name, or ``MODULE:NAME``, where a class is called without arguments.

    Raises:
        FovealError: there is none.
    """
    if text in SUCCESS or ":" not in text:
        return known_success(text)
    named = _named(text, "success", "foveal.arm.success")
    success: SuccessFunction = named() if isinstance(named, type) else named
    return success


def check_pictures(pictures: object) -> Observation:
    """The same pictures, if they are what policies are used to.

    Raises:
        FovealError: something else, or depth that is not a number.
    """
    names = set(pictures) if isinstance(pictures, Mapping) else set()
    if not isinstance(pictures, Mapping) or names - {*PICTURES, TIMESTAMP} or not names & set(PICTURES):
        raise FovealError("the camera must read a dict of 'depth', 'rgb' or both, and perhaps a 'timestamp'")
    depth, rgb = (None if name not in pictures else np.asarray(pictures[name]) for name in PICTURES)
    if depth is not None and (depth.ndim != 2 or depth.dtype.kind != "f"):
        raise FovealError(f"the camera's depth is {depth.shape} {depth.dtype}; it must be (H, W) floats in metres")
    if depth is not None and not np.isfinite(depth).all():
        raise FovealError("the camera's depth holds values that are not finite: put 0 where nothing was measured")
    if rgb is not None and (rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8):
        raise FovealError(f"the camera's rgb is {rgb.shape} {rgb.dtype}; it must be (H, W, 3) uint8")
    if TIMESTAMP in pictures and not np.isfinite(pictures[TIMESTAMP]):
        raise FovealError(f"the camera's timestamp is {pictures[TIMESTAMP]}; it must be seconds")
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
    search_here()
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
