"""Whether skills end what they begin: every skill's own goal, in its own turn, within its own 60 steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_skills import small_policy

pytest.importorskip("h5py", reason='needs the extra "skills"')

from foveal.cli import main
from foveal.envs.ur5e import TASKS
from foveal.envs.ur5e.experts import SKILL_STEPS, SKILLS, script, skills
from foveal.errors import FovealError
from foveal.evaluation.statistics import SuccessRate
from foveal.skills import seeds
from foveal.skills.arms import ArmSettings
from foveal.skills.judging import judged
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.turns import Turn, achieved, turns
from foveal.skills.view import View


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.slow
def test_experts_end_what_they_begin(task: str) -> None:
    """In at least nine of ten scenes: Wilson's interval of 10 of 10 begins at 72 %, so all must."""
    report = judged(f"ur5e/{task}", episodes=10 if task != "breakfast" else 2)
    assert [skill.name for skill in report.skills] == [SKILLS[task][n].name for n in sorted(set(script(task)))]
    for skill in report.skills:
        assert skill.rate.rate >= 0.9 and skill.steps < 40.0, str(skill)
    assert all(seeds.TURNS <= turn.seed < seeds.EVALUATION for turn in report.turns)


class Idle:
    """Stands still and keeps the gripper as the expert of some skills would; it looks at nothing."""

    stack = 1

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def act(self, frames: Any, skill: Any) -> np.ndarray[Any, Any]:
        self.asked.append(tuple(skill.tolist()))
        return np.tile(np.array([0.0, 0.0, 0.0, 1.0], np.float32), (len(skill), 1))


@pytest.mark.slow
def test_each_skill_begins_where_the_script_begins_it_whatever_the_ones_before_did() -> None:
    """Who stands still and closes achieves nothing; the experts bring the next skill to its turn all the same."""
    actor = Idle()
    found = turns(ArmSettings("pick", View(8, 8)), actor, range(5, 8))
    assert [(turn.place, turn.skill, turn.steps) for turn in found if turn.seed == 5] == [
        (0, 2, None),
        (1, 0, None),
        (2, 1, None),
    ]
    assert len(found) == 9 and actor.asked.count((2, 2, 2)) == SKILL_STEPS
    (held,) = {turn.steps for turn in turns(ArmSettings("pick", View(size=0)), None, [5]) if turn.skill == 1}
    assert held is not None and held < 15  # the turn of "up" began with the cube in the gripper


def test_rates_are_of_all_turns_of_a_skill() -> None:
    found = [Turn(1, 0, 3, 10), Turn(1, 1, 0, 20), Turn(1, 2, 3, 30), Turn(2, 0, 3, None)]
    grasp, go = achieved("breakfast", found)
    assert (grasp.name, go.name) == (skills("breakfast")[0].name, skills("breakfast")[3].name)
    assert go.rate == SuccessRate.of([True, True, False]) and go.steps == 20.0
    assert "2 of 3" in str(go) and "after 20 steps" in str(go)
    (never,) = achieved("pick", [Turn(1, 0, 2, None)])
    assert never.rate.successes == 0 and np.isnan(never.steps) and "after" not in str(never)


@pytest.mark.slow
def test_the_command_judges_cloned_skills_and_experts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = small_policy().save(tmp_path / "skills"), tmp_path / "turns.json"
    assert main(["skills", "evaluate", str(folder), "--episodes", "2", "--workers", "1", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "ur5e/pick · cloned skills · training" in shown and shown.count(" of 2, ") == 3
    told = json.loads(out.read_text())
    assert len(told["turns"]) == 6 and told["skills"][0]["rate"]["episodes"] == 2
    assert main(["skills", "evaluate", "ur5e/pick", "--episodes", "1", "--workers", "1"]) == 0
    assert "scripted experts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("ur5e/bwol", "did you mean 'ur5e/bowl'"),
        ("nowhere", "nowhere"),
        ("ur5e/bowl --on cube_moved", "unknown condition of single skills 'cube_moved'"),
        ("ur5e/bowl --episodes 0", "episodes is 0"),
    ],
)
def test_mistakes_cost_one_line(options: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["skills", "evaluate", *options.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1


def test_a_single_skill_has_no_parts() -> None:
    whole = SkillPolicy(SkillSet("pick", ("the whole task",), View(32, 32)), small_policy().config)
    with pytest.raises(FovealError, match="no goals of its parts"):
        judged(whole)
