"""From views of a board to where the camera stands: OpenCV's hand-eye calibration, and how well it fits.

The arm moves the board in front of a camera that stands beside it, or a camera on the hand over a board that lies
still. In both cases the pose that never changes is found from the poses of the tool and those of the board in the
camera (Park and Martin, "Robot sensor calibration: solving AX = XB on the Euclidean group", 1994).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from foveal.envs.ur5e.model import STANDS
from foveal.errors import FovealError
from foveal.evaluation.results import write_text
from foveal.robot.calibration.board import Board, Corners
from foveal.robot.calibration.views import Views
from foveal.robot.cameras import Intrinsics
from foveal.robot.frame import TaskFrame
from foveal.robot.optional import optional

Array = NDArray[np.float64]

BESIDE, ON_HAND = "beside", "hand"
MOUNTS = (BESIDE, ON_HAND)
FEWEST = 6  # views
_TURN = 15.0  # degrees by which the tool must have been turned between some two views


@dataclass(frozen=True)
class Calibration:
    """Where a camera stands.

    Attributes:
        mount: ``"beside"``: its pose is in the base's frame; ``"hand"``: in the tool's.
        position: (3,) metres.
        rotation: (4,) quaternion w, x, y, z of its axes: x to the right in the picture, y down, z forwards.
        intrinsics: of the camera.
        views: used.
        pixels: by which the corners that this predicts are off the ones seen, root mean square.
        metres: by which the board, or its holder, seems to move between views, root mean square.
        degrees: by which it seems to turn.
    """

    mount: str
    position: tuple[float, float, float]
    rotation: tuple[float, float, float, float]
    intrinsics: Intrinsics
    views: int
    pixels: float
    metres: float
    degrees: float

    @property
    def pose(self) -> Array:
        """(4, 4)."""
        return _pose(Rotation.from_quat(np.roll(self.rotation, -1)), np.array(self.position))

    def save(self, path: str | Path) -> Path:
        """Write it as JSON.

        Raises:
            FovealError: the file can't be written.
        """
        return write_text(path, json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    def from_training(self, frame: TaskFrame, camera: str = "front") -> tuple[float, float]:
        """Metres and degrees between where this camera stands and looks, and where the simulator's does."""
        eye, target = (np.array(place) for place in STANDS[camera])
        moved = frame.position(np.array([*self.position, 0.0, 0.0, 0.0])) - eye
        looks = frame.from_base(self.pose[:3, 2])
        wanted = (target - eye) / np.linalg.norm(target - eye)
        return float(np.linalg.norm(moved)), float(np.degrees(np.arccos(np.clip(looks @ wanted, -1.0, 1.0))))


def load_calibration(path: str | Path) -> Calibration:
    """What ``Calibration.save`` wrote.

    Raises:
        FovealError: there is none, or it is damaged.
    """
    try:
        held = json.loads(Path(path).read_text(encoding="utf-8"))
        held["intrinsics"] = Intrinsics.from_dict(held["intrinsics"])
        held["position"], held["rotation"] = tuple(held["position"]), tuple(held["rotation"])
        return Calibration(**held)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FovealError(f"{path} holds no calibration: {error}") from error


def calibrated(views: Views, board: Board, mount: str = BESIDE) -> Calibration:
    """Solve for where the camera of some views stands, and for its intrinsics where it reports none.

    Args:
        views: in which the board, or the camera, was moved and turned by the arm.
        board: that is seen.
        mount: ``"beside"`` the arm, which holds the board; or on its ``"hand"``, over a board that lies still.

    Raises:
        FovealError: the extra is missing, an unknown mount, or too few views, or such that can't tell.
    """
    if mount not in MOUNTS:
        raise FovealError(f"unknown mount {mount!r}: {' or '.join(MOUNTS)}")
    tools, corners = _usable(views, board)
    intrinsics = views.intrinsics or _intrinsics(corners, views.pictures[0].shape[1::-1])
    boards = [_board_in_camera(one, intrinsics) for one in corners]
    # Beside the arm it is as if the base moved in the tool's frame: the camera's pose in it is what stays.
    hands = [np.asarray(np.linalg.inv(tool)) for tool in tools] if mount == BESIDE else tools
    pose = _hand_eye(hands, boards)
    still = [np.asarray(hand @ pose @ seen) for hand, seen in zip(hands, boards, strict=True)]
    mean = _mean(still)
    return Calibration(
        mount=mount,
        position=_three(pose[:3, 3]),
        rotation=_quaternion(pose[:3, :3]),
        intrinsics=intrinsics,
        views=len(tools),
        pixels=_pixels(corners, [_seen_from(pose, tool, mean, mount) for tool in tools], intrinsics),
        metres=float(np.sqrt(np.mean([np.sum((one[:3, 3] - mean[:3, 3]) ** 2) for one in still]))),
        degrees=float(np.sqrt(np.mean([_angle(mean, one) ** 2 for one in still]))),
    )


