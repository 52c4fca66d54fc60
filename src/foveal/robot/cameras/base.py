"""What a camera's driver gives, and how policies are shown the part of it that they know from training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.envs.ur5e.model import FAR, FOVY
from foveal.envs.wrappers import averaged
from foveal.errors import FovealError

SIZE = 84
"""Pixels, the side of pictures in training."""
START, NEXT = 5.0, 0.2
"""Seconds to wait for a camera's first frame, and for each that follows."""


@dataclass(frozen=True)
class Intrinsics:
    """A camera's pinhole model, in pixels; the centre of the upper left pixel is (0, 0), as in OpenCV.

    Attributes:
        width, height: of its pictures.
        fx, fy: focal lengths.
        cx, cy: principal point.
        distortion: k1, k2, p1, p2, k3, as far as they are known.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Intrinsics:
        """The inverse of ``dataclasses.asdict``, of what JSON made of that."""
        return cls(**{**held, "distortion": tuple(held["distortion"])})

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


class Shot(NamedTuple):
    """What a camera saw at one time.

    Attributes:
        rgb: (H, W, 3) ``uint8``.
        depth: (H, W) ``float32`` metres along the camera's axis, of the same pixels, 0 where nothing was measured; None
            of a camera without depth.
        timestamp: seconds, on a clock of the camera's own.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    timestamp: float


class Driver(Protocol):
    """One maker's camera."""

    @property
    def intrinsics(self) -> Intrinsics | None:
        """As the camera tells them; None where it does not."""

    def grab(self) -> Shot:
        """The newest frame.

        Raises:
            ArmStopped: none arrives.
        """

    def close(self) -> None:
        """Let go of the camera."""


@dataclass(frozen=True)
class Framing:
    """The square of a camera's picture that policies see.

    Attributes:
        size: height and width of what they see, pixels.
        fovy: degrees that it spans from its upper to its lower edge, around the camera's axis; as in training, a cube
            then is as large as there.

    Raises:
        FovealError: no size, or an angle that no picture has.
    """

    size: int = SIZE
    fovy: float = FOVY

    def __post_init__(self) -> None:
        if self.size < 1:
            raise FovealError(f"the camera's size is {self.size}; give at least 1 pixel")
        if not 1.0 <= self.fovy <= 150.0:
            raise FovealError(f"the camera's fovy is {self.fovy}; give 1 to 150 degrees")

    def depth(self, picture: NDArray[np.float32], camera: Intrinsics) -> NDArray[np.float32]:
        """(H, W) -> (size, size): the nearest pixel of each, so that near and far never mix; 0 outside the picture."""
        focal = self.size / 2.0 / math.tan(math.radians(self.fovy) / 2.0)
        rays = (np.arange(self.size) + 0.5 - self.size / 2.0) / focal
        rows = np.rint(camera.cy + camera.fy * rays).astype(int)
        columns = np.rint(camera.cx + camera.fx * rays).astype(int)
        inside = ((rows >= 0) & (rows < picture.shape[0]))[:, None] & (columns >= 0) & (columns < picture.shape[1])
        clipped = np.clip(rows, 0, picture.shape[0] - 1)[:, None], np.clip(columns, 0, picture.shape[1] - 1)
        return np.where(inside, np.minimum(picture[clipped], np.float32(FAR)), np.float32(0.0))

    def rgb(self, picture: NDArray[np.uint8], camera: Intrinsics) -> NDArray[np.uint8]:
        """(H, W, 3) -> (size, size, 3): each pixel the mean of the area that it covers; black outside the picture."""
        half = math.tan(math.radians(self.fovy) / 2.0)
        top, bottom = round(camera.cy + 0.5 - half * camera.fy), round(camera.cy + 0.5 + half * camera.fy)
        left, right = round(camera.cx + 0.5 - half * camera.fx), round(camera.cx + 0.5 + half * camera.fx)
        height, width = picture.shape[:2]
        cut = picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        beyond = [(max(-top, 0), max(bottom - height, 0)), (max(-left, 0), max(right - width, 0)), (0, 0)]
        square = np.pad(cut, beyond).transpose(2, 0, 1)
        return np.ascontiguousarray(averaged(square, (self.size, self.size)).transpose(1, 2, 0))


def guessed(shot: Shot, fovy: float) -> Intrinsics:
    """Those of a camera that tells none: as if its picture, from edge to edge, spanned what policies see."""
    height, width = shot.rgb.shape[:2]
    focal = height / 2.0 / math.tan(math.radians(fovy) / 2.0)
    return Intrinsics(width, height, focal, focal, (width - 1) / 2.0, (height - 1) / 2.0)


class Framed:
    """A driver's frames as policies see them; what ``foveal.robot.run`` calls a camera.

    Args:
        driver: of the camera.
        framing: what policies see.
        intrinsics: better known ones than the driver's, such as those of a calibration.

    Raises:
        FovealError: the intrinsics are of pictures of another size.
    """

    def __init__(self, driver: Driver, framing: Framing, intrinsics: Intrinsics | None = None) -> None:
        self.driver, self.framing = driver, framing
        self._intrinsics = intrinsics or driver.intrinsics

    def read(self) -> dict[str, NDArray[Any]]:
        """``rgb``, ``depth`` where there is one, and ``timestamp`` in seconds."""
        shot = self.driver.grab()
        camera = self._intrinsics or guessed(shot, self.framing.fovy)
        if (camera.height, camera.width) != shot.rgb.shape[:2]:
            raise FovealError(
                f"the camera's pictures are {shot.rgb.shape[1]} x {shot.rgb.shape[0]}, and its calibration is for "
                f"{camera.width} x {camera.height}: calibrate it anew"
            )
        seen: dict[str, NDArray[Any]] = {"rgb": self.framing.rgb(shot.rgb, camera)}
        if shot.depth is not None:
            seen["depth"] = self.framing.depth(shot.depth, camera)
        return {**seen, "timestamp": np.asarray(shot.timestamp)}

    def close(self) -> None:
        self.driver.close()
