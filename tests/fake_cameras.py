"""Modules that look like ``pyrealsense2`` 2.59 and ``pyorbbecsdk`` 2.0 to a program that uses them, without cameras.

Names and shapes of calls are those that the installed packages' own signatures give; calls with other arguments fail.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

WIDTH, HEIGHT = 64, 48
LENS = {"fx": 60.0, "fy": 62.0}
CENTRE = (31.0, 24.0)


class Scene:
    """What both fake cameras see: depth in units, colours, and the number of frames so far."""

    def __init__(self) -> None:
        self.frames, self.fault = 0, "none"
        self.asked: dict[str, Any] = {}
        self.running = False

    @property
    def units(self) -> np.ndarray:
        """(H, W) ``uint16``: each pixel another distance; nothing measured in a corner."""
        depth = 4000 + np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
        depth[:4, :4] = 0
        return depth.astype(np.uint16)

    @property
    def colors(self) -> np.ndarray:
        """(H, W, 3) ``uint8``: red grows to the right, green downwards, blue with time."""
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        return np.stack([4 * columns, 5 * rows, np.full_like(rows, self.frames % 256)], axis=-1).astype(np.uint8)

    def next(self) -> None:
        self.frames += 1

    @property
    def milliseconds(self) -> float:
        return 1000.0 + 100.0 * self.frames


# ----------------------------------------------------------------------------------------------------------- RealSense


def realsense(scene: Scene) -> ModuleType:
    """A module ``pyrealsense2``."""
    rs = ModuleType("pyrealsense2")

    class Config:
        def enable_device(self, serial: str) -> None:
            scene.asked["serial"] = serial

        def enable_stream(self, stream: str, width: int, height: int, form: str, framerate: int) -> None:
            scene.asked[stream] = (width, height, form, framerate)

    class Frame:
        def __init__(self, data: np.ndarray, there: bool = True) -> None:
            self._data, self._there = data, there

        def __bool__(self) -> bool:
            return self._there

        def get_data(self) -> np.ndarray:
            return self._data

        def get_timestamp(self) -> float:
            return scene.milliseconds

    class Frames:
        def __init__(self, aligned: bool = False) -> None:
            self.aligned = aligned

        def get_color_frame(self) -> Frame:
            return Frame(scene.colors)

        def get_depth_frame(self) -> Frame:
            assert self.aligned, "depth of another camera's pixels"
            return Frame(scene.units, scene.fault != "no depth")

    class Align:
        def __init__(self, stream: str) -> None:
            assert stream == rs.stream.color

        def process(self, frames: Frames) -> Frames:
            return Frames(aligned=True)

    class Profile:
        def get_device(self) -> Any:
            return SimpleNamespace(first_depth_sensor=lambda: SimpleNamespace(get_depth_scale=lambda: 0.00025))

        def get_stream(self, stream: str) -> Any:
            assert stream == rs.stream.color
            lens = SimpleNamespace(
                width=WIDTH, height=HEIGHT, ppx=CENTRE[0], ppy=CENTRE[1], coeffs=[0.1, 0.0, 0.0, 0.0, 0.0], **LENS
            )
            return SimpleNamespace(as_video_stream_profile=lambda: SimpleNamespace(get_intrinsics=lambda: lens))

    class Pipeline:
        def start(self, config: Config) -> Profile:
            if scene.fault == "no device":
                raise RuntimeError("No device connected")
            scene.running = True
            return Profile()

        def wait_for_frames(self, timeout_ms: int = 5000) -> Frames:
            assert isinstance(timeout_ms, int)
            if scene.fault in ("stalled", "unplugged") and scene.frames:
                raise RuntimeError(f"Frame didn't arrive within {timeout_ms}")
            scene.next()
            return Frames()

        def stop(self) -> None:
            scene.running = False

    rs.stream = SimpleNamespace(depth="depth", color="color")  # type: ignore[attr-defined]
    rs.format = SimpleNamespace(z16="z16", rgb8="rgb8")  # type: ignore[attr-defined]
    rs.config, rs.pipeline, rs.align = Config, Pipeline, Align  # type: ignore[attr-defined]
    return rs


# -------------------------------------------------------------------------------------------------------------- Orbbec


def orbbec(scene: Scene) -> ModuleType:
    """A module ``pyorbbecsdk``."""
    sdk = ModuleType("pyorbbecsdk")

    class OBError(Exception):
        """No ``RuntimeError``, as in the real one."""

    class Frame:
        def __init__(self, data: np.ndarray) -> None:
            self._data = data

        def get_data(self) -> np.ndarray:
            return np.frombuffer(self._data.tobytes(), np.uint8)  # bytes, whatever they mean

        def get_width(self) -> int:
            return WIDTH

        def get_height(self) -> int:
            return HEIGHT

        def get_depth_scale(self) -> float:
            return 0.25  # millimetres of a unit

        def get_timestamp(self) -> int:
            return int(scene.milliseconds)

    class Frames:
        def __init__(self, aligned: bool = False) -> None:
            self.aligned = aligned

        def as_frame_set(self) -> Frames:
            return self

        def get_color_frame(self) -> Frame:
            return Frame(scene.colors)

        def get_depth_frame(self) -> Frame | None:
            assert self.aligned, "depth of another camera's pixels"
            return None if scene.fault == "no depth" else Frame(scene.units)

    class AlignFilter:
        def __init__(self, align_to_stream: str) -> None:
            assert align_to_stream == sdk.OBStreamType.COLOR_STREAM

        def process(self, frames: Frames) -> Frames:
            return Frames(aligned=True)

    class Profiles:
        def __init__(self, sensor: str) -> None:
            self.sensor = sensor

        def get_video_stream_profile(self, width: int, height: int, form: str, fps: int) -> tuple[Any, ...]:
            return (self.sensor, width, height, form, fps)

    class Config:
        def enable_stream(self, profile: tuple[Any, ...]) -> None:
            scene.asked[profile[0]] = profile[1:]

    class Pipeline:
        def __init__(self, device: str = "") -> None:
            if scene.fault == "no device":
                raise OBError("No device found")
            scene.asked["serial"] = device

        def get_stream_profile_list(self, sensor: str) -> Profiles:
            return Profiles(sensor)

        def enable_frame_sync(self) -> None:
            scene.asked["synchronous"] = True

        def start(self, config: Config) -> None:
            scene.running = True

        def stop(self) -> None:
            scene.running = False

        def wait_for_frames(self, timeout_ms: int) -> Frames | None:
            assert isinstance(timeout_ms, int)
            if scene.fault == "stalled" and scene.frames:
                return None
            if scene.fault == "unplugged":
                raise OBError("usb error")
            scene.next()
            return Frames()

        def get_camera_param(self) -> Any:
            lens = SimpleNamespace(width=WIDTH, height=HEIGHT, cx=CENTRE[0], cy=CENTRE[1], **LENS)
            return SimpleNamespace(
                rgb_intrinsic=lens, rgb_distortion=SimpleNamespace(k1=0.1, k2=0.0, k3=0.0, p1=0.0, p2=0.0)
            )

    class Context:
        def query_devices(self) -> Any:
            return SimpleNamespace(get_device_by_serial_number=lambda serial: serial)

    sdk.OBSensorType = SimpleNamespace(COLOR_SENSOR="color", DEPTH_SENSOR="depth")  # type: ignore[attr-defined]
    sdk.OBFormat = SimpleNamespace(RGB="rgb", Y16="y16")  # type: ignore[attr-defined]
    sdk.OBStreamType = SimpleNamespace(COLOR_STREAM="color")  # type: ignore[attr-defined]
    sdk.OBError = OBError  # type: ignore[attr-defined]
    sdk.Config, sdk.Pipeline, sdk.Context, sdk.AlignFilter = Config, Pipeline, Context, AlignFilter  # type: ignore[attr-defined]
    return sdk
