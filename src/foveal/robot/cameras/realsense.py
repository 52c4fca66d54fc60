"""Intel RealSense cameras, by librealsense's own Python package: colour, and depth aligned to it."""

from __future__ import annotations

import numpy as np

from foveal.errors import FovealError
from foveal.robot.cameras.base import NEXT, START, Intrinsics, Shot
from foveal.robot.optional import optional
from foveal.robot.stops import ArmStopped


class RealSense:
    """The D400 series and its like.

    Args:
        serial: number on the camera; the first that is found where it is empty.
        width, height: of both streams, pixels.
        fps: frames a second.

    Raises:
        FovealError: the extra is missing, or there is no such camera.
    """

    def __init__(self, serial: str = "", width: int = 640, height: int = 480, fps: int = 30) -> None:
        rs = optional("pyrealsense2", "realsense", "a RealSense camera")
        name = f"RealSense camera {serial}".rstrip()
        config = rs.config()
        if serial:
            config.enable_device(serial)
        config.enable_stream(rs.stream.depth, width, height, rs.format.z16, fps)
        config.enable_stream(rs.stream.color, width, height, rs.format.rgb8, fps)
        self._pipeline = rs.pipeline()
        try:
            profile = self._pipeline.start(config)
            self._pipeline.wait_for_frames(round(1000 * START))
        except RuntimeError as error:
            raise FovealError(f"no {name}: {error}; it needs a USB 3 port, and no other program may use it") from error
        self._scale = float(profile.get_device().first_depth_sensor().get_depth_scale())
        self._align = rs.align(rs.stream.color)
        lens = profile.get_stream(rs.stream.color).as_video_stream_profile().get_intrinsics()
        self.intrinsics = Intrinsics(
            lens.width, lens.height, lens.fx, lens.fy, lens.ppx, lens.ppy, tuple(map(float, lens.coeffs))
        )

    def grab(self) -> Shot:
        try:
            frames = self._align.process(self._pipeline.wait_for_frames(round(1000 * NEXT)))
        except RuntimeError as error:
            raise ArmStopped(f"the RealSense camera gives no frames any more: {error}") from error
        color, depth = frames.get_color_frame(), frames.get_depth_frame()
        if not color or not depth:
            raise ArmStopped("the RealSense camera gave a frame without colour or without depth")
        metres = np.asanyarray(depth.get_data()).astype(np.float32) * np.float32(self._scale)
        return Shot(np.array(color.get_data()), metres, depth.get_timestamp() / 1000.0)

    def close(self) -> None:
        self._pipeline.stop()
