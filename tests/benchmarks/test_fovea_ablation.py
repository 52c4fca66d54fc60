"""benchmarks/fovea_ablation.py: its variants are commands that exist, and its table is over seeds."""

from __future__ import annotations

import json

import pytest
from fovea_ablation import CONDITIONS, VARIANTS, Run, command, rows, table

from foveal.cli import main


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_a_command_that_exists(variant, tmp_path, capsys):
    (tmp_path / "something").touch()  # a run's folder must be new: that is told once all settings are known
    assert main([*command(variant, 10, 25_000), "--out", str(tmp_path)]) != 0
    assert str(tmp_path) in capsys.readouterr().err


def test_all_of_a_seed_come_before_the_next():
    assert list(rows(Run(seeds=(1, 2), variants=("drq", "svea")))) == [(1, "drq"), (1, "svea"), (2, "drq"), (2, "svea")]


def test_what_is_kept_is_each_seeds_own_share(tmp_path, capsys):
    for seed, clean, hard in ((10, 400.0, 100.0), (11, 800.0, 600.0)):
        returns = {**{condition: [clean] for condition in CONDITIONS}, "video_hard": [hard]}
        found = {"row": {"seed": seed}, "seconds": 600, "results": {"drq": returns}}
        (tmp_path / f"drq-{seed}.json").write_text(json.dumps(found))
    table(tmp_path)
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.startswith("| drq | 10, 11 | 600 [")
    assert "| 0.50 [" in row  # the mean of 0.25 and 0.75, and not 350 / 600
    assert row.endswith("| 10 |")
