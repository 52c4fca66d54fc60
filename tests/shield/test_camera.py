"""Frames and masks from files, a shield trained on them, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.cli import main
from foveal.envs.wrappers import area_weights, averaged
from foveal.errors import FovealError
from foveal.pictures.video import read_video, write_video
from foveal.shield import Shield, ShieldConfig, camera_frames, train_shield
from foveal.shield.camera import PIECES, Camera, drawn_for, read_camera, read_masks
from moving_square import SIDE, film, overlap, write_frames, write_masks

QUICK = {"filters": 4, "depth": 1, "steps": 4, "batch_size": 8, "picture_count": 8, "corruptions": ("noise", "tint")}


def config(masks: str, **settings: Any) -> ShieldConfig:
    return ShieldConfig(masks=masks, **{**QUICK, **settings})


def camera_like(pixels: torch.Tensor) -> Camera:
    """Frames of a film, as they were read."""
    return Camera(pixels, [f"{number:06d}" for number in range(len(pixels))], *pixels.shape[2:])


def solid(folder: Path, *sizes: tuple[int, int]) -> Path:
    """Grey pictures of (height, width)."""
    folder.mkdir()
    for number, size in enumerate(sizes):
        Image.fromarray(np.full((*size, 3), number, np.uint8)).save(folder / f"{number:06d}.png")
    return folder


# --- frames -----------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_by_name_and_resized_by_areas(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (30, 40, 3), dtype=np.uint8) for _ in range(20)]
    for number in reversed(range(20)):
        Image.fromarray(pictures[number]).save(
            tmp_path / f"frame{number:02d}.{'png' if number % 2 else 'webp'}", lossless=True
        )
    (tmp_path / "notes.txt").write_text("no picture")
    camera = read_camera(tmp_path, 16, 100)
    assert camera.names == [f"frame{number:02d}" for number in range(20)]
    assert (camera.height, camera.width) == (30, 40) and camera.pixels.shape == (20, 3, 16, 16)
    expected = area_weights(30, 16) @ pictures[7].transpose(2, 0, 1).astype(float) @ area_weights(40, 16).T
    assert np.abs(camera.pixels[7].numpy() - expected).max() <= 0.5 + 1e-3


def test_a_film_is_read_in_order(tmp_path: Path) -> None:
    pictures = [np.full((SIDE, SIDE, 3), 8 * number, np.uint8) for number in range(30)]
    path = write_video(tmp_path / "film.mp4", pictures, fps=10)
    assert [picture.shape for picture in read_video(path)] == [(SIDE, SIDE, 3)] * 30
    camera = read_camera(path, SIDE, 100)
    assert camera.names[0] == "000000" and camera.names[-1] == "000029"
    levels = camera.pixels.float().mean((1, 2, 3))
    assert (levels - 8 * torch.arange(30)).abs().max() < 3


def test_of_a_long_recording_some_are_taken_evenly_and_those_with_masks(tmp_path: Path) -> None:
    folder = solid(tmp_path / "frames", *[(8, 8)] * 100)
    camera = read_camera(folder, 8, 10, {"000033"})
    numbers = [int(name) for name in camera.names]
    assert 33 in numbers and 10 <= len(numbers) <= 11 and numbers[0] == 0 and numbers[-1] >= 90
    others = [number for number in numbers if number != 33]
    assert max(np.diff(others)) <= 2 * min(np.diff(others))
    assert camera.pixels[numbers.index(33)].unique().tolist() == [33]


def test_whole_pieces_of_a_recording_are_kept_back() -> None:
    pixels, masks = film(80)
    frames = camera_like(pixels).frame_set(masks, 0)
    assert len(frames.episodes.unique()) == PIECES
    training, kept = frames.divided(0.1)
    assert not set(training.episodes.tolist()) & set(kept.episodes.tolist()) and 8 <= len(kept) <= 12
    order = [int((pixels == frame).flatten(1).all(1).nonzero()) for frame in frames.pixels]
    assert sorted(order) == list(range(80)) and order != sorted(order)
    assert frames.masks.equal(masks[order])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([], "holds no pictures; expected files ending in"),
        ([(8, 8)] * 5, "has 5 frames, too few to learn from"),
        ([(8, 8)] * 20 + [(8, 9)], "differ in size, 8 x 8 and 9 x 8"),
    ],
)
def test_folders_that_are_no_recording_are_refused(tmp_path: Path, sizes: Any, message: str) -> None:
    with pytest.raises(FovealError, match=message):
        read_camera(solid(tmp_path / "frames", *sizes), 8, 100)


def test_files_that_are_no_recording_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="no folder of frames and no film"):
        read_camera(tmp_path / "nothing", 8, 100)
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(FovealError, match="can't read the film"):
        read_camera(tmp_path / "text.mp4", 8, 100)
    folder = solid(tmp_path / "frames", *[(8, 8)] * 20)
    (folder / "000020.png").write_bytes(b"no picture")
    with pytest.raises(FovealError, match=r"can't read the picture .*000020\.png"):
        read_camera(folder, 8, 100)
    (folder / "000020.png").unlink()
    Image.new("RGB", (8, 8)).save(folder / "000003.jpg")
    with pytest.raises(FovealError, match="differ in their ending alone"):
        read_camera(folder, 8, 100)


# --- masks ------------------------------------------------------------------------------------------------------------


def test_masks_come_from_a_folder_or_a_zip_file_in_any_size(tmp_path: Path) -> None:
    pixels, masks = film(20)
    large = masks[5].repeat_interleave(3, 0).repeat_interleave(3, 1)
    folder = write_masks(tmp_path / "masks", {"000005": large, "000011": masks[11]})
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as packed:
        for path in folder.iterdir():
            packed.write(path, path.name)
    for source in (folder, tmp_path / "masks.zip"):
        drawn = drawn_for(camera_like(pixels), read_masks(source))
        assert drawn.frames.tolist() == [5, 11] and drawn.masks.equal(masks[[5, 11]])


@pytest.mark.parametrize(
    ("name", "mask", "message"),
    [
        ("000099", np.eye(SIDE) * 255, "mask 000099 is of no frame: masks are named as their frames, here 000000 to"),
        ("000001", np.eye(SIDE)[:20] * 255, "is 48 x 20, and frames are 48 x 48"),
        ("000001", np.zeros((SIDE, SIDE)), "is black all over: paint the task's pixels white"),
        ("000001", np.full((SIDE, SIDE), 255), "is white all over"),
        ("000001", np.full((SIDE, SIDE), 128), "is grey"),
    ],
)
def test_masks_that_can_not_be_meant_are_refused(tmp_path: Path, name: str, mask: Any, message: str) -> None:
    Image.fromarray(mask.astype(np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(FovealError, match=message):
        drawn_for(camera_like(film(20)[0]), read_masks(tmp_path))


def test_soft_edges_of_a_brush_are_let_pass(tmp_path: Path) -> None:
    soft = np.zeros((SIDE, SIDE), np.uint8)
    soft[10:20, 10:20], soft[12:18, 12:18] = 128, 255
    Image.fromarray(soft).save(tmp_path / "000001.png")
    assert (read_masks(tmp_path)["000001"] > 0).sum() == 100


def test_places_without_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="holds no masks"):
        read_masks(tmp_path)
    with pytest.raises(FovealError, match="no folder of masks and no zip file"):
        read_masks(tmp_path / "nothing.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(FovealError, match="is no zip file"):
        read_masks(tmp_path / "text.zip")


# --- a shield of them -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_shield_learns_from_a_film_whose_task_moves(tmp_path: Path) -> None:
    pixels, masks = film(60)
    folder = write_frames(tmp_path / "frames", pixels)
    frames = camera_frames(folder, SIDE, config("motion"), seed=3)
    order = [int((pixels == frame).flatten(1).all(1).nonzero()) for frame in frames.pixels]
    assert overlap(frames.masks, masks[order]) > 0.95
    shield = train_shield("my-arm", config=config("motion"), frames=frames, run=tmp_path / "run")
    loaded = Shield.load(tmp_path / "run")
    assert shield.about["masks"] == "motion" and not shield.privileged
    assert (loaded.about, loaded.env_id, loaded.image_size) == (shield.about, "my-arm", SIDE)
    assert Shield(ShieldConfig(), "x", SIDE).privileged


def test_where_all_masks_are_drawn_nothing_is_learned_of_them(tmp_path: Path) -> None:
    pixels, masks = film(24)
    folder = write_frames(tmp_path / "frames", pixels)
    drawn = write_masks(tmp_path / "masks", {f"{number:06d}": mask for number, mask in enumerate(masks)})
    frames = camera_frames(folder, SIDE, config("files"), masks=drawn)
    order = [int((pixels == frame).flatten(1).all(1).nonzero()) for frame in frames.pixels]
    assert frames.masks.equal(masks[order])


def test_a_camera_is_asked_for_what_it_can_tell(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="no simulator to ask"):
        camera_frames(tmp_path, SIDE, config("simulator"))
    with pytest.raises(FovealError, match='go with masks="files"'):
        camera_frames(tmp_path, SIDE, config("motion"), masks=tmp_path)
    folder = write_frames(tmp_path / "frames", film(24)[0])
    tiny = torch.zeros(400, 400, dtype=torch.bool)
    tiny[:2, :2] = True
    write_masks(tmp_path / "masks", {"000001": tiny})
    with pytest.raises(FovealError, match="covers less than a pixel of frames of 48"):
        camera_frames(folder, SIDE, config("files"), masks=tmp_path / "masks")


def test_resizing_is_that_of_environments() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (3, 30, 50), dtype=np.uint8)
    assert averaged(picture, (30, 50)) is not picture and np.array_equal(averaged(picture, (30, 50)), picture)
    assert averaged(picture, (10, 25)).shape == (3, 10, 25)
    assert averaged(np.full((3, 30, 50), 77, np.uint8), (7, 90)).tolist() == np.full((3, 7, 90), 77).tolist()


@pytest.mark.slow
def test_the_command_learns_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_frames(tmp_path / "frames", film(24)[0]), tmp_path / "shield"
    small = "--image-size 24 --filters 4 --depth 1 --steps 2 --batch-size 4 --picture-count 8 --corruptions noise tint"
    train = ["shield", "train", "--frames", str(folder), *small.split(" ")]
    assert main([*train, "--out", str(out)]) == 0
    assert "training a shield for frames, masks by motion" in capsys.readouterr().out
    with Image.open(out / "masks.png") as sheet:
        assert sheet.size == (6 * 24 * 6, 2 * 2 * 24 * 6)  # 12 frames in rows of 6, each above its mask, enlarged
    shield = Shield.load(out)
    assert (shield.env_id, shield.image_size, shield.config.masks) == ("frames", 24, "motion")
    assert main([*train, "--out", str(tmp_path / "no"), "--masks", str(tmp_path / "masks.zip")]) == 2
    assert "no folder of masks and no zip file" in capsys.readouterr().err
    assert main([*train, "--out", str(tmp_path / "no"), "--masks", "saliency"]) == 2
    assert "saliency is a policy's" in capsys.readouterr().err
    assert main([*train, "--quality", "draft"]) == 2
    assert "rendered already" in capsys.readouterr().err
    assert main(["shield", "train", "dmc/walker-walk", "--frames", "10"]) == 2
    assert "at least 20" in capsys.readouterr().err
