"""Atari-HEAD, what an agent would have seen in it, and how maps compare with the gaze."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from foveal.atari.insides import of_games
from foveal.cli import main
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides, pixel_insides, policy_scalars
from foveal.evaluation.statistics import bootstrap_interval
from foveal.gaze.atari_head import HEIGHT, WIDTH, Trial, find_trials, game_key, read_frames, read_metadata, read_trial
from foveal.gaze.atari_head_summary import read_summary, round_samples
from foveal.gaze.comparison import GazeOptions, compare_gaze
from foveal.gaze.maps import BASELINES, centre_map, motion_map
from foveal.gaze.results import METRICS, score_of
from foveal.gaze.screens import OFFSETS, brightness, observation, pooled_frames, shrink, shrunk_pairs
from foveal.gaze.truth import Gaze, Picture, eligible_frames, fixated_pixels

HEADER = "frame_id,episode_id,score,duration(ms),unclipped_reward,action,gaze_positions"
VERSION_4 = (
    "GameName,trial_id,subject_id,load_trial,highest_score,total_frame,total_game_play_time,total_episode,avg_error,"
    "max_error,low_sample_rate,frame_averaging,fps\n"
)
SIDE = 84


def block_at(number: int) -> tuple[int, int]:
    """Upper left corner of the bright block in frame ``number``: it jumps every 16 frames."""
    random = np.random.default_rng(number // 16)
    return int(random.integers(10, HEIGHT - 30)), int(random.integers(10, WIDTH - 30))


def frame(number: int) -> NDArray[np.uint8]:
    picture = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    row, column = block_at(number)
    picture[row : row + 12, column : column + 10] = 220
    return picture


def gaze_on_block(number: int) -> str:
    """The tail of a row whose length changes from row to row; every 7th frame has no gaze."""
    if number % 7 == 0:
        return "null"
    row, column = block_at(number)
    points = [(column + 2.5 + i % 3, row + 3.25 + i) for i in range(1 + number % 5)]
    return ",".join(f"{x},{y}" for x, y in points)


def png(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    return buffer.getvalue()


def write_archive(path: Path, pictures: Iterable[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w:bz2") as archive:
        for name, content in pictures:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def write_trial(
    folder: Path, trial: int, numbers: Sequence[int], absent: Sequence[int] = (), episode: str = "0"
) -> Path:
    """A trial as Atari-HEAD has it, frames in no order, beside a stray file as some archives have."""
    stem, prefix = f"{trial}_RZ_900{trial}_Aug-10", f"RZ_900{trial}"
    rows = [f"{prefix}_{n},{episode},null,50,0,3,{gaze_on_block(n)}" for n in numbers]
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / f"{stem}.txt"
    text.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    shuffled = [int(n) for n in np.random.default_rng(0).permutation(numbers) if n not in absent]
    pictures = [(f"{stem}/{prefix}_{n}.png", png(frame(n))) for n in shuffled]
    write_archive(folder / f"{stem}.tar.bz2", [(f"{stem}/._{prefix}_1.png", b"stray"), *pictures])
    return text


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 4: a folder a game, the metadata above them."""
    folder = tmp_path_factory.mktemp("head")
    write_trial(folder / "breakout", 7, range(1, 121))
    write_trial(folder / "breakout", 12, range(1, 61))
    (folder / "meta_data.csv").write_text(
        f"{VERSION_4}breakout,7,1,0,5,120,2,1,0.3,0.9,FALSE,TRUE,20\nbreakout_highscore,12,1,0,5,60,2,1,0.3,0.9,FALSE,FALSE,20\n",
        encoding="utf-8",
    )
    return folder


