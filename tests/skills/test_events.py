"""What happens in the middle of an episode: once, when it should, the same for every policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from small_skills import small_policy

pytest.importorskip("h5py", reason='needs the extra "skills"')

import foveal
from foveal.envs.ur5e import make_arm
from foveal.envs.ur5e.randomization import WORKSPACE
from foveal.errors import FovealError
from foveal.skills.arms import Arms, ArmSettings
from foveal.skills.conditions import CONDITIONS, EVENTS, USUAL
from foveal.skills.events import (
    APART,
    COVER_MILLIMETRES,
    EARLIEST,
    FAR_ENOUGH,
    LATEST,
    CubeKnocked,
    Dice,
    Event,
    Happening,
)
from foveal.skills.flat import FlatPolicy, flat_config
from foveal.skills.rollouts import ByState, InOrder, play, scripted
from foveal.skills.view import View

BLIND = View(size=0)


def under(name: str, task: str = "bowl", view: View = BLIND) -> ArmSettings:
    return CONDITIONS[name].of(ArmSettings(task, view))


def followed(settings: ArmSettings, seed: int, most: int = 600, plan: Any = None) -> tuple[Arms, list[Any], list[Any]]:
    """Experts by the rule, until the episode is over: the arms, and the truth before and after every step."""
    arms, plan = Arms(settings, 1, 1), plan or ByState()
    arms.reset(0, seed)
    before, after = [], []
    while not arms.ended[0] and len(before) < most:
        skill = plan.choose(arms, np.array([0]), len(before) // 60, [seed])
        for _ in range(60):
            before.append(arms.envs[0].truth())
            arms.run(None, skill, 1)
            after.append(arms.envs[0].truth())
            if arms.ended[0]:
                break
    return arms, before, after


def jumps(before: list[Any], after: list[Any], of: Any) -> list[int]:
    """Steps in which something moved faster than the arm could carry it."""
    return [step for step, (one, two) in enumerate(zip(before, after, strict=True)) if _far(of(one), of(two))]


def _far(one: Any, two: Any) -> bool:
    return bool(np.hypot(*(two - one)[:2]) > 0.05)


@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.slow
def test_the_cube_is_moved_once_when_it_was_approached(seed: int) -> None:
    arms, before, after = followed(under("cube_moved"), seed)
    (step,) = jumps(before, after, lambda truth: truth.centres[0])
    assert arms.happenings[0].step == step and arms.success[0]
    then, now = before[step], after[step]
    assert np.hypot(*(then.centres[0] - then.tool)[:2]) < 0.045 and then.tool[2] < 0.16 and not then.held.any()
    assert np.hypot(*(now.centres[0] - then.centres[0])[:2]) > FAR_ENOUGH
    assert np.hypot(*(now.centres[0] - now.bowl)[:2]) > APART and now.lower(0) < 0.01
    arms.close()


@pytest.mark.slow
def test_the_cube_is_knocked_out_of_the_gripper_that_carries_it() -> None:
    arms, before, after = followed(under("cube_knocked"), 11)
    (step,) = jumps(before, after, lambda truth: truth.centres[0])
    assert arms.happenings[0].step == step and before[step].held[0] and before[step].lower(0) > 0.04
    assert not after[step].held[0] and not after[step + 20].held[0] and after[step + 20].centres[0, 2] < 0.05
    low, high = np.array(WORKSPACE)[:2].T
    assert (low < after[step + 20].centres[0, :2]).all() and (after[step + 20].centres[0, :2] < high).all()
    assert arms.success[0]  # it can be picked up again
    arms.close()


@pytest.mark.parametrize("task", ["bowl", "tower"])
@pytest.mark.slow
def test_the_goal_is_moved_when_the_cube_is_about_to_arrive(task: str) -> None:
    def goal(truth: Any) -> Any:
        return truth.centres[0] if truth.bowl is None else truth.bowl

    arms, before, after = followed(under("goal_moved", task), 11)
    (step,) = jumps(before, after, goal)
    assert arms.happenings[0].step == step and before[step].held.any() and arms.success[0]
    assert np.hypot(*(goal(before[step]) - before[step].tool)[:2]) < 0.12
    arms.close()


@pytest.mark.slow
def test_the_camera_is_covered_for_a_second() -> None:
    settings = under("camera_covered", "pick", View(12, 16))
    arms = Arms(settings, 1, 1)
    arms.reset(0, 3)
    step, covered = Dice.of(arms.envs[0], 3).step, []
    for _ in range(step + 20):
        arms.step(0, np.zeros(4, np.float32))
        covered.append(bool((arms.frames(0)[-1] == COVER_MILLIMETRES).all()))
    assert np.flatnonzero(covered).tolist() == list(range(step, step + 10))  # frames after so many steps, from 1
    assert EARLIEST <= step <= LATEST
    arms.close()


@pytest.mark.slow
def test_a_can_is_added_beside_everything() -> None:
    arms = Arms(under("object_added"), 1, 1)
    arms.reset(0, 4)
    env = arms.envs[0]
    can: Any = env.simulation.physics.data.body("can")
    heights = []
    for _ in range(LATEST + 5):
        arms.step(0, np.zeros(4, np.float32))
        heights.append(float(can.xpos[2]))
    step = Dice.of(env, 4).step
    assert np.flatnonzero(np.array(heights) > 0.0)[0] == step and heights[-1] == pytest.approx(0.055, abs=0.002)
    truth = env.truth()
    for place in (truth.centres[0], truth.bowl):
        assert np.hypot(*(can.xpos - place)[:2]) > APART
    arms.close()


@pytest.mark.slow
def test_without_an_event_nothing_happens() -> None:
    arms = Arms(ArmSettings("pick", BLIND), 1, 1)
    arms.reset(0, 3)
    for _ in range(LATEST + 20):
        arms.step(0, np.zeros(4, np.float32))
    assert arms.happenings[0].step is None and arms.get_state(0)["happened"] == -1
    arms.close()


# --- alike for all ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.slow
def test_every_policy_meets_the_same_event_in_the_same_scene(name: str) -> None:
    """Experts by the rule and by the script come to it alike; and again, and side by side, as alone."""
    settings = under(name)
    by_rule = play(settings, ByState(), None, [21, 22])
    again = play(settings, ByState(), None, [22])
    by_script = play(settings, scripted("bowl", 4), None, [21, 22])
    assert again[0] == by_rule[1]
    assert [one.happened for one in by_rule] == [one.happened for one in by_script]
    assert all(one.happened is not None for one in by_rule)


def test_dice_depend_on_the_seed_alone() -> None:
    env, other = make_arm("bowl", depth=False), make_arm("bowl", depth=False)
    env.reset(seed=1), other.reset(seed=2)
    other.step(np.zeros(4))
    one, two, three = Dice.of(env, 5), Dice.of(other, 5), Dice.of(env, 6)
    assert one.step == two.step and np.array_equal(one.places, two.places)
    assert one.step != three.step and not np.array_equal(one.places, three.places)
    env.close(), other.close()


@pytest.mark.slow
def test_events_of_their_own_time_happen_to_whatever_acts() -> None:
    """Cloned skills that nobody trained, PPO's policy of every step, and experts: the same step for all."""
    policy = small_policy()
    flat = FlatPolicy("pick", View(36, 36), flat_config(64))
    settings = under("camera_covered", "pick", View(32, 32))
    played = [
        play(settings, scripted("pick", 3), policy, [8, 9]),
        play(under("camera_covered", "pick", View(36, 36)), InOrder((0,)), flat, [8, 9]),
        play(settings, ByState(), None, [8, 9]),
    ]
    happened = [[one.happened for one in outcomes] for outcomes in played]
    steps = [Dice.of(make_arm("pick", depth=False), seed).step for seed in (8, 9)]
    assert happened == [steps] * 3
    results = foveal.evaluate(policy, ["camera_covered"], 2, seed=8, progress=False)
    assert [episode.success for episode in results["camera_covered"].episodes] == [one.success for one in played[0]]


