"""The authors' evaluation against human gaze, on a recording with known scores; maps compared picture by picture."""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from foveal.cli import main
from foveal.errors import FovealError
from foveal.gaze.atari_head import HEIGHT, WIDTH, Trial, find_trials
from foveal.gaze.comparison import GazeOptions, compare_gaze
from foveal.gaze.pairing import difference, paired
from foveal.gaze.protocols import GAZE_PROTOCOLS, PAPER
from foveal.gaze.results import METRICS, Rows, read_rows
from foveal.gaze.screens import OFFSETS
from foveal.gaze.truth import Gaze, Picture
from foveal.saliency.metrics import fixation_density, is_constant

HEADER = "frame_id,episode_id,score,duration(ms),unclipped_reward,action,gaze_positions"
SIDE = 84
LENGTH = 48

# Gaze on frames 3 and 4, which are in the window of picture 16 alone, is to the left, and to the right from frame 17
# on; between there is none. So what picture 16 has no other picture of its recording has.
LEFT = {3: [(1.2, 100.6), (10.5, 20.5)], 4: [(11.5, 21.5), (159.7, 5.0), (-0.3, 40.0), (1.2, 100.6)]}
"""Rounded: (1, 101) twice, (10, 20), (12, 22), (0, 40), and one that falls over the right edge."""


def gaze_of(frame: int) -> list[tuple[float, float]]:
    right = [(150.4 + 0.1 * (i % 3), 60.0 + frame + i) for i in range(1 + frame % 3)]
    return LEFT.get(frame, []) if frame < 17 else right


def write_recording(folder: Path, number: int, header: str) -> Path:
    """In the format of Atari-HEAD: tails of any length and ``null``, PNGs in an archive, either header of metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    stem, prefix = f"{number}_RZ_77{number}_Aug-11-09-30", f"RZ_77{number}"
    lines = [HEADER]
    for frame in range(1, LENGTH + 1):
        tail = ",".join(f"{x},{y}" for x, y in gaze_of(frame)) or "null"
        lines.append(f"{prefix}_{frame},{0 if frame > 2 else 'null'},null,50,0,3,{tail}")
    (folder / f"{stem}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with tarfile.open(folder / f"{stem}.tar.bz2", "w:bz2") as archive:
        for frame in range(LENGTH, 0, -1):
            picture = np.full((HEIGHT, WIDTH, 3), 10 + frame, np.uint8)
            picture[50:60, frame : frame + 10] = 200
            content = io.BytesIO()
            Image.fromarray(picture).save(content, "png")
            entry = tarfile.TarInfo(f"{stem}/{prefix}_{frame}.png")
            entry.size = content.tell()
            content.seek(0)
            archive.addfile(entry, content)
    older = f"TrialNumber,NumberOfFrames,Game\n{number},{LENGTH},breakout\n"
    newer = (
        "GameName,trial_id,subject_id,load_trial,highest_score,total_frame,total_game_play_time,total_episode,"
        f"avg_error,max_error,low_sample_rate,frame_averaging,fps\nbreakout,{number},1,0,5,{LENGTH},2,1,0.3,0.9,FALSE,"
        "FALSE,20\n"
    )
    (folder / "meta_data.csv").write_text({"older": older, "newer": newer}[header], encoding="utf-8")
    return folder


def left(obs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """3 in the left half, 1 in the right one."""
    return np.broadcast_to(np.where(np.arange(SIDE) < SIDE // 2, 3.0, 1.0), (len(obs), SIDE, SIDE))


# --- written out plainly ----------------------------------------------------------------------------------------------


def plain_fixations() -> NDArray[np.float64]:
    """Of picture 16 by the authors' evaluation."""
    fixations = np.zeros((HEIGHT, WIDTH))
    for offset in OFFSETS:
        for x, y in gaze_of(16 - offset):
            column, row = round(x), round(y)  # Python's goes to the even number from half-way
            if 0 <= column < WIDTH and 0 <= row < HEIGHT:
                fixations[row, column] += 1
    return fixations


