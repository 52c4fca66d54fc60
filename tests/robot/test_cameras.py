"""Cameras: what drivers make of a maker's frames, and what policies are shown of them."""

from __future__ import annotations

import importlib
import math
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

import fake_cameras
from fake_cameras import HEIGHT, WIDTH, Scene
from foveal.envs.ur5e import make_arm
from foveal.errors import FovealError
from foveal.pictures.video import write_video
from foveal.robot.cameras import Framed, Framing, Intrinsics, Shot
from foveal.robot.sources import check_pictures, load_camera, load_driver
from foveal.robot.stops import ArmStopped

MAKERS = {"realsense": ("pyrealsense2", fake_cameras.realsense), "orbbec": ("pyorbbecsdk", fake_cameras.orbbec)}
WHOLE = Framing(24, 45.0)


@pytest.fixture(params=MAKERS)
def maker(request: pytest.FixtureRequest) -> str:
    """Each maker's name."""
    return str(request.param)


@pytest.fixture
def scene(maker: str, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """What that maker's fake camera sees."""
    module, make = MAKERS[maker]
    seen = Scene()
    monkeypatch.setitem(sys.modules, module, make(seen))
    return seen


def test_a_driver_gives_colours_and_depth_of_the_same_pixels_in_metres(maker: str, scene: Scene) -> None:
    driver = load_driver(f"{maker}:1234")
    assert driver is not None and scene.asked["serial"] == "1234"

    first, second = driver.grab(), driver.grab()

    assert first.depth is not None and first.depth.dtype == np.float32
    assert first.depth == pytest.approx(scene.units * 0.00025)
    assert second.rgb.shape == (HEIGHT, WIDTH, 3) and second.rgb.dtype == np.uint8
    assert np.array_equal(second.rgb, scene.colors)
    assert second.timestamp - first.timestamp == pytest.approx(0.1)  # seconds
    assert driver.intrinsics == Intrinsics(WIDTH, HEIGHT, 60.0, 62.0, 31.0, 24.0, (0.1, 0.0, 0.0, 0.0, 0.0))
    assert scene.running
    driver.close()
    assert not scene.running


def test_drivers_ask_for_what_they_need(maker: str, scene: Scene) -> None:
    load_driver(maker)

    assert scene.asked["color"] == ((640, 480, "rgb8", 30) if maker == "realsense" else (640, 480, "rgb", 30))
    assert scene.asked["depth"] == ((640, 480, "z16", 30) if maker == "realsense" else (0, 0, "y16", 30))


def test_policies_get_what_checks_let_pass(maker: str, scene: Scene) -> None:
    seen = check_pictures(load_camera(maker, WHOLE).read())

    assert set(seen) == {"rgb", "depth", "timestamp"}
    assert seen["rgb"].shape == (24, 24, 3) and seen["depth"].shape == (24, 24)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("stalled", "no frames any more"),
        ("unplugged", "no frames any more"),
        ("no depth", "without depth"),
    ],
)
def test_a_camera_that_fails_stops_the_arm(maker: str, scene: Scene, fault: str, message: str) -> None:
    driver = load_driver(maker)
    assert driver is not None
    scene.fault = fault
    with pytest.raises(ArmStopped, match=message):
        driver.grab()


def test_no_camera(maker: str, scene: Scene) -> None:
    scene.fault = "no device"
    with pytest.raises(FovealError, match=r"no .* camera 77: No device"):
        load_driver(f"{maker}:77")


@pytest.mark.parametrize(
    ("camera", "module", "extra"),
    [("realsense", "pyrealsense2", "realsense"), ("orbbec", "pyorbbecsdk", "orbbec"), ("opencv:0", "cv2", "opencv")],
)
def test_without_its_extra_a_camera_names_it(
    camera: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FovealError, match=rf'pip install "foveal\[{extra}\]"'):
        load_camera(camera)


# -------------------------------------------------------------------------------------------------------------- OpenCV


class Paced:
    """A real ``cv2.VideoCapture`` whose second frame waits until ``end`` is set, and is the last of all."""

    end: threading.Event

    def __init__(self, source: Any) -> None:
        self._capture, self._read = OPENED(source), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._capture, name)

    def read(self) -> tuple[bool, Any]:
        self._read += 1
        if self._read == 1:
            return self._capture.read()
        Paced.end.wait(30.0)
        return False, None


