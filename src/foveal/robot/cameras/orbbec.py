"""Orbbec cameras (Gemini, Femto, Astra), by the maker's Python package: colour, and depth aligned to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from foveal.errors import FovealError
from foveal.robot.cameras.base import NEXT, START, Intrinsics, Shot
from foveal.robot.optional import optional
from foveal.robot.stops import ArmStopped


class Orbbec:
    """A camera of Orbbec's with colour and depth.

    Args:
        serial: number on the camera; the first that is found where it is empty.
        width, height: of the colours, pixels; depth comes in the camera's own size and is aligned.
        fps: frames a second.

    Raises:
        FovealError: the extra is missing, or there is no such camera.
    """

    def __init__(self, serial: str = "", width: int = 640, height: int = 480, fps: int = 30) -> None:
        self._sdk = sdk = optional("pyorbbecsdk", "orbbec", "an Orbbec camera")
        name = f"Orbbec camera {serial}".rstrip()
        self._failures = (RuntimeError, sdk.OBError)
        try:
            self._pipeline = self._opened(serial)
            config = sdk.Config()
            colors = self._pipeline.get_stream_profile_list(sdk.OBSensorType.COLOR_SENSOR)
            config.enable_stream(colors.get_video_stream_profile(width, height, sdk.OBFormat.RGB, fps))
            depths = self._pipeline.get_stream_profile_list(sdk.OBSensorType.DEPTH_SENSOR)
            config.enable_stream(depths.get_video_stream_profile(0, 0, sdk.OBFormat.Y16, fps))
            self._pipeline.enable_frame_sync()
            self._pipeline.start(config)
            self._align = sdk.AlignFilter(align_to_stream=sdk.OBStreamType.COLOR_STREAM)
            first = self._pipeline.wait_for_frames(round(1000 * START))
        except self._failures as error:
            raise FovealError(f"no {name}: {error}; no other program may use it") from error
        if first is None:
            raise FovealError(f"the {name} gives no frames: unplug it and plug it in again")
        self.intrinsics = self._own_intrinsics()

    def _opened(self, serial: str) -> Any:
        if not serial:
            return self._sdk.Pipeline()
        return self._sdk.Pipeline(self._sdk.Context().query_devices().get_device_by_serial_number(serial))

    def _own_intrinsics(self) -> Intrinsics:
        reported = self._pipeline.get_camera_param()
        lens, bent = reported.rgb_intrinsic, reported.rgb_distortion
        return Intrinsics(
            lens.width, lens.height, lens.fx, lens.fy, lens.cx, lens.cy, (bent.k1, bent.k2, bent.p1, bent.p2, bent.k3)
        )

    def grab(self) -> Shot:
        try:
            frames = self._pipeline.wait_for_frames(round(1000 * NEXT))
        except self._failures as error:
            raise ArmStopped(f"the Orbbec camera gives no frames any more: {error}") from error
        if frames is None:
            raise ArmStopped("the Orbbec camera gives no frames any more")
        aligned = self._align.process(frames).as_frame_set()
        color, depth = aligned.get_color_frame(), aligned.get_depth_frame()
        if color is None or depth is None:
            raise ArmStopped("the Orbbec camera gave a frame without colour or without depth")
        rgb = np.array(color.get_data()).reshape(color.get_height(), color.get_width(), 3)
        units = np.asarray(depth.get_data()).view(np.uint16).reshape(depth.get_height(), depth.get_width())
        metres = units.astype(np.float32) * np.float32(depth.get_depth_scale() / 1000.0)  # units are millimetres
        return Shot(rgb, metres, depth.get_timestamp() / 1000.0)

    def close(self) -> None:
        self._pipeline.stop()
