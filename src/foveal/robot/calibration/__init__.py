"""Where a camera stands, from views of a printed board, which ``board`` draws and finds."""

from __future__ import annotations

from foveal.robot.calibration.board import Board, write_board
from foveal.robot.calibration.solving import BESIDE, MOUNTS, ON_HAND, Calibration, calibrated, load_calibration
from foveal.robot.calibration.views import Views, load_views

__all__ = [
    "BESIDE",
    "MOUNTS",
    "ON_HAND",
    "Board",
    "Calibration",
    "Views",
    "calibrated",
    "load_calibration",
    "load_views",
    "write_board",
]
