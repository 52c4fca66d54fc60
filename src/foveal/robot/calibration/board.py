"""A ChArUco board: on paper, as SVG or PDF true to scale, and found in a picture by OpenCV.

A chessboard whose white squares carry ArUco markers, so that its corners are known by number even where only a part of
it is seen (Garrido-Jurado et al., 2014; OpenCV's ``aruco`` module).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.robot.optional import optional

COLUMNS, ROWS = 7, 5
CELLS = 8  # along a square: a marker of 6, with one white on each side
SQUARE = 0.032  # metres, printed without scaling
PAPER = (297.0, 210.0)  # millimetres: A4, landscape
_FEWEST = 8  # corners of which a view is of use
_POINT = 72.0 / 25.4  # of PDF, per millimetre


class Corners(NamedTuple):
    """Corners that were found.

    Attributes:
        board: (N, 3) metres, in the board's frame: x along its columns, y along its rows, z into it.
        picture: (N, 2) pixels.
    """

    board: NDArray[np.float32]
    picture: NDArray[np.float32]


@dataclass(frozen=True)
class Board:
    """The board that ``write_board`` prints.

    Attributes:
        square: metres, the side of a square, as measured on the paper.

    Raises:
        FovealError: that is no length of a printed square.
    """

    square: float = SQUARE

    def __post_init__(self) -> None:
        if not 0.005 <= self.square <= 0.5:
            raise FovealError(f"the board's square is {self.square} m; measure it, and give 0.005 to 0.5")

    def made(self) -> Any:
        """OpenCV's object.

        Raises:
            FovealError: the extra is missing, or OpenCV can't calibrate.
        """
        cv2 = optional("cv2", "opencv", "calibration")
        if not hasattr(cv2, "calibrateHandEye"):
            raise FovealError(
                f"OpenCV {cv2.__version__} has no hand-eye calibration: pip install 'opencv-python-headless>=4.7,<5'"
            )
        markers = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
        return cv2.aruco.CharucoBoard((COLUMNS, ROWS), self.square, self.square * 6 / CELLS, markers)

    def cells(self) -> NDArray[np.bool_]:
        """(40, 56): what is black, in cells of an eighth of a square."""
        return np.asarray(self.made().generateImage((COLUMNS * CELLS, ROWS * CELLS)) < 128)

    def find(self, picture: NDArray[np.uint8]) -> Corners | None:
        """Corners in a picture (H, W, 3), or None where too few are seen."""
        cv2, made = optional("cv2", "opencv", "calibration"), self.made()
        corners, numbers, _, _ = cv2.aruco.CharucoDetector(made).detectBoard(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        if numbers is None or len(numbers) < _FEWEST:
            return None
        known, seen = made.matchImagePoints(corners, numbers)
        return Corners(known.reshape(-1, 3), seen.reshape(-1, 2))


def write_board(path: str | Path) -> Path:
    """The board on a page of A4, for a printer: SVG or PDF, by the path's ending.

    Raises:
        FovealError: the extra is missing, another ending, or the file can't be written.
    """
    path = Path(path)
    writers = {".svg": _svg, ".pdf": _pdf}
    if path.suffix.lower() not in writers:
        raise FovealError(f"can't write the board as {path.suffix or path.name}: give a path that ends in .svg or .pdf")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(writers[path.suffix.lower()](list(_rectangles())))
    except OSError as error:
        raise FovealError(f"can't write the board {path}: {error.strerror or error}") from error
    return path


_CAPTION = (
    f"ChArUco {COLUMNS} x {ROWS}, DICT_4X4_50. Print without scaling; a square is {1000 * SQUARE:g} mm: measure it."
)


def _rectangles() -> Iterator[tuple[float, float, float, float]]:
    """(left, top, width, height) in millimetres on the page, of each run of black cells."""
    black, cell = Board().cells(), 1000.0 * SQUARE / CELLS
    left, top = (PAPER[0] - cell * black.shape[1]) / 2.0, (PAPER[1] - cell * black.shape[0]) / 2.0
    for number, row in enumerate(black):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(int)))
        for begin, end in edges.reshape(-1, 2):
            yield left + cell * begin, top + cell * number, cell * (end - begin), cell


def _svg(rectangles: list[tuple[float, float, float, float]]) -> bytes:
    width, height = PAPER
    shapes = "".join(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}"/>\n' for x, y, w, h in rectangles)
    text = f'<text x="{width / 2:g}" y="{height - 10:g}" font-size="4" text-anchor="middle">{_CAPTION}</text>\n'
    page = f'<rect width="{width:g}" height="{height:g}" fill="white"/>\n'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" '
    box = f'viewBox="0 0 {width:g} {height:g}" shape-rendering="crispEdges" font-family="sans-serif">\n'
    return (start + box + page + shapes + text + "</svg>\n").encode()


def _pdf(rectangles: list[tuple[float, float, float, float]]) -> bytes:
    """One page (ISO 32000-1: objects, then the table of where each begins)."""
    width, height = PAPER
    drawn = "".join(f"{x:g} {height - y - h:g} {w:g} {h:g} re\n" for x, y, w, h in rectangles)
    words = f"BT /F1 4 Tf 40 8 Td ({_CAPTION}) Tj ET\n"
    content = f"{_POINT:.6f} 0 0 {_POINT:.6f} 0 0 cm\n{drawn}f\n{words}"
    box = f"[0 0 {width * _POINT:.3f} {height * _POINT:.3f}]"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}endstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    text, places = "%PDF-1.4\n", []
    for number, inside in enumerate(objects, start=1):
        places.append(len(text))
        text += f"{number} 0 obj\n{inside}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    count = len(objects) + 1
    start = len(text)
    text += f"xref\n0 {count}\n0000000000 65535 f \n{table}"
    return (text + f"trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n").encode("ascii")
