"""One arm as an environment of depth pictures: the episodes of an evaluation, and nothing lost on the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from small_skills import small_policy

pytest.importorskip("h5py", reason='needs the extra "skills"')

from foveal.envs.ur5e.tasks import SUCCESS_REWARD
from foveal.errors import FovealError
from foveal.skills.arms import Arms
from foveal.skills.config import master_config
from foveal.skills.master import Master
from foveal.skills.seeds import EVALUATION
from foveal.skills.single import DepthEnv, as_brightness, as_millimetres

POLICY = small_policy()


@pytest.mark.slow
@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_the_network_sees_the_same_of_depth_that_was_a_picture(millimetres: list[int]) -> None:
    policy, depth = POLICY, np.array(millimetres, np.uint16)
    back = as_millimetres(as_brightness(policy, depth), policy.config.near, policy.config.far)
    np.testing.assert_array_equal(policy.input(back).numpy(), policy.input(depth).numpy())


def test_near_is_white_and_far_is_black() -> None:
    policy = small_policy()
    ends = np.array([policy.config.near * 1000, policy.config.far * 1000]).astype(np.uint16)
    assert as_brightness(policy, ends).tolist() == [1.0, 0.0]


@pytest.mark.slow
def test_episodes_are_those_of_evaluation() -> None:
    policy = small_policy()
    env, arms = DepthEnv(policy.acting()), Arms(policy.arm_settings, 1, policy.stack)
    seen, _ = env.reset(seed=3)
    arms.reset(0, EVALUATION + 3)
    assert env.observation_space.contains(seen) and env.agent_mask().shape == (32, 32) and env.agent_mask().any()
    for step in range(4):
        back = as_millimetres(seen["depth"][:, 0], policy.config.near, policy.config.far)
        np.testing.assert_array_equal(policy.input(back).numpy(), policy.input(arms.frames(0)).numpy())
        assert seen["step"].tolist() == [step]
        action = np.array([0.5, -0.5, -1.0, 1.0], np.float32)
        seen, reward, terminated, truncated, info = env.step(action)
        assert reward == arms.step(0, action) < SUCCESS_REWARD
        assert (terminated, truncated, info["success"]) == (False, False, False)
    env.close()
    arms.close()


def test_where_nobody_looks_there_is_nothing_to_see() -> None:
    with pytest.raises(FovealError, match="chooses among scripted experts"):
        DepthEnv(Master("pick", None, master_config("debug")).acting())