def _usable(views: Views, board: Board) -> tuple[list[Array], list[Corners]]:
    """Poses of the tool (4, 4) and what of the board was seen there, of the views in which it was seen well."""
    tools: list[Array] = []
    seen: list[Corners] = []
    for pose, picture in zip(views.poses, views.pictures, strict=True):
        corners = board.find(picture)
        if corners is not None:
            tools.append(_pose(Rotation.from_rotvec(pose[3:]), pose[:3]))
            seen.append(corners)
    if len(seen) < FEWEST:
        raise FovealError(
            f"the board is seen well in {len(seen)} of {len(views)} views, and {FEWEST} are the fewest: take 15, near "
            "and far, tilted to all sides"
        )
    turned = max(_angle(tools[0], tool) for tool in tools)
    if turned < _TURN:
        raise FovealError(
            f"the tool was turned by {turned:.0f} degrees at most between views, which tells nothing: tilt it by 20 to "
            "40 degrees about several axes"
        )
    return tools, seen


def _intrinsics(corners: list[Corners], size: tuple[int, ...]) -> Intrinsics:
    """By Zhang's method, with two radial and two tangential coefficients of distortion."""
    cv2 = optional("cv2", "opencv", "calibration")
    known, seen = [one.board for one in corners], [one.picture for one in corners]
    _, matrix, bent, _, _ = cv2.calibrateCamera(known, seen, size, None, None, flags=cv2.CALIB_FIX_K3)
    fx, fy, cx, cy = (float(matrix[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Intrinsics(size[0], size[1], fx, fy, cx, cy, tuple(bent.ravel()[:5].tolist()))


def _board_in_camera(corners: Corners, lens: Intrinsics) -> Array:
    """(4, 4)."""
    cv2 = optional("cv2", "opencv", "calibration")
    _, turn, moved = cv2.solvePnP(corners.board, corners.picture, lens.matrix, np.array(lens.distortion))
    return _pose(Rotation.from_rotvec(turn.ravel()), moved.ravel())


def _hand_eye(hands: list[Array], boards: list[Array]) -> Array:
    """(4, 4): the camera in the frame that ``hands`` move."""
    cv2 = optional("cv2", "opencv", "calibration")
    parts = [[pose[:3, :3] for pose in hands], [pose[:3, 3] for pose in hands]]
    parts += [[pose[:3, :3] for pose in boards], [pose[:3, 3] for pose in boards]]
    rotation, position = cv2.calibrateHandEye(*parts, method=cv2.CALIB_HAND_EYE_PARK)
    if not (np.isfinite(rotation).all() and np.isfinite(position).all()):
        raise FovealError("these views do not tell where the camera stands: tilt the board to more sides")
    return _pose(Rotation.from_matrix(rotation), position.ravel())


def _seen_from(pose: Array, tool: Array, still: Array, mount: str) -> Array:
    """(4, 4): the board in the camera, as the calibration predicts it."""
    if mount == BESIDE:
        return np.asarray(np.linalg.inv(pose) @ tool @ still)
    return np.asarray(np.linalg.inv(tool @ pose) @ still)


def _pixels(corners: list[Corners], boards: list[Array], lens: Intrinsics) -> float:
    cv2: Any = optional("cv2", "opencv", "calibration")
    errors = []
    for one, pose in zip(corners, boards, strict=True):
        turn, _ = cv2.Rodrigues(pose[:3, :3])
        expected, _ = cv2.projectPoints(one.board, turn, pose[:3, 3], lens.matrix, np.array(lens.distortion))
        errors.append(np.sum((expected.reshape(-1, 2) - one.picture) ** 2, axis=1))
    return float(np.sqrt(np.concatenate(errors).mean()))


def _three(values: Array) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z


def _quaternion(rotation: Array) -> tuple[float, float, float, float]:
    """(w, x, y, z)."""
    x, y, z, w = Rotation.from_matrix(rotation).as_quat().tolist()
    return w, x, y, z


def _pose(rotation: Rotation, position: Array) -> Array:
    """(4, 4)."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.as_matrix(), position
    return pose


def _mean(poses: list[Array]) -> Array:
    rotations = Rotation.from_matrix(np.stack([pose[:3, :3] for pose in poses]))
    return _pose(rotations.mean(), np.mean([pose[:3, 3] for pose in poses], axis=0))


def _angle(first: Array, other: Array) -> float:
    """Degrees between two orientations."""
    return float(np.degrees(Rotation.from_matrix(first[:3, :3].T @ other[:3, :3]).magnitude()))