class Rung(Event):
    """Happens whenever it may."""

    what = "the bell was rung"

    def __init__(self) -> None:
        self.rung = 0

    def due(self, env: Any, truth: Any, step: int, dice: Dice) -> bool:
        return step >= 2

    def happen(self, env: Any, truth: Any, dice: Dice) -> None:
        self.rung += 1


def test_it_happens_once_and_a_restored_episode_remembers() -> None:
    env, event = make_arm("pick", depth=False), Rung()
    env.reset(seed=0)
    happening = Happening(event, env, 0)
    for step in range(6):
        happening.before(step)
    assert (event.rung, happening.step) == (1, 2)
    again = Happening(event, env, 0)
    again.set_state(happening.get_state())
    again.before(9)
    assert (event.rung, again.step) == (1, 2)
    again.set_state(-1)
    again.before(9)
    assert (event.rung, again.step) == (2, 9)
    env.close()


def test_conditions_have_names_and_tasks_in_which_they_make_sense() -> None:
    assert set(USUAL) | set(EVENTS) | {"structured_light"} == set(CONDITIONS)
    with pytest.raises(FovealError, match="leave it out"):
        under("goal_moved", "pick")
    knocked = CONDITIONS["cube_knocked"].of(ArmSettings("pick", BLIND))
    assert knocked.event == CubeKnocked() and knocked.randomization == "training" and knocked.noise is None