def plain_blur(fixations: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Gaussian of 5 pixels, 20 to either side, with borders as OpenCV's reflect-101; its sum is 1."""
    kernel = np.exp(-0.5 * (np.arange(-20, 21) / 5.0) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(fixations, 20, mode="reflect")
    rows = np.array([np.convolve(line, kernel, "valid") for line in padded])
    blurred = np.array([np.convolve(line, kernel, "valid") for line in rows.T]).T
    return blurred / blurred.sum()


def plain_scores() -> dict[str, float]:
    """Of the map ``left`` on picture 16. Every negative lies in the right half, and every positive in the left one."""
    tensor = torch.from_numpy(left(np.empty(1)).copy())[:, None]
    values = torch.nn.functional.interpolate(tensor, size=(HEIGHT, WIDTH), mode="bilinear")[0, 0].numpy()
    fixations = plain_fixations()
    truth, model = plain_blur(fixations), values / values.sum()
    looked = [z for z, n in zip(((values - values.mean()) / values.std()).flat, fixations.flat, strict=True) if n > 0]
    weights = [n for n in fixations.flat if n > 0]
    inside = truth > 1e-8 * truth.max()
    return {
        "nss": float(np.average(looked, weights=weights)),
        "kl": float(sum(t * math.log(t / m) for t, m in zip(truth[inside], model[inside], strict=True))),
        "sauc": 1.0,
        "cc": float(np.corrcoef(values.ravel(), truth.ravel())[0, 1]),
        "sim": float(np.minimum(truth, model).sum()),
    }


@pytest.mark.slow
@pytest.mark.parametrize("header", ["older", "newer"])
def test_a_recording_with_known_scores_through_the_whole_reader(tmp_path: Path, header: str) -> None:
    folder = write_recording(tmp_path, 8, header)
    trials = [files.read(rounded=True) for files in find_trials(folder, "breakout")]
    assert plain_fixations().sum() == 5 and plain_fixations()[101, 1] == 2 and plain_fixations()[22, 12] == 1

    result, _ = compare_gaze(trials, {"left": left}, GazeOptions(pictures=1, protocol="paper"))

    assert (result.protocol, result.subset, result.outside) == ("paper", 9, 1)
    for metric, expected in plain_scores().items():
        assert result.scores["left"][metric].mean == pytest.approx(expected, rel=1e-6), metric
    row = dict(zip(METRICS, result.rows.scores["left"][0], strict=True))
    assert row == pytest.approx(plain_scores(), rel=1e-6)
    assert (result.rows.recordings, result.rows.frames) == (("8_RZ_778_Aug-11-09-30",), (16,))


@pytest.mark.slow
def test_our_protocol_cuts_coordinates_off_and_draws_from_what_is_compared_on(tmp_path: Path) -> None:
    trials = [files.read() for files in find_trials(write_recording(tmp_path, 8, "newer"))]
    result, _ = compare_gaze(trials, {"left": left}, GazeOptions(pictures=1))
    assert result.protocol == "foveal" and result.outside == 1  # -0.3 lies outside, and 159.7 does not
    assert result.scores["left"]["sauc"].mean is None
    assert result.scores["left"]["nss"].mean != pytest.approx(plain_scores()["nss"], rel=1e-3)
    with pytest.raises(FovealError, match="protocol 'paper' wants gaze read with rounded=True: read"):
        compare_gaze(trials, {}, GazeOptions(protocol="paper"))
    with pytest.raises(FovealError, match=r"gaze\.protocol is 'papr'"):
        GazeOptions(protocol="papr")


@pytest.mark.slow
def test_constant_maps_are_dropped_by_the_authors_alone(tmp_path: Path) -> None:
    found = find_trials(write_recording(tmp_path, 8, "newer"))
    flat = {"flat": lambda obs: np.ones((len(obs), SIDE, SIDE))}
    scores = {}
    for name, protocol in GAZE_PROTOCOLS.items():
        trials = [files.read(rounded=protocol.rounded) for files in found]
        scores[name] = compare_gaze(trials, flat, GazeOptions(protocol=name))[0].scores["flat"]
    assert all(scores["paper"][metric].mean is None for metric in METRICS)
    assert scores["foveal"]["sauc"].mean == 0.5 and scores["foveal"]["sim"].mean is not None
    assert scores["foveal"]["nss"].mean is None
    assert is_constant(np.full((2, 2), 5.0)) and not is_constant(np.eye(2))


# --- negatives --------------------------------------------------------------------------------------------------------


def recording(row: int, frames: Sequence[int], blank: Sequence[int] = ()) -> Trial:
    """Every frame has one sample in a row of its own recording, at a column of its own."""
    gaze = {n: np.array([] if n in blank else [row * WIDTH + n % WIDTH], np.int32) for n in frames}
    return Trial(f"t{row}", "g", Path("nowhere"), {n: f"t_{n}" for n in frames}, gaze, {}, rounded=True)


def test_the_authors_negatives_are_of_the_same_recording() -> None:
    trials = [recording(10, range(1, 201)), recording(150, range(1, 201))]
    pictures = [Picture(trial, frame) for trial in (0, 1) for frame in range(16, 200, 16)]
    theirs, ours = Gaze(trials, pictures, 0, PAPER), Gaze(trials, pictures, 0)
    for picture in pictures:
        rows = np.flatnonzero(theirs.truth(picture).others.sum(1))
        assert rows.tolist() == [10 if picture.trial == 0 else 150]
    assert any(len(np.flatnonzero(ours.truth(picture).others.sum(1))) == 2 for picture in pictures)


def test_they_are_drawn_with_replacement_and_from_frames_without_gaze_too() -> None:
    trial = recording(10, range(1, 65))
    few = [Picture(0, frame) for frame in (16, 32, 48, 64)]  # which share no frame
    truth = Gaze([trial], few, 0, PAPER).truth(few[0])
    assert truth.others.sum() == 80 and truth.others.max() > 1  # ten of three
    assert not (truth.others * truth.fixations).any()  # the picture itself is none of the others
    assert Gaze([trial], few, 0).truth(few[0]).others.sum() == 24  # of ours, each of three once
    half = recording(10, range(1, 65), blank=range(33, 65))
    drawn = [Gaze([half], few[:2], seed, PAPER, few).truth(few[0]).others.sum() for seed in range(60)]
    assert set(drawn) <= {8.0 * n for n in range(11)}
    assert np.mean(drawn) == pytest.approx(80 / 3, abs=6)  # one of the three others has gaze
    alone = Gaze([trial], few[:1], 0, PAPER).truth(few[0])
    assert not alone.others.any()


def test_borders() -> None:
    corner = np.zeros((HEIGHT, WIDTH))
    corner[0, 1] = corner[100, 80] = 1
    np.testing.assert_allclose(fixation_density(corner, border="mirror"), plain_blur(corner), atol=1e-12)
    assert np.abs(fixation_density(corner) - plain_blur(corner)).max() > 1e-5
    with pytest.raises(FovealError, match="border must be one of reflect, mirror, not 'wrap'"):
        fixation_density(corner, border="wrap")


# --- picture by picture -----------------------------------------------------------------------------------------------


def blocks(*lengths: int) -> list[tuple[str, int]]:
    """A recording for each number of pictures, every picture a block of its own."""
    return [(f"r{recording}", number) for recording, length in enumerate(lengths) for number in range(length)]


def test_a_difference_that_never_varies_has_no_width() -> None:
    found = difference(np.full(30, 0.25), blocks(10, 20))
    assert (found.mean, found.low, found.high, found.pictures) == (0.25, 0.25, 0.25, 30)


def test_intervals_are_within_recordings() -> None:
    """What differs between recordings alone is no uncertainty of an interval over their pictures."""
    found = difference(np.repeat([1.0, -1.0], [10, 20]), blocks(10, 20))
    assert found.mean == found.low == found.high == pytest.approx(-1 / 3)


def test_an_interval_is_that_of_the_mean() -> None:
    random = np.random.default_rng(0)
    values = random.normal(0.3, 2.0, 400)
    found = difference(values, blocks(200, 200))
    assert found.mean == pytest.approx(values.mean())
    assert found.high is not None and found.low is not None
    error = np.sqrt((values[:200].var() + values[200:].var()) / 2 / 400)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)
    tenfold = [(name, number // 10) for name, number in blocks(4000)]
    together = difference(np.repeat(values, 10), tenfold)
    assert together.high - together.low == pytest.approx(found.high - found.low, rel=0.1)  # copies tell nothing new


def test_pictures_where_one_score_is_undefined_are_left_out_and_counted() -> None:
    rows = Rows(
        ("a", "a", "a"),
        (100, 200, 300),
        {"one": ((1.0, 2.0, 3.0, None, 5.0),) * 3, "other": ((0.5, None, 3.0, 4.0, 5.0),) * 2 + ((0.5,) + (1.0,) * 4,)},
    )
    found = paired(rows, "one", "other", 100)
    assert (found["nss"].mean, found["nss"].pictures, found["nss"].undefined) == (0.5, 3, 0)
    assert (found["kl"].mean, found["kl"].low, found["kl"].undefined) == (1.0, None, 2)
    assert (found["cc"].mean, str(found["cc"])) == (None, "-")
    assert str(found["kl"]) == "+1.000 [-] n=1"
    back = paired(rows, "other", "one", 100)
    assert back["nss"].mean == -0.5
    with pytest.raises(FovealError, match="no map 'on' was compared with gaze: did you mean 'one'"):
        paired(rows, "on", "one", 100)


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    status = main(["gaze", *map(str, arguments)])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


@pytest.mark.slow
def test_pairs_on_the_command_line_and_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = write_recording(tmp_path / "head", 8, "newer"), tmp_path / "gaze.json"
    pair = ["--paired", "centre", "average gaze"]
    status, out, _ = run(capsys, "--data", data, "--protocol", "paper", *pair, "--json", file)
    assert status == 0 and "protocol paper: rounded gaze" in out
    assert "breakout · centre minus average gaze, picture by picture" in out
    assert "over the pictures within these recordings" in out and "blocks of 100 frames" in out

    state = json.loads(file.read_text())
    game: Mapping[str, Any] = state["games"]["breakout"]
    assert game["protocol"] == "paper" and len(game["rows"]["frame"]) == game["pictures"] == 9
    kept = [value for value in game["rows"]["maps"]["centre"]["nss"] if value is not None]
    assert np.mean(kept) == pytest.approx(game["maps"]["centre"]["nss"]["mean"], rel=1e-6)
    assert '"frame": [ 16, 20, 24,' in file.read_text()  # a list is a line
    rows = read_rows(file)["breakout"]
    expected = paired(rows, "centre", "average gaze", 100)["nss"]

    status, again, _ = run(capsys, "--results", file, *pair)
    assert status == 0 and f"NSS   {expected}" in again and again.strip() in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say --data FOLDER"),
        (["--results", "FILE"], "--results goes with --paired ONE OTHER"),
        (["--results", "nowhere.json", "--paired", "a", "b"], "cannot read nowhere.json"),
        (["--results", "FILE", "--paired", "a", "b"], "no map 'a' was compared with gaze"),
        (["--results", "FILE", "--paired", "a", "b", "--game", "pong"], "no game pong in"),
        (["--results", "OTHER", "--paired", "a", "b"], "the field 'format' must be 'foveal.gaze/1'"),
        (
            ["--results", "FORMER", "--paired", "a", "b"],
            "has no scores of single pictures: run foveal gaze --json again",
        ),
        (["--data", "DATA", "--paired", "centre", "centr"], "--paired names a map 'centr' that will not be there"),
        (["--data", "DATA", "--protocol", "papr"], "gaze.protocol is 'papr'"),
    ],
)
def test_mistakes(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = {"recording": ["a"], "frame": [16], "maps": {"one": {metric: [1.0] for metric in METRICS}}}
    for name, content in (
        ("FILE", {"format": "foveal.gaze/1", "games": {"breakout": {"rows": rows}}}),
        ("FORMER", {"format": "foveal.gaze/1", "games": {"breakout": {}}}),
        ("OTHER", {"format": "foveal.results/1"}),
    ):
        Path(name).write_text(json.dumps(content))
    if "DATA" in arguments:
        write_recording(Path("DATA"), 8, "older")
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == "" and message in err and err.count("\n") == 1
