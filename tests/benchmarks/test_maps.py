"""benchmarks/maps.py: what a map must be to have which number, and the cells of a ledger, once each."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import maps
import numpy as np
import pytest
from maps import Measure, Moment, measure, moments, table

import foveal
from foveal.bench.cells import DONE, Cell, cell_folder, write_cell


def test_numbers_of_a_map_by_hand() -> None:
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0, :2] = masks[1, 3, :2] = True
    found = np.zeros((6, 4, 4), np.float32)
    found[0, 0, :2] = found[4, 3, :2] = (-2.0, 3.0)  # signs don't matter, nor in which colour it is
    moment = Moment(np.zeros((6, 4, 4), np.uint8), masks)
    precision, chance, ratio, score, variance = maps._of(found, moment, 1 - 2 / 16)
    assert (precision, chance, ratio, variance) == (1.0, 0.125, 8.0, 0.0)
    assert score == pytest.approx(1.0)
    elsewhere = maps._of(np.roll(found, 1, 2)[:, ::-1], moment, 1 - 2 / 16)
    assert elsewhere[0] == 0.0
    newest_alone = found.copy()
    newest_alone[:3] = np.random.default_rng(0).random((3, 4, 4))
    newest_alone[:3, 0] = 0.0
    assert maps._of(newest_alone, moment, 1 - 2 / 16)[4] > 1000.0  # one frame has all, the other nothing


@pytest.mark.slow
def test_a_mask_belongs_to_each_frame_that_the_agent_sees() -> None:
    agent: Any = foveal.load("pretrained:walker-stand-sgqn")
    seen = list(moments(agent, "train", Measure(Path("ledger"), moments=4, every=1)))
    assert [moment.masks.shape for moment in seen] == [(3, 40, 40)] * 4
    for moment in seen:
        frames = moment.view.reshape(3, 3, 40, 40).astype(float)
        for frame, mask in zip(frames, moment.masks, strict=True):
            orange = frame[0] - frame[2]  # the walker is; floor and sky are blue
            assert 0.01 < mask.mean() < 0.5 and orange[mask].mean() > orange[~mask].mean() + 40
    for before, after in itertools.pairwise(seen):
        np.testing.assert_array_equal(before.view[3:], after.view[:-3])
        np.testing.assert_array_equal(before.masks[1:], after.masks[:-1])
    found = maps.numbers(agent, seen, 0.95)
    assert found["precision"] > 2 * found["chance"] and 0.0 < found["tid"] < 1.0


@pytest.mark.slow
def test_every_cell_is_measured_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent: Any = foveal.load("pretrained:walker-stand-sgqn")
    for seed in (3, 4):
        folder = cell_folder(tmp_path / "ledger", "small", "dmc/walker-stand", "sac", "sgqn", seed)
        agent.save(folder / "run")
        write_cell(folder, Cell("small", "dmc/walker-stand", "sac", "sgqn", seed, state=DONE))
    options = Measure(tmp_path / "ledger" / "small", tmp_path / "out", conditions=("train",), moments=2, every=1)
    measure(options)
    measure(replace(options, moments=3))  # nothing is left to do
    files = sorted((tmp_path / "out").glob("*.json"))
    assert [path.stem for path in files] == [f"dmc_walker-stand-sac-sgqn-{seed}" for seed in (3, 4)]
    one = json.loads(files[0].read_text())
    assert one["settings"]["moments"] == 2 and set(one["conditions"]["train"]) == set(maps.NUMBERS)
    capsys.readouterr()
    table(tmp_path / "out")
    assert "| dmc/walker-stand | train | sac, sgqn | 2 |" in capsys.readouterr().out
