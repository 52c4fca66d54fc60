"""Synthetic views of the printed board: what a pinhole camera at a known place sees of it in an arm's hand."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from foveal.robot.calibration.board import CELLS, COLUMNS, ROWS, Board
from foveal.robot.calibration.views import Views
from foveal.robot.cameras import Intrinsics

LENS = Intrinsics(640, 480, 615.0, 612.0, 322.0, 238.0)
FINE = 16  # pixels of a cell of the drawn board
SHARP = 3  # pixels drawn for one of the picture
BOARD = Board(0.030)


def matrix(position: Any, rotation: Rotation) -> NDArray[np.float64]:
    """(4, 4)."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.as_matrix(), position
    return pose


def looking(eye: Any, target: Any) -> NDArray[np.float64]:
    """(4, 4): a camera's pose, x to the right, y down, z forwards."""
    forwards = (np.array(target) - eye) / np.linalg.norm(np.array(target) - eye)
    right = np.cross(forwards, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return matrix(eye, Rotation.from_matrix(np.stack([right, np.cross(forwards, right), forwards], axis=1)))


def picture(board_in_camera: NDArray[np.float64], lens: Intrinsics = LENS) -> NDArray[np.uint8]:
    """(H, W, 3): the board on grey."""
    paper = np.where(BOARD.cells(), 0, 255).astype(np.uint8).repeat(FINE, 0).repeat(FINE, 1)
    paper = np.pad(paper, FINE * CELLS // 2, constant_values=255)
    metres = BOARD.square / (CELLS * FINE)
    offset = FINE * CELLS // 2 - 0.5  # the board's corner lies between pixels
    to_board = np.array([[metres, 0.0, -metres * offset], [0.0, metres, -metres * offset], [0.0, 0.0, 1.0]])
    plane = board_in_camera[:3][:, [0, 1, 3]]  # z is 0 on paper
    finer = np.array([[SHARP, 0.0, (SHARP - 1) / 2], [0.0, SHARP, (SHARP - 1) / 2], [0.0, 0.0, 1.0]])
    drawn = cv2.warpPerspective(
        paper, finer @ lens.matrix @ plane @ to_board, (SHARP * lens.width, SHARP * lens.height), borderValue=128
    )
    small = cv2.resize(drawn, (lens.width, lens.height), interpolation=cv2.INTER_AREA)
    return np.repeat(small[..., None], 3, axis=2)


def board_middle() -> NDArray[np.float64]:
    """(3,) metres."""
    return np.array([COLUMNS, ROWS, 0.0]) * BOARD.square / 2.0


def views_beside(camera: NDArray[np.float64], count: int, tilt: float = 35.0, seed: int = 0) -> Views:
    """The hand holds the board in front of a camera that stands at ``camera`` in the base's frame."""
    random = np.random.default_rng(seed)
    in_hand = matrix([-0.07, -0.05, 0.12], Rotation.from_euler("xyz", [10.0, -20.0, 30.0], degrees=True))
    views = Views()
    for _ in range(count):
        facing = Rotation.from_euler("xyz", random.uniform(-tilt, tilt, 3), degrees=True)
        place = np.array([*random.uniform(-0.08, 0.08, 2), random.uniform(0.45, 0.75)])
        board = matrix(place - facing.apply(board_middle()), facing)
        tool = camera @ board @ np.linalg.inv(in_hand)
        views.pictures.append(picture(board))
        views.poses.append(np.concatenate([tool[:3, 3], Rotation.from_matrix(tool[:3, :3]).as_rotvec()]))
    return views


def views_on_hand(camera: NDArray[np.float64], count: int, seed: int = 0) -> Views:
    """A camera at ``camera`` in the tool's frame looks at a board that lies on the table."""
    random = np.random.default_rng(seed)
    lying = matrix([-0.4, 0.1, 0.0], Rotation.from_euler("xyz", [180.0, 0.0, 20.0], degrees=True))
    views = Views()
    for _ in range(count):
        facing = Rotation.from_euler("xyz", random.uniform(-35.0, 35.0, 3), degrees=True)
        place = np.array([*random.uniform(-0.08, 0.08, 2), random.uniform(0.45, 0.75)])
        board = matrix(place - facing.apply(board_middle()), facing)
        tool = lying @ np.linalg.inv(board) @ np.linalg.inv(camera)
        views.pictures.append(picture(board))
        views.poses.append(np.concatenate([tool[:3, 3], Rotation.from_matrix(tool[:3, :3]).as_rotvec()]))
    return views
