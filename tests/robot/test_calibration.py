"""Hand-eye calibration: a known camera looks at a drawn board, and is found again."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

import board_views
from board_views import BOARD, LENS, looking, matrix, views_beside, views_on_hand
from foveal.cli import main
from foveal.envs.ur5e import make_arm
from foveal.envs.ur5e.model import STANDS
from foveal.errors import FovealError
from foveal.robot import TaskFrame
from foveal.robot.calibration import (
    BESIDE,
    ON_HAND,
    Board,
    Views,
    calibrated,
    load_calibration,
    load_views,
    write_board,
)
from foveal.robot.calibration.board import CELLS, COLUMNS, PAPER, ROWS, SQUARE

BOX = r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/>'
FRONT = looking([-1.15, 0.05, 0.85], [-0.46, 0.0, 0.08])  # in the base's frame, near where training has it


@pytest.fixture(scope="module")
def beside() -> Views:
    return views_beside(FRONT, 15)


def off(found: Any, camera: np.ndarray) -> tuple[float, float]:
    """Millimetres and degrees between a calibration and the truth."""
    turned = Rotation.from_matrix(found.pose[:3, :3].T @ camera[:3, :3]).magnitude()
    return 1000.0 * float(np.linalg.norm(found.pose[:3, 3] - camera[:3, 3])), float(np.degrees(turned))


@pytest.mark.slow
def test_a_camera_beside_the_arm_is_found_with_its_focal_length(beside: Views) -> None:
    found = calibrated(beside, BOARD, BESIDE)

    millimetres, degrees = off(found, FRONT)
    assert millimetres < 3.0 and degrees < 0.2
    assert found.views == 15 and found.pixels < 0.5 and found.metres < 0.001 and found.degrees < 0.3
    assert found.intrinsics.fx == pytest.approx(LENS.fx, rel=0.005)
    assert (found.intrinsics.cx, found.intrinsics.cy) == pytest.approx((LENS.cx, LENS.cy), abs=3.0)
    known = calibrated(Views(beside.pictures, beside.poses, LENS), BOARD, BESIDE)
    assert off(known, FRONT)[0] < 1.5 and known.intrinsics == LENS


@pytest.mark.slow
def test_a_camera_on_the_hand_is_found() -> None:
    camera = matrix([0.05, -0.07, 0.03], Rotation.from_euler("xyz", [12.0, -5.0, 88.0], degrees=True))

    found = calibrated(views_on_hand(camera, 12), BOARD, ON_HAND)

    millimetres, degrees = off(found, camera)
    assert millimetres < 3.0 and degrees < 0.3


@pytest.mark.slow
def test_residuals_tell_that_a_pose_is_wrong(beside: Views) -> None:
    poses = [pose.copy() for pose in beside.poses]
    poses[3][:3] += 0.02  # the arm had moved on

    wrong = calibrated(Views(beside.pictures, poses, LENS), BOARD)

    right = calibrated(Views(beside.pictures, beside.poses, LENS), BOARD)
    assert wrong.metres > 5.0 * right.metres and wrong.pixels > 2.0 * right.pixels


@pytest.mark.slow
def test_a_square_that_was_measured_wrongly_moves_the_camera(beside: Views) -> None:
    few = Views(beside.pictures[:8], beside.poses[:8], LENS)

    assert off(calibrated(few, Board(1.1 * BOARD.square)), FRONT)[0] > 20.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("views", "message"),
    [
        (Views([np.full((480, 640, 3), 90, np.uint8)] * 9, [np.zeros(6)] * 9), "seen well in 0 of 9 views"),
        ("alike", "turned by 0 degrees at most"),
    ],
    ids=["no board", "no turn"],
)
def test_views_that_can_t_tell_are_refused(beside: Views, views: Any, message: str) -> None:
    asked = Views(beside.pictures[:6], [beside.poses[0]] * 6) if views == "alike" else views
    with pytest.raises(FovealError, match=message):
        calibrated(asked, BOARD)
    with pytest.raises(FovealError, match="unknown mount 'roof': beside or hand"):
        calibrated(asked, BOARD, "roof")


@pytest.mark.slow
def test_views_and_calibrations_on_disk(beside: Views, tmp_path: Path) -> None:
    few = Views(beside.pictures[:7], beside.poses[:7], LENS)

    again = load_views(few.save(tmp_path / "views"))

    assert again.intrinsics == LENS and len(again) == 7
    assert np.array_equal(again.pictures[6], few.pictures[6]) and np.array_equal(again.poses[6], few.poses[6])
    found = calibrated(few, BOARD)
    assert load_calibration(found.save(tmp_path / "camera.json")) == found
    (tmp_path / "camera.json").write_text('{"mount": "beside"}')
    with pytest.raises(FovealError, match="holds no calibration"):
        load_calibration(tmp_path / "camera.json")
    with pytest.raises(FovealError, match="holds no views"):
        load_views(tmp_path)


# --------------------------------------------------------------------------------------------------------------- paper


def test_the_printed_board_is_found_and_true_to_scale(tmp_path: Path) -> None:
    page = write_board(tmp_path / "board.svg").read_text()
    assert f'width="{PAPER[0]:g}mm"' in page
    drawn = np.full((round(4 * PAPER[1]), round(4 * PAPER[0])), 255, np.uint8)  # 4 pixels a millimetre
    for x, y, width, height in re.findall(BOX, page):
        left, top = round(4 * float(x)), round(4 * float(y))
        drawn[top : top + round(4 * float(height)), left : left + round(4 * float(width))] = 0

    seen = Board().find(np.repeat(drawn[..., None], 3, axis=2))

    assert seen is not None and len(seen.board) == (COLUMNS - 1) * (ROWS - 1)
    scale = np.linalg.norm(seen.picture - seen.picture[0], axis=1)
    assert scale == pytest.approx(4000.0 * np.linalg.norm(seen.board - seen.board[0], axis=1), abs=0.5)


def test_the_pdf_has_the_same_rectangles(tmp_path: Path) -> None:
    svg, pdf = (write_board(tmp_path / f"board.{kind}").read_bytes().decode("ascii") for kind in ("svg", "pdf"))
    boxes = re.findall(BOX, svg)
    drawn = re.findall(r"^([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) re$", pdf, re.MULTILINE)
    assert len(boxes) == len(drawn) > 100
    for (x, y, width, height), (left, bottom, *sides) in zip(boxes, drawn, strict=True):
        assert (x, width, height) == (left, *sides)
        assert float(bottom) == pytest.approx(PAPER[1] - float(y) - float(height), abs=1e-3)
    start = int(pdf.rsplit("startxref\n", 1)[1].split()[0])
    assert pdf[start:].startswith("xref\n")
    for number, line in enumerate(pdf[start:].splitlines()[3:8], start=1):
        assert pdf[int(line[:10]) :].startswith(f"{number} 0 obj")
    content = pdf.split("stream\n", 1)[1].split("endstream", 1)[0]
    assert f"/Length {len(content)} " in pdf
    assert SQUARE / CELLS == 0.004


def test_boards_that_can_t_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FovealError, match=r"ends in \.svg or \.pdf"):
        write_board(tmp_path / "board.png")
    with pytest.raises(FovealError, match=r"give 0\.005 to 0\.5"):
        Board(32.0)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(FovealError, match=r'pip install "foveal\[opencv\]"'):
        Board().made()


# ------------------------------------------------------------------------------------------------------------- compare


@pytest.mark.slow
def test_the_simulator_s_own_camera_is_where_training_has_it() -> None:
    env = make_arm("pick", depth=False)
    env.reset(seed=0)
    stands = env.simulation._stands
    for name, (eye, _) in STANDS.items():
        assert stands[name] == pytest.approx(eye)
    env.close()


@pytest.mark.slow
def test_how_far_a_camera_is_from_training() -> None:
    base = np.diag([-1.0, -1.0, 1.0, 1.0])  # the task's frame in the base's
    exactly = base @ looking(*STANDS["front"])
    found = calibrated(views_beside(exactly, 8), BOARD)
    metres, degrees = found.from_training(TaskFrame(), "front")
    assert metres < 0.01 and degrees < 0.5
    assert found.from_training(TaskFrame(turn=0.0), "front")[0] > 2.0
    assert found.from_training(TaskFrame(), "side")[0] > 0.5


# ------------------------------------------------------------------------------------------------------------- command


@pytest.mark.slow
def test_foveal_arm_calibrate_solves_views_again(
    beside: Views, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Views(beside.pictures[:10], beside.poses[:10], LENS).save(tmp_path / "views")
    words = ["--views", str(tmp_path / "views"), "--square", "0.030", "--out", str(tmp_path / "camera.json")]

    assert main(["arm", "calibrate", *words]) == 0

    shown = capsys.readouterr().out
    assert "10 of 10 views" in shown and "from where the simulator's nearest does" in shown and "much" not in shown
    assert off(load_calibration(tmp_path / "camera.json"), FRONT)[0] < 2.0
    assert main(["arm", "calibrate", *words, "--host", "127.0.0.1"]) == 2
    assert "give both --host and --camera" in capsys.readouterr().err


def test_foveal_arm_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["arm", "board", str(tmp_path / "board.pdf")]) == 0
    assert capsys.readouterr().out.strip().endswith("board.pdf")
    assert (tmp_path / "board.pdf").read_bytes().startswith(b"%PDF-1.4")


def test_the_drawn_views_show_what_a_pinhole_camera_sees() -> None:
    """The drawing itself, against a projection that is written out."""
    pose = matrix([-0.1, -0.07, 0.6], Rotation.from_euler("xyz", [10.0, 20.0, 5.0], degrees=True))
    seen = BOARD.find(board_views.picture(pose))
    assert seen is not None
    points = seen.board @ pose[:3, :3].T + pose[:3, 3]
    expected = points[:, :2] / points[:, 2:] * [LENS.fx, LENS.fy] + [LENS.cx, LENS.cy]
    assert seen.picture == pytest.approx(expected, abs=0.5)
    assert Image.fromarray(board_views.picture(pose)).size == (LENS.width, LENS.height)