def bright(obs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A map that knows where the block is in the newest picture."""
    return (obs[:, -1] > 100).astype(np.float64) + 1e-3


# ---- reading trials


def test_rows_of_every_length_null_and_points_outside(tmp_path: Path) -> None:
    text = tmp_path / "3_RZ_1.txt"
    rows = [
        "RZ_1_1,null,null,50,null,0,0.0,0.0,159.99,209.99",
        "RZ_1_2,2,10,50,0,1,160.0,5,5,210,-0.01,3,7.9,8.2",  # all but the last are outside
        "RZ_1_3,2,10,50,0,1,null",
        "",
        "RZ_1_4,2,10,50,0,1",
        "RZ_1_5,2,10,50,0,1,10.5,20.5,",
    ]
    text.write_text("\n".join([HEADER, *rows]), encoding="utf-8")

    trial = read_trial(text, "breakout")

    assert {n: list(pixels) for n, pixels in trial.gaze.items()} == {
        1: [0, HEIGHT * WIDTH - 1],
        2: [8 * WIDTH + 7],
        3: [],
        4: [],
        5: [20 * WIDTH + 10],
    }
    assert trial.outside == 3
    assert trial.episodes == {2: "2", 3: "2", 4: "2", 5: "2"}
    assert trial.names[4] == "RZ_1_4"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("RZ_1_3,0,0", "3 fields"),
        ("RZ_1_x,0,0,50,0,1,5,5", "no name of a frame"),
        ("RZ_1_3,0,0,50,0,1,5,5,6", "3 gaze coordinates are no pairs"),
        ("RZ_1_3,0,0,50,0,1,5,null", "no number"),
        ("RZ_1_3,0,0,50,0,1,5,nan", "not finite"),
        ("RZ_1_1,0,0,50,0,1,5,5", "second row for frame 1"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, broken: str, why: str) -> None:
    text = tmp_path / "3_RZ_1.txt"
    text.write_text(f"{HEADER}\nRZ_1_1,0,0,50,0,1,5,5\nRZ_1_2,0,0,50,0,1,null\n{broken}\n", encoding="utf-8")
    with pytest.raises(FovealError, match=rf"3_RZ_1.txt: line 4 is .*{why}"):
        read_trial(text, "breakout")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    for content in ("", "x,y\n1,2\n"):
        (tmp_path / "3_a.txt").write_text(content, encoding="utf-8")
        with pytest.raises(FovealError, match="line 1 is no header"):
            read_trial(tmp_path / "3_a.txt", "breakout")


def test_both_versions_of_the_metadata(tmp_path: Path) -> None:
    older, newer = tmp_path / "old.csv", tmp_path / "new.csv"
    older.write_text("TrialNumber,NumberOfFrames,Game\n3,100,breakout\n\n,,\n14,200,ms_pacman\n", encoding="utf-8")
    newer.write_text(f"{VERSION_4}alien,3,1,0,5,120,2,1,0.3,0.9,FALSE,TRUE,20\nalien_highscore,4\n", encoding="utf-8")

    old, new = read_metadata(older), read_metadata(newer)

    assert {number: entry.game for number, entry in old.items()} == {3: "breakout", 14: "ms_pacman"}
    assert old[3].averaged is None
    assert {number: (entry.game, entry.averaged) for number, entry in new.items()} == {
        3: ("alien", True),
        4: ("alien", None),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "line 1 is neither header"),
        ("TrialNumber,NumberOfFrames,Game\n1,5,alien\nx,5,alien\n", "line 3 names no game"),
        (f"{VERSION_4}alien\n", "line 2 names no game"),
    ],
)
def test_broken_metadata(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "meta_data.csv").write_text(content, encoding="utf-8")
    with pytest.raises(FovealError, match=message):
        read_metadata(tmp_path / "meta_data.csv")


@pytest.mark.slow
def test_trials_are_found_in_either_layout(tmp_path: Path, game: Path) -> None:
    found = find_trials(game)
    assert [(files.text.name[:2], files.game, files.averaged) for files in found] == [
        ("7_", "breakout", True),
        ("12", "breakout", False),
    ]
    assert len(find_trials(game / "breakout", "Breakout")) == 2  # the metadata lie above
    write_trial(tmp_path, 5, range(1, 3))
    (tmp_path / "meta_data.csv").write_text("TrialNumber,NumberOfFrames,Game\n5,2,seaquest\n", encoding="utf-8")
    assert find_trials(tmp_path)[0].game == "seaquest"


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path, game: Path) -> None:
    with pytest.raises(FovealError, match="no folder"):
        find_trials(tmp_path / "nowhere")
    with pytest.raises(FovealError, match=r"no trials in .*<number>_<name>.txt"):
        find_trials(tmp_path)
    with pytest.raises(FovealError, match="did you mean 'breakout'"):
        find_trials(game, "breakot")
    text = write_trial(tmp_path, 5, range(1, 3))
    with pytest.raises(FovealError, match=r"5_RZ.*meta_data.csv.*--game"):
        find_trials(tmp_path)
    text.with_name(text.stem + ".tar.bz2").unlink()
    with pytest.raises(FovealError, match=r"frames of .*are missing.*tar.bz2"):
        find_trials(tmp_path, "breakout")


def test_names_of_one_game() -> None:
    assert {game_key(name) for name in ("ms_pacman", "MsPacman", "atari/ms-pacman", "ms_pacman_highscore")} == {
        "mspacman"
    }


def test_frames_are_streamed_from_the_archive(game: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    opened = tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda path, mode: modes.append(mode) or opened(path, mode))
    trial = find_trials(game)[0].read()
    before = sorted(game.rglob("*"))

    pictures = dict(read_frames(trial, {3, 50, 120, 7}))

    assert modes == ["r|bz2"]  # a stream: no seeking, one pass
    assert sorted(game.rglob("*")) == before
    assert sorted(pictures) == [3, 7, 50, 120]
    for number, picture in pictures.items():
        assert_array_equal(picture, frame(number))


def test_damaged_archives_and_pictures(tmp_path: Path) -> None:
    trial = read_trial(write_trial(tmp_path, 5, range(1, 9)), "breakout")
    whole = trial.frames.read_bytes()
    for content in (whole[: len(whole) // 2], b"no archive", whole[:20] + b"\0" * 50 + whole[70:]):
        trial.frames.write_bytes(content)
        with pytest.raises(FovealError, match=r"tar.bz2 is damaged .*download it again"):
            list(read_frames(trial, {1, 2}))
    write_archive(trial.frames, [("RZ_9005_1.png", b"nonsense")])
    with pytest.raises(FovealError, match=r"RZ_9005_1.png .* is no PNG"):
        list(read_frames(trial, {1}))
    write_archive(trial.frames, [("RZ_9005_1.png", png(np.zeros((84, 84, 3), np.uint8)))])
    with pytest.raises(FovealError, match="84 x 84 pixels, not Atari's 160 x 210"):
        list(read_frames(trial, {1}))


# ---- what an agent would see


@pytest.mark.slow
def test_observations_are_the_emulators() -> None:
    """Against ale-py's vector environment, played side by side with a bare emulator."""
    ale_py = pytest.importorskip("ale_py", reason="needs foveal[atari]")
    from ale_py.vector_env import AtariVectorEnv

    env = AtariVectorEnv(
        "ms_pacman", num_envs=1, noop_max=0, repeat_action_probability=0.0, use_fire_reset=False, episodic_life=False
    )
    ale = ale_py.ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(ale_py.roms.get_rom_path("ms_pacman"))
    env.reset(seed=3)
    actions, random, number = ale.getMinimalActionSet(), np.random.default_rng(0), 0
    frames: dict[int, Any] = {}
    for step in range(100):
        action = int(random.integers(len(actions)))
        theirs, *_ = env.step(np.array([action]))
        for _ in range(4):
            ale.act(actions[action])
            number += 1
            frames[number] = ale.getScreenRGB()
        if step > 80:  # the game's opening tune is over, and everything moves
            newest = [number - 12, number - 8, number - 4, number]
            needed = pooled_frames(newest)
            pictures, arrived = shrunk_pairs(((n, frames[n]) for n in needed), newest)
            difference = np.abs(observation(pictures, number).astype(int) - theirs[0].astype(int))
            assert difference.max() <= 1  # rounding
            assert arrived == set(needed)
    assert (theirs[0, 0] != theirs[0, 3]).any()
    env.close()


def test_shrinking_averages_areas() -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    assert (shrink(np.full((HEIGHT, WIDTH), 77, np.uint8)) == 77).all()
    fine = np.repeat(np.repeat(picture.astype(float), 2, 0), 21, 1)  # 420 x 3360: 5 x 40 of these to a pixel
    expected = fine.reshape(84, 5, 84, 40).mean((1, 3))
    assert np.abs(shrink(picture) - expected).max() <= 0.5 + 1e-9


def test_flicker_survives_and_order_does_not_matter() -> None:
    pictures = {n: np.zeros((HEIGHT, WIDTH, 3), np.uint8) for n in (3, 4, 7, 8)}
    pictures[3][:100] = 200  # seen in the earlier frame alone
    forwards, _ = shrunk_pairs(pictures.items(), [4, 8])
    backwards, arrived = shrunk_pairs(list(pictures.items())[:0:-1], [4, 8])  # without frame 3
    assert forwards[4][0, 0] == 200
    assert list(backwards) == [8]
    assert arrived == {4, 7, 8}
    assert brightness(np.array([[[255, 0, 0]]], np.uint8))[0, 0] == 76


def plain_trial(names: Iterable[int], episodes: Mapping[int, str] | None = None) -> Trial:
    numbers = list(names)
    gaze = {n: np.array([n], np.int32) for n in numbers}
    return Trial("t", "g", Path("nowhere"), {n: f"t_{n}" for n in numbers}, gaze, episodes or {})


def test_the_papers_subset_and_windows() -> None:
    assert OFFSETS == (0, 1, 4, 5, 8, 9, 12, 13)
    assert eligible_frames(plain_trial(range(1, 33))) == [16, 20, 24, 28, 32]
    assert eligible_frames(plain_trial(n for n in range(1, 33) if n != 12)) == [28, 32]  # 12 is of 12, 16, 20, 24
    assert eligible_frames(plain_trial(n for n in range(1, 33) if n != 14)) == [16, 20, 24, 28, 32]  # 14 is of none
    two = {n: "a" if n < 18 else "b" for n in range(1, 41) if n != 20}
    assert eligible_frames(plain_trial(range(1, 41), two)) == [16, 32, 36, 40]
    assert_array_equal(fixated_pixels(plain_trial(range(1, 33)), 20), [20, 19, 16, 15, 12, 11, 8, 7])


# ---- comparison


def trials_of(game: Path) -> list[Trial]:
    return [files.read() for files in find_trials(game)]


@pytest.mark.slow
def test_a_map_that_knows_beats_one_that_does_not(game: Path) -> None:
    looks = {"bright": bright, "flat": lambda obs: np.ones((len(obs), SIDE, SIDE))}

    result, examples = compare_gaze(trials_of(game), looks, GazeOptions(examples=3))

    assert list(result.scores) == ["bright", "flat", *BASELINES]
    assert result.pictures == result.subset == (120 - 12) // 4 + (60 - 12) // 4
    knows, random = result.scores["bright"], result.scores["random"]
    for metric in METRICS:
        better = min if metric == "kl" else max
        assert better(knows[metric].mean, random[metric].mean) == knows[metric].mean
    assert knows["sauc"].mean > 0.7  # the truth also holds where the block was up to 13 frames ago
    assert abs(random["sauc"].mean - 0.5) < 0.1
    assert knows["nss"].low < knows["nss"].mean < knows["nss"].high
    flat = result.scores["flat"]
    assert flat["nss"].mean is None
    assert flat["nss"].undefined == result.pictures
    assert flat["sauc"].mean == 0.5
    assert result.scores["split gaze"]["nss"].mean > knows["nss"].mean
    assert result.averaged
    assert len(examples) == 3
    assert examples[0].maps["bright"].shape == (HEIGHT, WIDTH)


def test_scores_written_out(game: Path) -> None:
    """One picture, from the files to the score, by hand."""
    trial = trials_of(game)[1]
    seen = []

    def look(obs: NDArray[np.uint8]) -> NDArray[np.float64]:
        seen.append(obs)
        return bright(obs)

    result, _ = compare_gaze([trial], {"bright": look}, GazeOptions(pictures=1))

    newest = np.stack([shrink(np.maximum(*(brightness(frame(n - k)) for k in (0, 1)))) for n in (4, 8, 12, 16)])
    assert_array_equal(np.concatenate(seen), newest[None])
    tensor = torch.as_tensor(bright(newest[None]))[:, None]
    values = torch.nn.functional.interpolate(tensor, size=(210, 160), mode="bilinear")[0, 0].numpy()
    looked = []
    for number in (16, 15, 12, 11, 8, 7, 4, 3):
        cells = gaze_on_block(number).split(",")
        if cells != ["null"]:
            looked += [values[int(float(y)), int(float(x))] for x, y in zip(cells[::2], cells[1::2], strict=True)]
    assert len(looked) > 8
    assert_allclose(result.scores["bright"]["nss"].mean, (np.mean(looked) - values.mean()) / values.std())
    assert result.scores["bright"]["sauc"].mean is None  # there is no other picture to draw negatives from


@pytest.mark.slow
def test_a_comparison_repeats_and_depends_on_its_seed(game: Path) -> None:
    trials = trials_of(game)[1:]
    first, again, other = (compare_gaze(trials, {}, GazeOptions(seed=seed, pictures=4))[0] for seed in (0, 0, 1))
    assert first == again
    assert first.scores["random"] != other.scores["random"]


def test_gaze_of_others_leaves_the_picture_itself_out() -> None:
    down = {n: np.array([n // 4 * WIDTH + n % 4], np.int32) for n in range(1, 401)}  # row 25 at frame 100
    trial = replace(plain_trial(down), gaze=down)
    pictures = [Picture(0, n) for n in eligible_frames(trial)[::8]]  # far enough apart to share no frame
    gaze = Gaze([trial], pictures, seed=0)
    for picture in pictures:
        truth = gaze.truth(picture)
        assert truth.fixations.sum() == 8
        assert truth.others.sum() == 80
        assert not (truth.others * truth.fixations).any()
    elsewhere = gaze.elsewhere(Picture(0, 200))  # all but frames 100 to 300, rows 25 to 75
    assert elsewhere[10, 0] > 0
    assert not elsewhere[46:54].any()
    alone = Gaze([trial], pictures[:1], seed=0).truth(pictures[0])
    assert not alone.others.any()


@pytest.mark.slow
def test_missing_frames_are_counted_and_named(tmp_path: Path) -> None:
    trial = read_trial(write_trial(tmp_path, 5, range(1, 61), absent=(3, 14, 31, 32, 35)), "breakout")
    # 14 is in no observation; the others are.
    expected = (
        r"4 of 30 frames .* are not in .*: RZ_9005_3.png, RZ_9005_31.png, RZ_9005_32.png, \.\.\.; .*--skip-missing"
    )
    with pytest.raises(FovealError, match=expected):
        compare_gaze([trial], {})

    result, _ = compare_gaze([trial], {}, GazeOptions(skip_missing=True))

    assert result.missing == 4
    assert result.pictures == len([20, 24, 28, 52, 56, 60])
    assert "4 frames missing" in result.table()


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (lambda obs: np.ones((len(obs), 7, 7)), r"need saliency maps \(\d+, 84, 84\)"),
        (lambda obs: -np.ones((len(obs), SIDE, SIDE)), "not negative"),
        (lambda obs: np.full((len(obs), SIDE, SIDE), np.nan), "must be finite"),
    ],
)
def test_malformed_maps(game: Path, look: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        compare_gaze(trials_of(game)[1:], {"agent": look})


def test_comparisons_that_can_not_be_made(game: Path) -> None:
    with pytest.raises(FovealError, match="'centre' is the name of a baseline"):
        compare_gaze(trials_of(game), {"centre": bright})
    with pytest.raises(FovealError, match="no picture to compare on in t"):
        compare_gaze([plain_trial(range(1, 10))], {})
    with pytest.raises(FovealError, match="pictures must be at least 1, not 0"):
        GazeOptions(pictures=0)


def test_baseline_maps() -> None:
    obs = np.zeros((2, 4, SIDE, SIDE), np.uint8)
    obs[1, 3, 5, 6] = 200
    obs[1, 0] = 255  # long ago
    assert_array_equal(np.argwhere(motion_map(obs)), [[1, 5, 6]])
    centre = centre_map(obs)[0]
    assert_allclose(centre, centre[::-1, ::-1])
    assert centre.argmax() in (41 * SIDE + 41, 42 * SIDE + 42)


def test_intervals_resample_blocks() -> None:
    random = np.random.default_rng(0)
    values = np.repeat(random.normal(size=20), 10)
    alone, together = score_of(values, np.arange(200)), score_of(values, np.repeat(np.arange(20), 10))
    assert alone.mean == together.mean == values.mean()
    assert_allclose((alone.low, alone.high), bootstrap_interval(values))
    assert_allclose((together.low, together.high), bootstrap_interval(values[::10]))  # ten copies tell no more than one
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    some = score_of([1.0, np.nan, 3.0, np.nan], np.array([0, 0, 1, 2]))
    assert (some.mean, some.pictures, some.undefined) == (2, 2, 2)


# ---- summaries


def write_summary(folder: Path, *rows: str) -> Path:
    (folder / "frames").mkdir(exist_ok=True)
    head = "frame_id,action,gaze_mean,gaze_start,gaze_end,gaze_variance0,gaze_component0,gaze_variance1,gaze_component1"
    (folder / "gaze_summary.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return folder


def test_samples_of_a_summary_have_its_mean_and_spread(tmp_path: Path) -> None:
    points = round_samples()
    assert_allclose(points.mean(0), 0, atol=1e-12)
    assert_allclose(points.T @ points / len(points), np.eye(2), atol=1e-12)
    row = 'RZ_1_4,0,"[80.0, 100.0]","[0, 0]","[0, 0]",400.0,"[0.6, 0.8]",25.0,"[-0.8, 0.6]"'
    away = 'RZ_1_5,0,"[80.0, 260.0]","[0, 0]","[0, 0]",1.0,"[0.6, 0.8]",1.0,"[-0.8, 0.6]"'

    trial = read_summary(write_summary(tmp_path, row, away), "ms_pacman")

    y, x = np.divmod(trial.gaze[4], WIDTH)
    samples = np.stack([x, y], 1) + 0.5
    axes = np.array([[0.6, 0.8], [-0.8, 0.6]])
    assert_allclose(samples.mean(0), [80, 100], atol=0.2)
    assert_allclose(np.cov(samples.T, bias=True), axes.T @ np.diag([400, 25]) @ axes, atol=8)
    assert len(trial.gaze[5]) == 0
    assert trial.outside == 50
    assert trial.summary


@pytest.mark.parametrize(
    "broken",
    [
        'RZ_1_x,0,"[1, 2]","","",1,"[1, 0]",1,"[0, 1]"',
        'RZ_1_5,0,"[1, 2, 3]","","",1,"[1, 0]",1,"[0, 1]"',
        'RZ_1_5,0,"1 2","","",1,"[1, 0]",1,"[0, 1]"',
        'RZ_1_5,0,"[1, 2]","","",-1,"[1, 0]",1,"[0, 1]"',
        "RZ_1_5,0",
    ],
)
def test_a_broken_line_of_a_summary_is_named(tmp_path: Path, broken: str) -> None:
    good = 'RZ_1_4,0,"[1, 2]","","",1,"[1, 0]",1,"[0, 1]"'
    with pytest.raises(FovealError, match=r"gaze_summary.csv: line 3 is broken"):
        read_summary(write_summary(tmp_path, good, broken), "ms_pacman")


def test_summaries_that_lack_something(tmp_path: Path) -> None:
    write_summary(tmp_path)
    with pytest.raises(FovealError, match="has no rows"):
        read_summary(tmp_path, "ms_pacman")
    (tmp_path / "gaze_summary.csv").write_text("frame_id,action\n", encoding="utf-8")
    with pytest.raises(FovealError, match="line 1 lacks the columns gaze_mean"):
        read_summary(tmp_path, "ms_pacman")
    (tmp_path / "frames").rmdir()
    with pytest.raises(FovealError, match="no folder"):
        read_summary(tmp_path, "ms_pacman")


@pytest.mark.slow
def test_people_look_at_what_moves_in_ms_pacman(test_data: Path) -> None:
    folder = test_data / "atari_head_sample"
    if not folder.is_dir():
        pytest.skip("no test data: atari_head_sample")
    trial = read_summary(folder, "ms_pacman")
    assert len(trial.names) == 1201

    result, _ = compare_gaze([trial], {}, GazeOptions(pictures=80))

    assert result.subset == 204
    motion, random = (result.scores[name]["sauc"] for name in ("motion", "random"))
    assert motion.low > random.mean
    assert abs(random.mean - 0.5) < 0.05
    assert "not comparable with published ones" in result.table()


# ---- command


class Agent:
    """An agent whose value is the brightness of the newest picture's upper half."""

    env_id = "atari/breakout"
    encoder_name = "sparse-fls"
    device = torch.device("cpu")
    has_attention = True

    def insides(self) -> Insides:
        return of_games(pixel_insides(self, policy_scalars(self)), self)

    def even_attention(self) -> NDArray[np.float32]:
        return centre_map(np.empty(1))[0].astype(np.float32)

    def attention(self, obs: NDArray[np.uint8]) -> torch.Tensor:
        return torch.from_numpy(bright(np.asarray(obs))).float()

    def values(self, obs: torch.Tensor) -> torch.Tensor:
        return (obs[:, -1, :42] ** 2).sum((1, 2))[None]


class Blind(Agent):
    encoder_name = "nature"
    has_attention = False

    def attention(self, obs: NDArray[np.uint8]) -> torch.Tensor:
        raise FovealError("the nature encoder has no attention")


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"runs/fls": Agent(), "runs/blind": Blind(), "runs/walker": object()}
    monkeypatch.setattr("foveal.commands.gaze.load", lambda path, device=None: known[path])


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["gaze", *arguments])
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.mark.usefixtures("agents")
@pytest.mark.slow
def test_the_command(game: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--saliency", "attention", "gradient", "--frames", "20"]
    files = ["--json", str(tmp_path / "gaze.json"), "--out", str(tmp_path / "gaze.png")]

    status, out, _ = run(capsys, "runs/fls", "--data", str(game), *wanted, *files)

    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "breakout · 2 recordings · 20 of 39 pictures · mean [95 % interval]"
    assert lines[2].split() == ["map", "NSS", "KL", "sAUC", "CC", "SIM"]
    names = ["fls (attention)", "fls (gradient)", "even attention (sparse-fls)", *BASELINES]
    assert [line[: len(name)] for line, name in zip(lines[4:], names, strict=False)] == names
    state = json.loads((tmp_path / "gaze.json").read_text(encoding="utf-8"))
    assert state["format"] == "foveal.gaze/1"
    assert state["agents"]["fls (gradient)"]["encoder"] == "sparse-fls"
    scores = state["games"]["breakout"]["maps"]
    assert scores["fls (attention)"]["nss"]["mean"] > scores["random"]["nss"]["mean"]
    assert f"{scores['fls (attention)']['nss']['mean']:.3f}" in out
    with Image.open(tmp_path / "gaze.png") as picture:
        assert picture.size == (8 * WIDTH, 6 * HEIGHT + 18)
    assert scores["even attention (sparse-fls)"]["nss"] == pytest.approx(scores["centre"]["nss"])
    assert "even attention (sparse-fls)" not in state["agents"]


@pytest.mark.slow
@pytest.mark.usefixtures("agents")
@pytest.mark.parametrize(
    ("kinds", "rows"),
    [
        ([], ["fls (attention)", "blind (gradient)", "even attention (sparse-fls)"]),
        (
            ["--saliency", "attention", "guided_backprop"],
            ["fls (attention)", "fls (guided_backprop)", "blind (guided_backprop)", "even attention (sparse-fls)"],
        ),
        (["--saliency", "gradient"], ["fls (gradient)", "blind (gradient)"]),
    ],
)
def test_agents_with_and_without_attention_in_one_table(
    game: Path, kinds: list[str], rows: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, "runs/fls", "runs/blind", "--data", str(game), "--frames", "8", *kinds)
    assert status == 0
    found = [line.split("  ")[0] for line in out.splitlines()[4:]]
    assert found[: len(rows) + 1] == [*rows, "random"]


@pytest.mark.usefixtures("agents")
def test_gradient_saliency_is_where_the_value_comes_from(game: Path, tmp_path: Path) -> None:
    from foveal.gaze.agents import looks_of

    obs = np.full((2, 4, SIDE, SIDE), 3, np.uint8)
    gradient = looks_of(Agent(), "a", ("gradient",))["a (gradient)"](obs)
    expected = np.zeros((2, SIDE, SIDE))
    expected[:, :42] = 6
    assert_allclose(gradient, expected)


@pytest.mark.usefixtures("agents")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/walker"], "walker is no Atari agent"),
        (["runs/blind", "--saliency", "attention"], "this agent has no attention module"),
        (["runs/fls", "--saliency", "atention"], "unknown saliency 'atention': did you mean 'attention'"),
        (["runs/fls", "--game", "alien"], "runs/fls plays atari/breakout, and --game is alien"),
        (["runs/fls", "--out", "gaze.html"], "--out draws a PNG"),
        (["runs/fls", "--frames", "0"], "pictures must be at least 1, not 0"),
    ],
)
def test_mistakes_cost_one_line(
    game: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *arguments, "--data", str(game))
    assert status == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("agents")
def test_an_agents_game_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_trial(tmp_path, 5, range(1, 3))
    (tmp_path / "meta_data.csv").write_text("TrialNumber,NumberOfFrames,Game\n5,2,seaquest\n", encoding="utf-8")
    status, _, err = run(capsys, "runs/fls", "--data", str(tmp_path))
    assert status == 2
    assert "no recordings of breakout" in err
    assert "there are some of seaquest" in err


def test_one_picture_is_of_one_game(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for trial in (5, 6):
        write_trial(tmp_path, trial, range(1, 3))
    (tmp_path / "meta_data.csv").write_text(
        "TrialNumber,NumberOfFrames,Game\n5,2,seaquest\n6,2,alien\n", encoding="utf-8"
    )
    status, _, err = run(capsys, "--data", str(tmp_path), "--out", str(tmp_path / "gaze.png"))
    assert status == 2
    assert "--out draws one game, and there are 2" in err


def test_a_summary_does_not_say_its_game(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_summary(tmp_path, 'RZ_1_4,0,"[1, 2]","","",1,"[1, 0]",1,"[0, 1]"')
    status, _, err = run(capsys, "--data", str(tmp_path))
    assert status == 2
    assert "say --game NAME" in err
