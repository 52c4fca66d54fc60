"""benchmarks/learners.py: its rows are commands that exist, a seed after the other."""

from __future__ import annotations

import pytest

from foveal.cli import main
from learners import TASKS, Run, rows


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_row_is_a_command_that_exists(name, tmp_path, capsys):
    if TASKS[name].env.startswith("atari/"):
        pytest.importorskip("ale_py", reason="needs the extra atari")
    (tmp_path / "something").touch()  # a run's folder must be new: that is told once all settings are known
    for row in rows(Run((name,), seeds=(0,))):
        command = ["train", row.task.env, "--learner", row.learner, "--method", row.method]
        assert main([*command, *row.task.flags(row.learner), "--out", str(tmp_path)]) != 0
        assert str(tmp_path) in capsys.readouterr().err


def test_all_of_a_seed_come_before_the_next():
    found = [(row.seed, row.learner, row.method) for row in rows(Run(("car",), seeds=(0, 1), methods=("none",)))]
    assert found == [(0, "dqn", "none"), (0, "qrdqn", "none"), (1, "dqn", "none"), (1, "qrdqn", "none")]
