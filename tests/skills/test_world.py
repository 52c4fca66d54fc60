"""The arm as a world: evaluations are the episodes that the plan plays, and say how often the task was solved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from small_skills import small_policy

pytest.importorskip("h5py", reason='needs the extra "skills"')

import foveal
from foveal.cli import main
from foveal.envs.ur5e.experts import SKILL_STEPS
from foveal.errors import FovealError
from foveal.evaluation.results import Results
from foveal.evaluation.rollouts import run
from foveal.evaluation.statistics import SuccessRate
from foveal.evaluation.world import WorldOptions
from foveal.skills import seeds
from foveal.skills.arms import Arms, ArmSettings
from foveal.skills.conditions import CONDITIONS
from foveal.skills.config import master_config
from foveal.skills.flat import FlatPolicy, flat_config
from foveal.skills.master import Master
from foveal.skills.rollouts import InOrder, Outcome, play, scripted
from foveal.skills.view import View


def oracle() -> Master:
    """Chooses among experts, so that some episodes succeed."""
    return Master("pick", None, master_config("debug", {"skill_steps": SKILL_STEPS}), seed=3)


def outcomes(results: Results, condition: str) -> list[tuple[int, bool | None, int]]:
    return [(episode.seed, episode.success, episode.length) for episode in results[condition].episodes]


def expected(found: list[Outcome]) -> list[tuple[int, bool | None, int]]:
    return [(outcome.seed, outcome.success, outcome.steps) for outcome in found]


@pytest.mark.slow
def test_a_success_rate_is_of_the_episodes_that_the_plan_plays() -> None:
    master = oracle()
    results = foveal.evaluate(master, "far_starts", 7, progress=False)
    arms = ArmSettings("pick", View(size=0), "far_starts")
    chosen = range(seeds.EVALUATION, seeds.EVALUATION + 7)
    assert outcomes(results, "far_starts") == expected(play(arms, master, None, chosen))
    solved = [bool(success) for _, success, _ in outcomes(results, "far_starts")]
    assert 0 < sum(solved) < 7
    assert results["far_starts"].success == SuccessRate.of(solved)
    assert results["far_starts"].returns.tolist() == [10.0 * success for success in solved]
    assert results.environment == {"id": "ur5e/pick", "image_size": 0, "camera": 0}
    assert results.policy == {"name": "a master that chooses among scripted experts", "task": "pick", "seed": 3}
    assert results.seed == seeds.EVALUATION


@pytest.mark.slow
def test_success_is_in_the_table_and_in_the_file(tmp_path: Path) -> None:
    results = foveal.evaluate(oracle(), episodes=7, progress=False)
    rate = results["train"].success
    assert rate is not None
    assert f"{100 * rate.rate:.0f} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]" in results.table()
    path = results.save(tmp_path / "x.json")
    assert Results.load(path) == results
    told = json.loads(path.read_text(encoding="utf-8"))["perturbations"]["train"]
    assert told["success"]["successes"] == rate.successes and told["episodes"][0]["success"] in (True, False)
    for episode in told["episodes"]:
        del episode["success"]  # as older files are
    old = Results.from_dict({**results.as_dict(), "perturbations": {"train": told}})
    assert old["train"].success is None and "solved" not in old.table()


@pytest.mark.slow
def test_chance_acts_by_the_episode_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever episodes are played beside it, and under every condition; it sees nothing."""
    said: list[tuple[int, tuple[float, ...]]] = []
    step = Arms.step

    def noting(self: Arms, index: int, action: Any) -> float:
        assert self.settings.view.size == 0 and action.shape == (4,) and abs(action).max() <= 1.0
        said.append((len(self), tuple(action)))
        return step(self, index, action)

    monkeypatch.setattr(Arms, "step", noting)
    world = small_policy().world(WorldOptions(("train", "cube_moved"), seed=5))
    results = run(world.by_chance(), 2, progress=False)
    assert results.policy == {"name": "random"} and results.perturbations == ["train", "cube_moved"]
    assert outcomes(results, "train") == [(5, False, 200), (6, False, 200)]
    first = [action for _, action in said[: 2 * 200]]
    assert first[::2] != first[1::2] and len(set(first)) == 2 * 200
    assert said[2 * 200 :] == said[: 2 * 200]  # the same draws under the other condition
    said.clear()
    run(small_policy().world(WorldOptions("train", seed=6)).by_chance(), 1, progress=False)
    assert [action for _, action in said] == first[1::2]


@pytest.mark.slow
def test_every_policy_of_the_arm_is_evaluated() -> None:
    policy, flat = small_policy(), FlatPolicy("pick", View(48, 48), flat_config(64))
    master = Master("pick", policy, master_config("debug", {"skill_steps": 40}))
    chosen = range(5, 5 + 4)
    noisy = CONDITIONS["noisy_depth"].of(policy.arm_settings)
    played: list[tuple[Any, list[Outcome]]] = [
        (policy, play(noisy, scripted("pick", 3), policy, chosen)),
        (master, play(noisy, master, policy, chosen, skill_steps=40)),
        (flat, play(CONDITIONS["noisy_depth"].of(ArmSettings("pick", flat.view)), InOrder((0,)), flat, chosen)),
    ]
    for agent, found in played:
        for workers in (1, 2):
            results = foveal.evaluate(agent, "noisy_depth", 4, seed=5, workers=workers, progress=False)
            assert outcomes(results, "noisy_depth") == expected(found)


@pytest.mark.slow
def test_the_command_evaluates_a_policy_of_the_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = oracle().save(tmp_path / "master"), tmp_path / "x.json"
    assert main(["evaluate", str(folder), "--episodes", "2", "--workers", "1", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "ur5e/pick · a master that chooses among scripted experts" in shown and "solved, 95 % interval" in shown
    assert Results.load(out).perturbations == ["train", "far_starts", "moved_camera", "noisy_depth"]
    assert main(["evaluate", str(folder), "--random", "--on", "train", "--episodes", "1", "--workers", "1"]) == 0
    assert "0 %" in capsys.readouterr().out.split("random")[-1]


@pytest.mark.slow
def test_what_demonstrations_call_training_is_train() -> None:
    results = foveal.evaluate(oracle(), ["training"], 1, progress=False)
    assert results.perturbations == ["train"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--on color_hard", "unknown condition 'color_hard'"),
        ("--on train training", "'train' is named twice"),
        ("--episodes 0", "episodes must be at least 1"),
        ("--seed -1", "seed must not be negative"),
        ("--data x", "data means nothing for a simulated arm"),
        ("--adapt", "adapt means nothing for a simulated arm"),
        ("--on goal_moved", "ur5e/pick has no place to put something, so goal_moved can't happen in it"),
        ("--workers -1", "workers is -1; it takes at least 1"),
    ],
)
def test_mistakes_cost_one_line(
    options: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foveal.skills.world.play", lambda *_, **__: pytest.fail("an episode began"))
    oracle().save(tmp_path / "master")
    assert main(["evaluate", str(tmp_path / "master"), *options.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1


def test_skills_of_no_task_cannot_be_tried() -> None:
    policy = small_policy()
    object.__setattr__(policy.skill_set, "task", "")
    with pytest.raises(FovealError, match="do not say of which task they are"):
        foveal.evaluate(policy, episodes=1, progress=False)
