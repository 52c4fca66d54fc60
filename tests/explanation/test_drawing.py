"""The page that masks are painted on, in a browser: a stroke, what is downloaded, and that training reads it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from chromium import visit
from foveal.cli import main
from foveal.explanation.drawing import LARGEST, drawing_page, write_sheet
from foveal.fovea.frames import FrameSet
from foveal.shield.camera import drawn_for, read_camera, read_masks
from foveal.shield.different import different
from moving_square import SIDE, film, write_frames

PAINT = """
addEventListener("load", () => setTimeout(async () => {
  const find = (name) => document.querySelector(`[data-part=${name}]`);
  const canvas = find("canvas"), size = find("size");
  const said = [], blobs = [];
  URL.createObjectURL = (blob) => (blobs.push(blob), "#");
  URL.revokeObjectURL = () => {};
  const say = () => said.push(find("told").textContent);
  const at = (x, y) => {
    const box = canvas.getBoundingClientRect();
    return { clientX: box.left + (x * box.width) / canvas.width, clientY: box.top + (y * box.height) / canvas.height };
  };
  const point = (kind, x, y, on = canvas) =>
    on.dispatchEvent(new PointerEvent(kind, { ...at(x, y), bubbles: true, cancelable: true }));
  const stroke = (...places) => {
    point("pointerdown", ...places[0]);
    for (const place of places.slice(1)) point("pointermove", ...place);
    point("pointerup", ...places.at(-1), window);
  };
  const press = (key, on = window, shiftKey = false) =>
    on.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey, bubbles: true, cancelable: true }));
  const brush = (to) => {
    size.value = to;
    size.dispatchEvent(new Event("input"));
  };

  const seen = () => canvas.toDataURL();
  say();
  const bare = seen();
  point("pointermove", 24, 24);
  const ring = seen() !== bare;
  point("pointermove", 0, 0, document.body);
  const gone = seen() === bare;
  const disabled = find("download").disabled;
  brush(4);
  stroke([10, 20], [30, 20]);
  stroke([40, 40]);
  say();
  press("z");
  say();
  find("erase").click();
  brush(6);
  stroke([20, 20]);
  find("erase").click();
  say();
  press("n");
  brush(2);
  press(" ", canvas);
  press("ArrowLeft", canvas, true);
  say();
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -1, cancelable: true }));
  const wider = size.value;
  press("n");
  stroke([5, 5]);
  find("clear").click();
  say();
  find("download").click();
  const bytes = new Uint8Array(await blobs[0].arrayBuffer());
  const probe = document.body.appendChild(document.createElement("pre"));
  probe.id = "probe";
  probe.textContent = JSON.stringify({
    said, ring, gone, disabled, wider, bytes: btoa(String.fromCharCode(...bytes)),
    shown: !document.querySelector(".drawing").hidden,
    wide: document.documentElement.scrollWidth - innerWidth, upscaled: canvas.clientWidth / canvas.width,
  });
}, 200));
"""


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str], Path]:
    """What a browser made of the page, its console, and the folder with ``frames`` and ``masks.zip``."""
    folder = tmp_path_factory.mktemp("draw")
    frames = write_frames(folder / "frames", film(40)[0])
    page = drawing_page(folder / "masks.html", frames, 4)
    found, console = visit(page.read_text(encoding="utf-8"), folder, probe=PAINT)
    (folder / "masks.zip").write_bytes(base64.b64decode(found["bytes"]))
    return found, console, folder


@pytest.mark.slow
def test_strokes_undo_erasing_and_keys(painted: tuple[dict[str, Any], list[str], Path]) -> None:
    found, console, _ = painted
    assert console == []
    assert found["ring"] and found["gone"]  # the brush, where it is over the frame
    assert found["shown"] and found["disabled"] and found["wide"] <= 0 and found["upscaled"] > 5
    shares = [float(text.split(" · ")[2].split(" %")[0]) for text in found["said"]]
    masks = [text.split(" · ")[3] for text in found["said"]]
    assert shares[0] == 0 and shares[1] > shares[2] > shares[3] > 0 and shares[4] > 0 and shares[5] == 0
    assert masks == [f"masks drawn: {count}" for count in (0, 1, 1, 1, 2, 2)]
    assert found["said"][0].startswith("frame 1 of 4") and found["said"][5].startswith("frame 3 of 4")
    assert int(found["wider"]) == 3


@pytest.mark.slow
def test_what_is_downloaded_is_what_was_painted_and_training_reads_it(
    painted: tuple[dict[str, Any], list[str], Path],
) -> None:
    _, _, folder = painted
    masks = read_masks(folder / "masks.zip")
    camera = read_camera(folder / "frames", SIDE, 100)
    assert len(masks) == 2 and set(masks) <= set(camera.names)
    first = masks[min(masks)] > 0
    assert np.array_equal(first, _stroke())
    drawn = drawn_for(camera, masks)
    assert drawn.masks.shape == (2, SIDE, SIDE) and np.array_equal(drawn.masks[int(drawn.frames.argmin())], first)


def _stroke() -> NDArray[np.bool_]:
    """A line of a brush 4 wide from (10, 20) to (30, 20), a disc 6 wide erased at (20, 20)."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    line = np.hypot(np.maximum(np.maximum(10 - columns, columns - 30), 0), rows - 20) <= 2
    return line & ~(np.hypot(columns - 20, rows - 20) <= 3)


@pytest.mark.slow
def test_large_frames_are_reduced_and_keep_their_shape(tmp_path: Path) -> None:
    pixels = film(20)[0].repeat_interleave(20, 3).repeat_interleave(15, 2)  # 960 wide, 720 high
    source = drawing_page(tmp_path / "page.html", write_frames(tmp_path / "frames", pixels), 2).read_text()
    pictures = [part.split('"')[0] for part in source.split("data:image/png;base64,")[1:]]
    sizes = {tuple(int.from_bytes(base64.b64decode(text)[k : k + 4]) for k in (16, 20)) for text in pictures}
    assert len(pictures) == 2 and sizes == {(LARGEST, LARGEST * 720 // 960)}
    assert "--masks masks.zip" in source


def test_a_sheet_shows_frames_above_what_counts_as_the_task(tmp_path: Path) -> None:
    pixels, masks = film(20, noise=0.0)
    frames = FrameSet(pixels, masks, torch.zeros(20))
    with Image.open(write_sheet(tmp_path / "sheet.png", frames, 1)) as image:
        shown = np.asarray(image)[::3, ::3]  # enlarged by 160 // 48
    assert shown.shape == (2 * SIDE, 6 * SIDE, 3)
    (place,) = different(pixels, 1)
    above, below = shown[:SIDE, :SIDE], shown[SIDE:, :SIDE]
    assert np.array_equal(above, pixels[place].permute(1, 2, 0).numpy())
    assert np.array_equal(below[masks[place]], above[masks[place]])
    assert below[~masks[place]].max() < 60


def test_the_command_writes_the_page_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, out = write_frames(tmp_path / "frames", film(20)[0]), tmp_path / "page.html"
    assert main(["shield", "draw", "--frames", str(frames), "--count", "3", "--out", str(out)]) == 0
    assert "next: foveal shield train --frames" in capsys.readouterr().out
    assert out.read_text().count("data:image/png") == 3
    assert main(["shield", "draw", "--frames", str(tmp_path / "no"), "--out", str(out)]) == 2
    assert "no folder of frames and no film" in capsys.readouterr().err
    assert main(["shield", "draw", "--frames", str(frames), "--count", "0"]) == 2
    assert "count must be at least 1" in capsys.readouterr().err
