"""Motions that mink lets pass: what was asked for where nothing is near, and never a collision."""

from __future__ import annotations

import sys
from functools import cache

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.envs.ur5e import kinematics
from foveal.envs.ur5e.avoidance import DISTANCE, Avoidance
from foveal.envs.ur5e.model import TOOL_REACH
from foveal.envs.ur5e.simulation import DOWN
from foveal.errors import FovealError

HOME = np.radians([-15.5, -88.0, 109.0, -111.0, -90.0, 74.5])
STEP = 0.1  # seconds
BASE = np.diag([-1.0, -1.0, 1.0])  # the task's axes in the base's frame


@cache
def made() -> Avoidance:
    return Avoidance()


def distance(avoidance: Avoidance, joints: np.ndarray) -> float:
    """Metres between the two shapes of those watched that are nearest to each other."""
    avoidance.joint_speeds(joints, np.zeros(6))  # brings the model there
    configuration, pairs = avoidance._configuration, avoidance._limits[-1].geom_id_pairs
    between = (mujoco.mj_geomDistance(configuration.model, configuration.data, *pair, 1.0, None) for pair in pairs)
    return min(between)


@pytest.fixture
def avoidance() -> Avoidance:
    return made()


@pytest.mark.slow
@given(st.lists(st.floats(-0.1, 0.1), min_size=6, max_size=6))
@settings(max_examples=30)
def test_where_nothing_is_near_a_motion_passes_as_it_is(numbers: list[float]) -> None:
    """By the closed-form Jacobian of ``kinematics``, which mink does not know."""
    avoid, twist = made(), np.array(numbers)

    speeds = avoid.joint_speeds(HOME, twist)

    assert kinematics.jacobian(HOME, TOOL_REACH) @ speeds == pytest.approx(twist, abs=2e-3)
    assert avoid(HOME, twist) == pytest.approx(twist, abs=2e-3)


@pytest.mark.slow
def test_in_the_workspace_nothing_is_ever_near(avoidance: Avoidance) -> None:
    """So what was trained moves there as it does without."""
    random = np.random.default_rng(0)
    for x in np.linspace(0.30, 0.60, 4):
        for y in np.linspace(-0.34, 0.34, 5):
            for z in (0.016, 0.2, 0.42):
                joints = kinematics.solve(BASE @ [x, y, z], BASE @ DOWN, TOOL_REACH, HOME)
                velocity = random.normal(size=3)
                twist = np.concatenate([0.2 * velocity / np.linalg.norm(velocity), np.zeros(3)])
                assert avoidance(joints, twist) == pytest.approx(twist, abs=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "velocity",
    [(0.2, 0.0, 0.0), (0.2, 0.1, 0.1), (0.0, 0.0, 0.2), (0.1, -0.2, 0.0), (0.2, 0.0, -0.1)],
    ids=["to the base", "to its side", "up", "around", "to its foot"],
)
def test_the_arm_stops_short_of_itself_and_of_the_table(
    avoidance: Avoidance, velocity: tuple[float, float, float]
) -> None:
    """The same motion on and on, in the base's frame: without help it would fold the hand into the arm."""
    joints, limits = HOME.copy(), np.array([link.limit for link in kinematics.LINKS])
    for _ in range(60):
        speeds = avoidance.joint_speeds(joints, np.array([*velocity, 0.0, 0.0, 0.0]))
        assert np.abs(speeds).max() <= kinematics.JOINT_SPEED + 1e-6
        joints = joints + STEP * speeds
        assert distance(avoidance, joints) > DISTANCE / 2.0
        assert (np.abs(joints) < limits).all()


def test_without_avoidance_that_motion_collides(avoidance: Avoidance) -> None:
    joints, distances = HOME.copy(), []
    for _ in range(60):
        jacobian = kinematics.jacobian(joints, TOOL_REACH)
        joints = joints + STEP * kinematics.damped_least_squares(jacobian, np.array([0.2, 0.0, 0.0, 0.0, 0.0, 0.0]))
        distances.append(distance(avoidance, joints))
    assert min(distances) < 0.0


def test_joints_stop_before_their_limits(avoidance: Avoidance) -> None:
    joints = HOME.copy()
    joints[5] = kinematics.LINKS[5].limit - np.radians(8.0)
    spin = kinematics.jacobian(joints, TOOL_REACH) @ np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.5])
    for _ in range(30):
        joints = joints + STEP * avoidance.joint_speeds(joints, spin)
    assert joints[5] < kinematics.LINKS[5].limit - np.radians(4.9)


def test_another_frame_puts_the_table_elsewhere() -> None:
    """A task whose table is 30 cm higher, in which the elbow's way down is shorter."""
    low, high = Avoidance(), Avoidance(origin=(0.0, 0.0, 0.3))
    joints = np.radians([0.0, -30.0, 60.0, -120.0, -90.0, 0.0])
    assert distance(high, joints) < distance(low, joints)


def test_without_mink_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mink", None)
    with pytest.raises(FovealError, match=r'pip install "foveal\[ik\]"'):
        Avoidance()
