"""What skills are for, which is next by the true state, a potential of states; and changing a scene that runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foveal.envs.ur5e import TASKS, make_arm
from foveal.envs.ur5e.env import ArmEnv
from foveal.envs.ur5e.experts import SKILL_STEPS, SKILLS, script, skills
from foveal.envs.ur5e.goals import HOVER
from foveal.envs.ur5e.planner import next_skill
from foveal.envs.ur5e.shaping import HIGHEST, SHAPED, potential
from foveal.envs.ur5e.tasks import Truth
from foveal.errors import FovealError


def blind(task: str, **options: Any) -> ArmEnv:
    return make_arm(task, depth=False, **options)


def scene(**changes: Any) -> Truth:
    """A cube of 5 cm and a bowl, the open tool above neither."""
    truth = Truth(
        tool=np.array([0.45, 0.0, HOVER]),
        closing=False,
        opening=1.0,
        centres=np.array([[0.5, -0.1, 0.025]]),
        half=np.full((1, 3), 0.025),
        held=np.array([False]),
        touched=np.array([False]),
        bowl=np.array([0.5, 0.15, 0.0]),
    )
    return replace(truth, **changes)


def carried(x: float = 0.45, y: float = 0.0, z: float = HOVER, **changes: Any) -> Truth:
    """The cube between the closed fingers, the tool there."""
    at = np.array([x, y, z])
    settings: dict[str, Any] = {"closing": True, "opening": 0.36, "held": np.array([True]), "touched": np.array([True])}
    return scene(tool=at, centres=at[None], **{**settings, **changes})


# --- goals ------------------------------------------------------------------------------------------------------------


def test_goals_of_the_bowls_skills_by_hand() -> None:
    grasp, up, release, go = (skill.goal for skill in skills("bowl"))
    above = scene(tool=np.array([0.5, -0.08, HOVER]))
    assert go(scene(), above) and not go(scene(), scene())
    assert not go(scene(), replace(above, opening=0.5)) and not go(
        scene(), replace(above, tool=above.tool - [0, 0, 0.1])
    )
    assert grasp(above, carried(z=0.03)) and not grasp(above, replace(carried(z=0.03), closing=False))
    assert up(carried(z=0.03), carried()) and not up(carried(z=0.03), carried(z=0.15))
    assert not up(carried(z=0.03), scene())  # what it held is gone
    inside = scene(centres=np.array([[0.51, 0.15, 0.035]]))
    assert release(carried(), inside) and not release(carried(), replace(inside, closing=True))
    assert not release(carried(), replace(inside, touched=np.array([True])))
    assert not release(carried(), scene()) and not release(scene(), inside)  # nothing was held that it could put


def test_pick_ends_where_it_is_lifted() -> None:
    up = skills("pick")[1].goal
    assert up(carried(z=0.03), carried(z=0.13)) and not up(carried(z=0.03), carried(z=0.12))


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.slow
def test_experts_achieve_every_goal_in_their_own_turn(task: str) -> None:
    env = blind(task)
    env.reset(seed=3)
    for number in script(task):
        skill, began, reached = skills(task)[number], env.truth(), False
        for _ in range(SKILL_STEPS):
            env.step(skill.expert(env.truth()).action)
            reached = reached or skill.goal(began, env.truth())
        assert reached, skill.name
    env.close()


@pytest.mark.slow
def test_five_steps_before_the_gripper_moves_the_tool_is_nearly_there() -> None:
    """So that labels which come 5 steps early come where the fingers still get around the cube, or let it drop in."""
    env = blind("bowl")
    env.reset(seed=1)
    for number, closing, most in ((3, None, 0.0), (0, 1.0, 0.016), (1, None, 0.0), (2, -1.0, 0.04)):
        heights, gripper = [], []
        for _ in range(SKILL_STEPS):
            advice = SKILLS["bowl"][number].expert(env.truth())
            heights.append(env.truth().tool[2])
            gripper.append(advice.action[3])
            env.step(advice.action)
        if closing is not None:
            at = int(np.flatnonzero(np.array(gripper) == closing)[0])
            assert 0.005 < heights[at - 5] - heights[at] < most
    env.close()


# --- planner and potential --------------------------------------------------------------------------------------------


def test_the_rule_says_what_is_needed() -> None:
    assert next_skill("bowl", scene()) == 3
    assert next_skill("bowl", scene(tool=np.array([0.5, -0.1, HOVER]))) == 0
    assert next_skill("bowl", carried(z=0.03)) == 1 and next_skill("bowl", carried()) == 2
    assert next_skill("bowl", scene(tool=np.array([0.5, -0.1, 0.03]), opening=0.0, closing=True)) == 3  # a failed grasp
    assert next_skill("pick", carried()) == 1
    small = scene(centres=np.array([[0.5, -0.1, 0.03], [0.4, 0.1, 0.02]]), half=np.full((2, 3), 0.03), bowl=None)
    both = replace(small, held=np.array([False, False]), touched=np.array([False, False]))
    assert next_skill("tower", both) == 3
    assert next_skill("tower", replace(both, held=np.array([True, False]))) == 3  # the wrong one: let go
    assert next_skill("tower", replace(both, held=np.array([False, True]))) == 2
    with pytest.raises(FovealError, match="unknown task"):
        next_skill("pour", scene())


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.slow
def test_the_rule_solves_every_task(task: str) -> None:
    env = blind(task)
    env.reset(seed=7)
    success = truncated = False
    while not (success or truncated):
        number = next_skill(task, env.truth())
        for _ in range(SKILL_STEPS):
            *_, success, truncated, _ = env.step(skills(task)[number].expert(env.truth()).action)
            if success or truncated:
                break
    assert success
    env.close()


def test_the_potential_grows_along_the_task() -> None:
    steps = [
        scene(),
        scene(tool=np.array([0.5, -0.1, 0.1])),
        scene(tool=np.array([0.5, -0.1, 0.03])),
        carried(0.5, -0.1, 0.03),
        carried(0.5, -0.1, HOVER),
        carried(0.5, 0.05, HOVER),
        carried(0.5, 0.145, HOVER),
        carried(0.5, 0.15, 0.09),
    ]
    values = [potential("bowl", truth) for truth in steps]
    assert values == sorted(values) and len(set(values)) == len(values)
    assert 0.0 < values[0] < 1.0 and 2.0 < values[3] < 4.0 and 4.0 < values[-1] < HIGHEST
    assert potential("pick", carried(z=0.3)) == HIGHEST
    with pytest.raises(FovealError, match=f"these have: {', '.join(SHAPED)}"):
        potential("breakfast", scene())


# --- scenes that change -----------------------------------------------------------------------------------------------


def test_things_are_put_elsewhere() -> None:
    env = blind("bowl")
    env.reset(seed=0)
    half = env.truth().half[0, 2]
    env.simulation.put("cube", np.array([0.4, 0.1, half]), 0.2)
    env.simulation.put("bowl", np.array([0.55, -0.1, 0.0]))
    for _ in range(5):
        env.step(np.array([0.0, 0.0, 0.0, -1.0]))
    truth = env.truth()
    np.testing.assert_allclose(truth.centres[0], [0.4, 0.1, half], atol=0.002)
    np.testing.assert_allclose(truth.bowl, [0.55, -0.1, 0.0], atol=0.002)
    env.close()


@pytest.mark.slow
def test_a_can_waits_out_of_sight_and_changes_nothing_until_it_is_added() -> None:
    frames, truths = [], []
    for can in (False, True):
        env = make_arm("bowl", size=48, can=can)
        env.reset(seed=0)
        for _ in range(6):
            observation, *_ = env.step(np.array([0.3, 0.2, -0.2, 1.0]))
        frames.append(observation["depth"])
        truths.append(env.truth())
        if can:
            assert not env.part_masks()["can"].any()
            env.simulation.add_can(np.array([0.5, 0.2]))
            state = env.get_state()
            for _ in range(3):
                env.step(np.zeros(4))
            seen = env.part_masks()["can"]
            assert seen.any() and env.agent_mask()[seen].all()
            place = env.simulation.physics.data.body("can").xpos.copy()
            np.testing.assert_allclose(place, [0.5, 0.2, 0.055], atol=0.002)
            env.reset(seed=1)
            assert not env.part_masks()["can"].any()
            env.set_state(state)  # with its weight
            for _ in range(3):
                env.step(np.zeros(4))
            np.testing.assert_array_equal(env.simulation.physics.data.body("can").xpos, place)
        else:
            with pytest.raises(FovealError, match="can=True"):
                env.simulation.add_can(np.array([0.5, 0.2]))
        env.close()
    np.testing.assert_allclose(truths[0].centres, truths[1].centres, atol=1e-9)
    assert (frames[0] != frames[1]).mean() < 0.01
