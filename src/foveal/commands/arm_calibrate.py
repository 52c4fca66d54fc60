"""``foveal arm board`` and ``foveal arm calibrate``: where the camera stands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from foveal.commands.arm_options import place_of
from foveal.commands.verbs import Verbs
from foveal.errors import FovealError
from foveal.explanation.explain import check_writable
from foveal.robot import TaskFrame
from foveal.robot.calibration import BESIDE, Board, Calibration, Views, calibrated, load_views, write_board
from foveal.robot.cameras import Intrinsics, Shot
from foveal.robot.listener import Listener
from foveal.robot.sources import load_camera, load_driver
from foveal.robot.stops import RTDE_PORT, check_reachable

GOOD = (1.0, 0.005, 0.5)
"""Pixels, metres and degrees above which a calibration is doubtful."""


@dataclass(frozen=True)
class ArmBoardOptions:
    """Write the board that foveal arm calibrate looks for, for a printer: A4, without scaling.

    Attributes:
        out: a file that ends in .pdf or .svg.
    """

    out: tyro.conf.Positional[Path] = Path("board.pdf")


@dataclass(frozen=True)
class ArmCalibrateOptions:
    """Find where a camera stands, from views of the printed board that the arm holds (or looks at, with --mount hand).

    You move the arm, with its own pendant or by hand, and press Enter at every pose; nothing is sent to it but the wish
    to read where it is.

    Attributes:
        host: address of the arm's controller.
        camera: as for foveal arm run.
        views: folder in which views are kept; without --host and --camera, those that are there are solved again.
        out: the calibration, a JSON file.
        mount: beside: the camera stands, the arm holds the board; hand: the other way round.
        square: metres, the side of a square as measured on the paper.
        turn: degrees about the vertical, from the base's x axis to the task's, to compare with the simulator's cameras.
        origin: metres, the task's origin in the base's frame.
    """

    host: str | None = None
    camera: str | None = None
    views: Path = Path("calibration")
    out: Path = Path("camera.json")
    mount: str = BESIDE
    square: float = Board.square
    turn: float = TaskFrame.turn
    origin: tuple[float, float, float] = TaskFrame.origin


def _board(options: ArmBoardOptions) -> None:
    print(write_board(options.out))


def _calibrate(options: ArmCalibrateOptions) -> None:
    board, frame = Board(options.square), TaskFrame(options.turn, options.origin)
    board.made()
    check_writable(options.out)
    if (options.host is None) != (options.camera is None):
        raise FovealError("give both --host and --camera to take views, or neither to solve those in --views again")
    views = load_views(options.views) if options.host is None else _taken(options, board)
    found = calibrated(views, board, options.mount)
    found.save(options.out)
    print(_in_words(found, len(views)))
    if found.mount == BESIDE:
        print(place_of(found, frame))
    print(options.out)


def _taken(options: ArmCalibrateOptions, board: Board) -> Views:
    if not sys.stdin.isatty():
        raise FovealError("views are taken by somebody at a terminal, who moves the arm")
    assert options.host is not None and options.camera is not None
    check_reachable(options.host, RTDE_PORT)
    grab, lens, close = _camera(options.camera)
    views = Views(intrinsics=lens)
    with closing(Listener(options.host)) as listener:
        try:
            while input(f"{len(views)} views. Move the arm, let it stand, press Enter; q ends: ").strip() != "q":
                picture, pose = grab().rgb, listener.read().pose
                corners = board.find(picture)
                if corners is None:
                    print("the board is not seen well enough: this view is left out")
                    continue
                views.pictures.append(picture)
                views.poses.append(pose)
                views.save(options.views, since=len(views) - 1)
                print(f"{len(corners.board)} corners")
        finally:
            close()
    return views


def _camera(text: str) -> tuple[Callable[[], Shot], Intrinsics | None, Callable[[], None]]:
    """Whole pictures, what the camera tells of itself, and how to close it."""
    driver = load_driver(text)
    if driver is not None:
        return driver.grab, driver.intrinsics, driver.close
    camera = load_camera(text)

    def grab() -> Shot:
        seen = camera.read()
        if "rgb" not in seen:
            raise FovealError(f"{text} reads no rgb, in which a board could be found")
        return Shot(np.asarray(seen["rgb"], np.uint8), None, 0.0)

    return grab, None, camera.close


def _in_words(found: Calibration, taken: int) -> str:
    line = (
        f"{found.views} of {taken} views: corners {found.pixels:.2f} pixels off, "
        f"the board {1000 * found.metres:.1f} mm and {found.degrees:.2f} degrees"
    )
    residuals = (found.pixels, found.metres, found.degrees)
    doubtful = any(value > most for value, most in zip(residuals, GOOD, strict=True))
    advice = "\nthat is much: did the board bend or slip, is --square right, did the arm stand still?"
    return line + (advice if doubtful else "")


VERBS: Verbs = {"board": (ArmBoardOptions, _board), "calibrate": (ArmCalibrateOptions, _calibrate)}
