"""Audits as films and as pictures: what is in them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import foveal
from foveal.auditing.exporting import write_curves, write_film
from foveal.errors import FovealError
from foveal.pictures.video import read_video
from small_policies import LENGTH, SIDE, Halves, Sides, looking

ZOOM, TITLE = 12, 20  # 420 pixels are wanted of 36
FAST = {"changes": ["hue", "frozen"], "severities": [1, 5], "progress": False, "maps": ()}


def audited(policy: Any, **options: Any) -> foveal.Audit:
    return foveal.audit(policy, Sides(), options.pop("out", None), **{**FAST, **options})


@pytest.mark.slow
def test_a_film_shows_the_clean_and_the_weakest_episode_with_a_map_beside_each(tmp_path: Path) -> None:
    film = tmp_path / "audit.mp4"
    found = audited(Halves(), maps=["gradient"], pixels="unit", mp4=film)
    pictures = list(read_video(film))
    assert len(pictures) == LENGTH and pictures[0].shape == (TITLE + ZOOM * SIDE, 4 * ZOOM * SIDE, 3)
    for place, (clean, weakest) in enumerate(zip(*(one.frames for one in found.films[:2]), strict=True)):
        views = np.split(pictures[place][TITLE:], 4, axis=1)
        for view, frame in ((views[0], clean), (views[2], weakest)):
            assert np.abs(view[ZOOM // 2 :: ZOOM, ZOOM // 2 :: ZOOM].astype(int) - frame).mean() < 8
        assert np.ptp(views[1].astype(int).mean((0, 1))) > 5  # a map has colours, over grey


@pytest.mark.slow
def test_of_two_policies_the_other_is_below(tmp_path: Path) -> None:
    film = tmp_path / "audit.mp4"
    found = audited(looking, against=looking, mp4=film)
    assert found.page is None and len(found.films) == 3
    pictures = list(read_video(film))
    zoom = 6
    assert len(pictures) == LENGTH and pictures[0].shape == (2 * (TITLE + zoom * SIDE), 2 * zoom * SIDE, 3)
    upper, lower = np.split(pictures[3], 2)
    assert np.abs(upper[TITLE:].astype(int) - lower[TITLE:]).mean() < 3


@pytest.mark.slow
def test_a_picture_has_every_curve_in_its_colour(tmp_path: Path) -> None:
    path = tmp_path / "audit.png"
    found = audited(looking, against=looking, png=path)
    drawn = np.asarray(Image.open(path))
    charts = [curve for curve in found.curves() if curve.points[0].condition.severity is not None]
    assert len(charts) == 2 and drawn.shape[1] == 2 * (2 * 20 + 2 * 400 + 28)
    for color in ((10, 95, 168), (180, 83, 13)):  # of either policy, in both charts
        there = (drawn == color).all(-1)
        assert there[:, :868].sum() > 300 and there[:, 868:].sum() > 300
    assert not (drawn == (42, 125, 70)).all(-1).any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mp4": "film.avi"}, "a film is an mp4 file: call it film.mp4"),
        ({"png": "curves.svg"}, "a picture is a png file: call it curves.png"),
        ({"png": "."}, "is a folder"),
    ],
)
def test_other_kinds_of_files_are_refused_before_work_starts(options: dict[str, str], said: str) -> None:
    with pytest.raises(FovealError, match=said):
        audited(looking, **options)


def test_recorded_frames_have_no_film(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="leave one of mp4 and frames out"):
        foveal.audit(looking, None, None, frames=tmp_path, mp4=tmp_path / "film.mp4")


def test_without_films_or_severities_there_is_nothing_to_write(tmp_path: Path) -> None:
    found = audited(looking, changes=["hue"], episodes=1)
    with pytest.raises(FovealError, match="this audit has no films"):
        write_film(found, tmp_path / "film.mp4")
    (tmp_path / "file").touch()
    with pytest.raises(FovealError, match="can't write the picture"):
        write_curves(found, tmp_path / "file" / "curves.png")
