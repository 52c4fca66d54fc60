"""Cameras by name: a file for each maker, behind one protocol (``base.Driver``)."""

from __future__ import annotations

from collections.abc import Callable

from foveal.robot.cameras.base import Driver, Framed, Framing, Intrinsics, Shot
from foveal.robot.cameras.opencv import OpenCV
from foveal.robot.cameras.orbbec import Orbbec
from foveal.robot.cameras.realsense import RealSense

__all__ = ["DRIVERS", "Driver", "Framed", "Framing", "Intrinsics", "Shot"]

DRIVERS: dict[str, Callable[..., Driver]] = {"realsense": RealSense, "orbbec": Orbbec, "opencv": OpenCV}
"""``NAME`` or ``NAME:WHICH`` on the command line; WHICH is a serial number, or of ``opencv`` a device or a stream."""
