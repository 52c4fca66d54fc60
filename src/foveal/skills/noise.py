"""What a depth camera adds to perfect depth: a model of active stereo, for tests that stand in for the real arm.

A stereo camera measures disparity, d = f b / z, in fractions of a pixel. So its error grows with the square of
the distance, sigma_z = z^2 / (f b) * sigma_d, and its depths come in steps (Keselman et al. 2017, "Intel RealSense
stereoscopic depth cameras"; Khoshelham and Elberink 2012, "Accuracy and resolution of Kinect depth data"). Errors of
neighbouring pixels go together, because disparities are matched in windows. Where depth jumps, one camera sees what the
other does not: pixels beside an edge go missing or take the depth of the wrong side, and so do patches that shine.
Missing pixels read 0, unless they are repaired, as a camera's driver does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
import scipy  # whose parts are imported at first use
from numpy.typing import NDArray

from foveal.config.bounds import POSITIVE, SHARE, Bounded, at_least
from foveal.skills.minari import MILLIMETRES


class Sensor(Protocol):
    """What a depth camera makes of perfect depth."""

    def apply(self, depth: NDArray[np.uint16], random: np.random.Generator) -> NDArray[np.uint16]:
        """One frame, (H, W) millimetres, as this camera would see it; 0 where it measured nothing."""


@dataclass(frozen=True)
class DepthNoise(Bounded, section="noise"):
    """A depth camera. The defaults are a RealSense D435's at its full width of 848 pixels, seen at this one's.

    Attributes:
        focal_baseline: f b, pixels times metres: 421 pixels times 50 mm.
        disparity: standard deviation of the disparity, pixels.
        window: pixels of the frame over which errors go together (standard deviation of a Gaussian).
        subpixel: steps per pixel of disparity.
        jump: metres by which a pixel misses the mean of its neighbours, left and right or above and below, from which
            on it is at an edge: more than on any slanted plane.
        missing: share of the pixels at edges that go missing.
        swapped: share of them that take a neighbour's depth.
        holes: patches that go missing in each frame, on average.
        hole: their radius, pixels, on average.
        repair: pass on what ``repaired`` makes of the frame.
    """

    focal_baseline: Annotated[float, POSITIVE] = 21.0
    disparity: Annotated[float, at_least(0)] = 0.15
    window: Annotated[float, at_least(0)] = 0.7
    subpixel: Annotated[float, POSITIVE] = 16.0
    jump: Annotated[float, at_least(0)] = 0.02
    missing: Annotated[float, SHARE] = 0.5
    swapped: Annotated[float, SHARE] = 0.25
    holes: Annotated[float, at_least(0)] = 3.0
    hole: Annotated[float, at_least(0)] = 2.0
    repair: bool = True

    def apply(self, depth: NDArray[np.uint16], random: np.random.Generator) -> NDArray[np.uint16]:
        """One frame, (H, W) millimetres, as this camera would see it."""
        metres = depth.astype(np.float64) / MILLIMETRES
        edge = self._edges(metres)
        swapped = edge & (random.random(depth.shape) < self.swapped)
        metres = np.where(swapped, np.roll(metres, random.integers(-1, 2, 2), (0, 1)), metres)
        seen = self._measured(metres, random)
        gone = (edge & (random.random(depth.shape) < self.missing)) | self._patches(depth.shape, random)
        measured = np.where(gone, 0, np.rint(seen * MILLIMETRES)).astype(np.uint16)
        return repaired(measured) if self.repair else measured

    def _measured(self, metres: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
        """Through disparity, with its errors and steps, and back; at most 65 m."""
        error = scipy.ndimage.gaussian_filter(random.standard_normal(metres.shape), self.window, mode="wrap")
        error *= self.disparity / max(float(error.std()), 1e-9)
        disparity = self.focal_baseline / np.maximum(metres, 1e-3) + error
        disparity = np.rint(disparity * self.subpixel) / self.subpixel
        return np.minimum(self.focal_baseline / np.maximum(disparity, 1e-3), 65.0)

    def _edges(self, metres: NDArray[np.float64]) -> NDArray[np.bool_]:
        bent = [np.abs(scipy.ndimage.convolve1d(metres, [0.5, -1.0, 0.5], axis, mode="nearest")) for axis in (0, 1)]
        return np.asarray(np.maximum(*bent) > self.jump)

    def _patches(self, shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.bool_]:
        gone = np.zeros(shape, np.bool_)
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        for _ in range(random.poisson(self.holes)):
            y, x = random.uniform(0, shape[0]), random.uniform(0, shape[1])
            height, width = random.exponential(self.hole, 2) + 0.5
            gone |= ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1.0
        return gone


@dataclass(frozen=True)
class StructuredLight(Bounded, section="noise"):
    """A camera that reads a projected pattern: errors of another kind than ``DepthNoise``, for tests alone.

    Nguyen, Izadi and Lovell 2012, "Modeling Kinect sensor noise for improved 3D reconstruction and tracking", measured
    its errors along the axis and across it at surfaces of every slant theta: sigma_z = 0.0012 + 0.0019 (z - 0.4)^2
    metres, beyond 60 degrees plus 0.0001 / sqrt(z) * theta^2 / (pi/2 - theta)^2, and sigma_l = 0.8 + 0.035 theta /
    (pi/2 - theta) pixels. What the projector, which stands beside the camera, does not light is not measured
    (Khoshelham and Elberink 2012): a shadow of every near thing on one side.

    Attributes:
        focal: focal length of the frame that is changed, pixels; the default is the front camera's at 108 pixels.
        sensor_focal: of the camera that they measured, in whose pixels sigma_l is.
        baseline: metres from the camera to the projector, which stands to its left.
        repair: pass on what ``repaired`` makes of the frame.
    """

    focal: Annotated[float, POSITIVE] = 130.0
    sensor_focal: Annotated[float, POSITIVE] = 585.0
    baseline: Annotated[float, at_least(0)] = 0.075
    repair: bool = True

    def apply(self, depth: NDArray[np.uint16], random: np.random.Generator) -> NDArray[np.uint16]:
        """One frame, (H, W) millimetres, as this camera would see it."""
        metres = depth.astype(np.float64) / MILLIMETRES
        lit = self._lit(metres)
        seen = self._shifted(metres, random)
        seen += self.axial(seen, self.slant(seen)) * random.standard_normal(seen.shape)
        measured = np.where(lit, np.rint(seen.clip(0.0, 65.0) * MILLIMETRES), 0).astype(np.uint16)
        return repaired(measured) if self.repair else measured

    def slant(self, metres: NDArray[np.float64]) -> NDArray[np.float64]:
        """(H, W) radians between each pixel's surface and the picture's plane; at most a hair below pi/2."""
        rise = np.hypot(*np.gradient(metres)) * self.focal / np.maximum(metres, 1e-3)
        return np.arctan(rise).clip(0.0, _STEEPEST)

    @staticmethod
    def axial(metres: NDArray[np.float64], slant: NDArray[np.float64]) -> NDArray[np.float64]:
        """sigma_z, metres."""
        steep = 1e-4 / np.sqrt(np.maximum(metres, 1e-3)) * (slant / (np.pi / 2 - slant)) ** 2
        return 0.0012 + 0.0019 * (metres - 0.4) ** 2 + steep * (slant > np.pi / 3)

    def _shifted(self, metres: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
        """Each pixel reads what is sigma_l beside it, on a normal draw along each axis."""
        slant = self.slant(metres)
        across = (0.8 + 0.035 * slant / (np.pi / 2 - slant)) * self.focal / self.sensor_focal
        places = np.indices(metres.shape) + across * random.standard_normal((2, *metres.shape))
        return np.asarray(scipy.ndimage.map_coordinates(metres, places, order=0, mode="nearest"))

    def _lit(self, metres: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(H, W): where the projector's light falls.

        To the projector, on the left, a point appears f b / z pixels further right than to the camera. It is hidden by
        a point to its left that appears as far right or further.
        """
        column = np.arange(metres.shape[1]) + self.focal * self.baseline / np.maximum(metres, 1e-3)
        furthest = np.maximum.accumulate(column, axis=1)
        hidden = np.zeros(metres.shape, np.bool_)
        hidden[:, 1:] = column[:, 1:] < furthest[:, :-1] - 0.5  # half a pixel: neighbours on one surface
        return ~hidden


_STEEPEST = np.radians(88.0)


def repaired(depth: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """One frame, (H, W) millimetres, without holes and lone errors: what networks should see of a measured one.

    Missing pixels (0) take the nearest measured one's depth, and then each pixel the median of the 3 x 3 around it. A
    frame without a single measured pixel stays as it is.
    """
    missing = depth == 0
    if missing.all():
        return depth
    nearest = scipy.ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(scipy.ndimage.median_filter(depth[tuple(nearest)], 3, mode="nearest"))