OPENED = cv2.VideoCapture


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Which OpenCV opens as it opens a network stream: grey, darker to the right."""
    Paced.end = threading.Event()
    monkeypatch.setattr(cv2, "VideoCapture", Paced)
    grey = np.linspace(240, 20, 64).astype(np.uint8)[None, :, None].repeat(48, 0)
    tint = np.array([1.0, 0.6, 0.2])  # more red than blue
    return write_video(tmp_path / "film.mp4", [(grey * tint).astype(np.uint8)] * 40, fps=10)


def test_opencv_gives_rgb_of_a_real_stream(film: Path) -> None:
    camera = load_camera(f"opencv:{film}", WHOLE)

    seen = check_pictures(camera.read())
    Paced.end.set()
    camera.close()

    assert set(seen) == {"rgb", "timestamp"}
    red, _, blue = seen["rgb"].astype(float).mean((0, 1))
    assert red > 3.0 * blue
    assert seen["rgb"][0, 0, 0] > seen["rgb"][0, -1, 0] + 100


def test_a_stream_that_ends_stops_the_arm(film: Path) -> None:
    driver = load_driver(f"opencv:{film}")
    assert driver is not None
    first, again = driver.grab(), driver.grab()
    assert first.timestamp == again.timestamp  # a frozen stream shows
    Paced.end.set()
    driver._thread.join(30.0)  # type: ignore[attr-defined]
    with pytest.raises(ArmStopped, match="no frames any more"):
        driver.grab()
    driver.close()


def test_opencv_has_no_such_camera(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="can't open the camera"):
        load_driver(f"opencv:{tmp_path / 'nothing.mp4'}")


# ------------------------------------------------------------------------------------------------------------- framing


class Still:
    """A driver with one picture."""

    def __init__(self, shot: Shot, intrinsics: Intrinsics | None) -> None:
        self.shot, self.intrinsics = shot, intrinsics

    def grab(self) -> Shot:
        return self.shot

    def close(self) -> None:
        pass


def test_a_pixel_shows_the_direction_that_it_shows_in_training() -> None:
    """A real picture whose depth is the angle of each pixel's ray; what policies see has the simulator's angles."""
    lens = Intrinsics(320, 240, 300.0, 290.0, 165.0, 118.0)
    right = (np.arange(320) - lens.cx) / lens.fx
    down = (np.arange(240) - lens.cy) / lens.fy
    rays = np.stack(np.meshgrid(right, down), axis=-1).astype(np.float32) + 2.0  # metres must be positive

    size, fovy = 30, 40.0
    wanted = (np.arange(size) + 0.5 - size / 2) * 2.0 / size * math.tan(math.radians(fovy / 2))
    for axis in range(2):
        seen = Framing(size, fovy).depth(rays[..., axis], lens) - 2.0
        expected = np.broadcast_to(wanted if axis == 0 else wanted[:, None], (size, size))
        assert seen == pytest.approx(expected, abs=0.5 / 290.0 + 1e-6)  # half a pixel


def test_colours_are_framed_as_depth_is() -> None:
    lens = Intrinsics(320, 240, 300.0, 290.0, 165.0, 118.0)
    rows, columns = np.mgrid[:240, :320]
    picture = np.stack([columns // 2, rows, np.zeros_like(rows)], axis=-1).astype(np.uint8)

    seen = Framing(30, 40.0).rgb(picture, lens).astype(float)
    depth = Framing(30, 40.0).depth((columns / 2.0).astype(np.float32) / 200.0, lens)

    assert seen[..., 0] == pytest.approx(200.0 * depth, abs=2.0)


def test_beyond_the_picture_nothing_is_seen_and_nothing_mixes() -> None:
    lens = Intrinsics(40, 20, 30.0, 30.0, 19.5, 9.5)  # 37 degrees high
    depth = np.where(np.arange(40) < 20, 1.0, 9.0).astype(np.float32)[None].repeat(20, 0)
    white = np.full((20, 40, 3), 255, np.uint8)

    seen, rgb = Framing(40, 70.0).depth(depth, lens), Framing(40, 70.0).rgb(white, lens)

    assert set(np.unique(seen)) == {0.0, 1.0, 5.0}  # outside, near, and far as the simulator tells it
    assert (seen[0] == 0.0).all() and (seen[20] > 0.0).any()
    assert (rgb[0] == 0).all() and (rgb[20, 20] == 255).all()


def test_of_a_camera_that_tells_nothing_the_whole_height_is_seen() -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[:3], picture[-3:] = 255, 255

    seen = Framed(Still(Shot(picture, None, 0.0), None), Framing(20, 45.0)).read()["rgb"]

    assert (seen[0] == 255).all() and (seen[-1] == 255).all() and (seen[1:-1] == 0).all()


def test_a_calibration_of_another_size_is_refused() -> None:
    camera = Framed(
        Still(Shot(np.zeros((60, 80, 3), np.uint8), None, 0.0), None), WHOLE, Intrinsics(640, 480, 1, 1, 1, 1)
    )
    with pytest.raises(FovealError, match="80 x 60, and its calibration is for 640 x 480"):
        camera.read()


@pytest.mark.parametrize(
    ("size", "fovy", "message"), [(0, 45.0, "at least 1"), (84, 0.0, "1 to 150"), (84, 200.0, "1 to")]
)
def test_senseless_framing_is_refused(size: int, fovy: float, message: str) -> None:
    with pytest.raises(FovealError, match=message):
        Framing(size, fovy)


@pytest.mark.slow
def test_the_default_is_the_simulator_s_camera() -> None:
    env = make_arm("pick", randomization="training")
    env.reset(seed=0)
    model: Any = env.simulation.physics.model
    assert Framing().size == env.sight.size
    assert abs(Framing().fovy - float(model.cam_fovy[0])) < 4.0  # which varies around it
    env.close()


def test_the_fakes_have_what_installed_packages_have() -> None:
    """Where a maker's package is installed, every name and every method that the fake has is there too."""
    for module, make in MAKERS.values():
        try:
            installed: ModuleType = importlib.import_module(module)
        except ImportError:
            continue
        for name, fake in vars(make(Scene())).items():
            if name.startswith("__"):
                continue
            real = getattr(installed, name)
            known = [one for one in vars(fake) if not one.startswith("_")]
            assert not [one for one in known if not hasattr(real, one)], f"{module}.{name}"
