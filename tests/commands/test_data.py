"""``foveal data check``."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from foveal.cli import main
from foveal.envs.perturbations.sky_films import TRAINING_FILMS


def checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, int, int]]:
    """State, found and wanted by name; the exit status must be 0."""
    assert main(["data", "check", str(folder)]) == 0
    return rows(capsys.readouterr().out)


def rows(printed: str) -> dict[str, tuple[str, int, int]]:
    found = re.findall(r"^(\S+) +(whole|part|missing|broken) +([\d,]+) of ([\d,]+) ", printed, re.MULTILINE)
    return {name: (state, *(int(number.replace(",", "")) for number in numbers)) for name, state, *numbers in found}


def write_video(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        for shade in (0, 100, 200):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_pictures(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (16, 9), (number, 0, 0)).save(folder / f"{number:05d}.jpg")


def test_nothing_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(tmp_path, capsys)
    assert set(found) == {
        "color_easy.pt",
        "color_hard.pt",
        "video_easy/",
        "video_hard/",
        "DAVIS/JPEGImages/480p/",
        "places365_standard/",
    }
    assert {state for state, _, _ in found.values()} == {"missing"}
    assert main(["data", "check", str(tmp_path / "nowhere")]) == 2


def test_what_is_there_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(10):
        write_video(tmp_path / "video_easy" / f"video{number}.mp4")
    write_video(tmp_path / "video_hard" / "video3.mp4")
    for film in TRAINING_FILMS[:2]:
        write_pictures(tmp_path / "DAVIS" / "JPEGImages" / "480p" / film, 2)
    write_pictures(tmp_path / "places365_standard" / "train" / "abbey", 3)
    found = checked(tmp_path, capsys)
    assert found["video_easy/"] == ("whole", 10, 10)
    assert found["video_hard/"] == ("part", 1, 100)
    assert found["DAVIS/JPEGImages/480p/"] == ("part", 2, 60)
    assert found["places365_standard/"] == ("part", 3, 1_803_460)


def test_broken_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "video_easy" / "video0.mp4")
    (tmp_path / "video_easy" / "video1.mp4").write_bytes(b"no film")
    (tmp_path / "color_hard.pt").write_bytes(b"no colours")
    film = tmp_path / "DAVIS" / "JPEGImages" / "480p" / TRAINING_FILMS[0]
    write_pictures(film, 2)
    (film / "00001.jpg").write_bytes((film / "00000.jpg").read_bytes()[:200])
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", str(tmp_path)])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    for name in ("video1.mp4", "color_hard.pt", "00001.jpg"):
        assert re.search(rf"^broken: .*{name}", said, re.MULTILINE)
    assert rows(said)["video_easy/"] == ("broken", 1, 10)


@pytest.mark.slow
def test_the_benchmarks_own_files(dmcgb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("color_easy.pt", "color_hard.pt"):
        shutil.copy(dmcgb / name, tmp_path)
    (tmp_path / "video_easy").mkdir()
    shutil.copy(dmcgb / "video_easy" / "video1.mp4", tmp_path / "video_easy")
    found = checked(tmp_path, capsys)
    assert found["color_easy.pt"] == found["color_hard.pt"] == ("whole", 100, 100)
    assert found["video_easy/"] == ("part", 1, 10)
