"""The dmc/ environments: what an observation is, when an episode ends, what a seed and an option mean."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import foveal.envs
from foveal.envs import EnvInfo, EnvOptions, make
from foveal.envs.dmc import ACTION_REPEAT, TASKS, ControlSuiteEnv
from foveal.envs.family import FAMILIES, gymnasium_id, known_ids
from foveal.errors import FovealError


def small(env: Any = "dmc/cartpole-swingup", **options: Any) -> foveal.envs.PixelEnv:
    """Cheap to render."""
    return make(env, **{"image_size": 32, "quality": "draft", **options})


def episode(env: foveal.envs.PixelEnv, steps: int, seed: int | None = None) -> tuple[np.ndarray, list[float]]:
    """Observations of a few steps of fixed actions, and their rewards."""
    random = np.random.default_rng(7)
    observations, rewards = [env.reset(seed=seed)[0]], []
    for _ in range(steps):
        observation, reward, *_ = env.step(random.uniform(-1, 1, env.action_space.shape))
        observations.append(observation)
        rewards.append(reward)
    return np.stack(observations), rewards


def test_ids_are_all_tasks_of_the_suite() -> None:
    from dm_control import suite

    assert sorted(i for i in known_ids() if i.startswith("dmc/")) == sorted(
        f"dmc/{domain}-{task}" for domain, task in suite.ALL_TASKS
    )


@pytest.mark.slow
def test_every_id_is_in_gymnasiums_registry_and_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, gymnasium, foveal.envs; from foveal.envs.family import gymnasium_id, known_ids\n"
        "assert len(known_ids()) > 40 and all(gymnasium_id(i) in gymnasium.registry for i in known_ids())\n"
        "sys.exit(bool({'dm_control', 'mujoco', 'av'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0


def test_defaults_are_the_benchmarks() -> None:
    env = make("dmc/walker-walk")
    assert env.observation_space == spaces.Box(0, 255, (9, 84, 84), np.uint8)
    assert env.action_space == spaces.Box(-1.0, 1.0, (6,), np.float32)
    assert env.spec_info == EnvInfo("dmc/walker-walk", 84, 3, 4, "exact", max_agent_steps=250)
    env.close()
    assert ACTION_REPEAT == {"finger": 2, "cartpole": 8}


@pytest.mark.slow
def test_frames_and_rewards_are_dm_controls_own() -> None:
    """The oracle is a plain dm_control loop, seeded as the task is."""
    from dm_control import suite

    env = make("dmc/finger-spin", image_size=48, seed=3)
    observations, rewards = episode(env, 5)
    plain = suite.load("finger", "spin", task_kwargs={"random": 3})
    plain.reset()
    frames = [plain.physics.render(48, 48, 0)] * 3
    assert np.array_equal(observations[0], np.concatenate(frames, axis=2).transpose(2, 0, 1))
    random = np.random.default_rng(7)
    for observation, reward in zip(observations[1:], rewards, strict=True):
        action = random.uniform(-1, 1, 2)
        expected = sum(plain.step(action).reward for _ in range(2))
        frames = [*frames[1:], plain.physics.render(48, 48, 0)]
        assert reward == pytest.approx(expected, abs=1e-12)
        assert np.array_equal(observation, np.concatenate(frames, axis=2).transpose(2, 0, 1))
    env.close()


def test_actions_are_scaled_to_the_actuators_limits() -> None:
    quadruped = ControlSuiteEnv("quadruped", "walk", EnvOptions(32, quality="draft"))
    spec = quadruped._env.action_spec()
    assert np.allclose(quadruped._control(-np.ones(12, np.float32)), spec.minimum)
    assert np.allclose(quadruped._control(np.ones(12, np.float32)), spec.maximum)
    unlimited = ControlSuiteEnv("lqr", "lqr_2_1", EnvOptions(32, quality="draft"))
    assert np.allclose(unlimited._control(np.full(1, 0.25, np.float32)), 0.25)
    quadruped.close()
    unlimited.close()


@pytest.mark.parametrize(("repeat", "steps"), [(None, 125), (300, 4), (1000, 1), (2000, 1)])
@pytest.mark.slow
def test_an_episode_is_truncated_after_1000_control_steps(repeat: int | None, steps: int) -> None:
    env = small(action_repeat=repeat, image_size=8, seed=0)
    assert env.spec_info.max_agent_steps == steps
    env.reset()
    ends = [env.step(np.zeros(1, np.float32))[2:4] for _ in range(steps)]
    assert ends == [(False, False)] * (steps - 1) + [(False, True)]
    assert env.inner.unwrapped._env._step_count == 1000  # type: ignore[attr-defined]
    with pytest.raises(FovealError, match="call reset"):
        env.step(np.zeros(1, np.float32))
    env.close()


@pytest.mark.slow
def test_an_episode_terminates_where_dm_controls_discount_is_zero() -> None:
    env = small("dmc/lqr-lqr_2_1", image_size=8, seed=0, action_repeat=1000)
    env.reset()
    physics = env.inner.unwrapped.physics  # type: ignore[attr-defined]
    physics.data.qpos[:] = physics.data.qvel[:] = 1e-9  # lqr ends with discount 0 at rest in the origin
    physics.forward()
    assert env.step(np.zeros(1, np.float32))[2:4] == (True, False)
    env.close()


@pytest.mark.slow
def test_one_picture_an_agent_step(monkeypatch: pytest.MonkeyPatch) -> None:
    env = small(seed=0)
    renders: list[dict[str, bool]] = []
    render = ControlSuiteEnv._render
    monkeypatch.setattr(ControlSuiteEnv, "_render", lambda self, **kind: renders.append(kind) or render(self, **kind))
    episode(env, 4)
    assert renders == [{}] * 5
    env.agent_mask()
    assert renders[5:] == [{"segmentation": True}]
    env.close()


@pytest.mark.slow
def test_the_seed_decides_the_episodes() -> None:
    one, two, other = small(seed=1), small(seed=2), small(seed=1)
    first = episode(one, 3)
    assert np.array_equal(first[0], episode(other, 3)[0])
    assert not np.array_equal(first[0], episode(two, 3)[0])
    later = episode(one, 3)
    assert not np.array_equal(first[0], later[0])  # the first seed is used once
    assert np.array_equal(later[0], episode(other, 3)[0])
    again = episode(two, 3, seed=1)
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]
    for env in (one, two, other):
        env.close()


@pytest.mark.slow
def test_frames_are_stacked_oldest_first() -> None:
    env = small(frame_stack=4, seed=0)
    observations, _ = episode(env, 3)
    assert np.array_equal(observations[0], np.tile(observations[0, :3], (4, 1, 1)))
    for before, after in pairwise(observations):
        assert np.array_equal(after[:-3], before[3:])
    assert np.array_equal(env.render(), observations[-1, -3:].transpose(1, 2, 0))
    env.close()


@pytest.mark.slow
def test_quality_changes_the_renderer_and_nothing_else() -> None:
    pictures, rewards = {}, {}
    for quality, shadows, samples in [("exact", 2048, 4), ("fast", 512, 4), ("draft", 512, 0)]:
        env = make("dmc/cartpole-swingup", image_size=48, quality=quality, seed=0)
        visual = env.inner.unwrapped.physics.model.vis.quality  # type: ignore[attr-defined]
        assert (visual.shadowsize, visual.offsamples) == (shadows, samples)
        assert env.spec_info.quality == quality
        pictures[quality], rewards[quality] = episode(env, 2)
        env.close()
    assert rewards["exact"] == rewards["fast"] == rewards["draft"]
    assert not np.array_equal(pictures["draft"], pictures["exact"])
    error = np.abs(pictures["draft"].astype(float) - pictures["exact"])
    assert error.mean() < 5


@pytest.mark.slow
def test_the_agents_pixels_are_those_that_change_colour_with_it() -> None:
    env = make("dmc/walker-walk", image_size=64, quality="draft", seed=0)
    with pytest.raises(FovealError, match="before the first"):
        env.render()
    before = env.reset()[0][-3:].astype(int)
    mask = env.agent_mask()
    base = env.inner.unwrapped
    assert isinstance(base, ControlSuiteEnv)
    base.physics.named.model.mat_rgba["self", :3] = (0.0, 0.0, 1.0)
    changed = np.abs(base._frame() - before).sum(axis=0) > 60
    assert mask.shape == (64, 64)
    assert 0.03 < mask.mean() < 0.3
    assert (changed & mask).sum() / mask.sum() > 0.95  # and some floor changes with it: its reflection
    env.close()


@pytest.mark.slow
def test_targets_and_walls_are_not_the_agent() -> None:
    env = make("dmc/reacher-easy", image_size=64, quality="draft", seed=0)
    env.reset()
    base = env.inner.unwrapped
    assert isinstance(base, ControlSuiteEnv)
    before, mask = base._frame().astype(int), env.agent_mask()
    base.physics.named.model.geom_rgba["target"] = (0.0, 1.0, 0.0, 1.0)
    target = np.abs(base._frame() - before).sum(axis=0) > 60
    assert target.sum() > 20
    assert mask.sum() > 20
    assert (target & mask).mean() < 0.02
    env.close()


@pytest.mark.slow
def test_gymnasium_makes_and_checks_them() -> None:
    env = gymnasium.make("foveal/dmc-cartpole-swingup-v0", image_size=32, quality="draft")
    check_env(env.unwrapped)
    assert env.unwrapped.spec_info.id == "dmc/cartpole-swingup"  # type: ignore[attr-defined]
    assert env.reset(seed=0)[0].shape == env.step(env.action_space.sample())[0].shape == (9, 32, 32)
    assert env.render().shape == (32, 32, 3)  # type: ignore[union-attr]
    env.close()
    env = small("foveal/dmc-cartpole-swingup-v0")
    assert env.spec_info.id == "dmc/cartpole-swingup"
    env.close()
    env.close()
    with pytest.raises(FovealError, match="rgb_array"):
        foveal.envs.making.make_registered("dmc/cartpole-swingup", render_mode="human")


@pytest.mark.parametrize("domain", sorted(TASKS))
@pytest.mark.slow
def test_every_domain_renders(domain: str) -> None:
    task = TASKS[domain].split()[-1]
    env = small(f"dmc/{domain}-{task}", image_size=16, action_repeat=1, seed=0)
    observation, *_ = (env.reset(), env.step(env.action_space.sample()))[1]
    assert observation.std() > 1
    assert env.agent_mask().dtype == bool
    env.close()


@pytest.mark.parametrize(
    ("env", "options", "message"),
    [
        ("dmc/walker-wlak", {}, "unknown environment 'dmc/walker-wlak': did you mean 'dmc/walker-walk'"),
        ("walker-walk", {}, "dmc/walker-walk"),
        ("CarRacin-v3", {}, "CarRacing-v3"),
        ("dcm/walker-walk", {}, "dmc/walker-walk"),
        ("dmc/", {}, "unknown environment"),
        ("", {}, "unknown environment"),
        ("nowhere:Thing-v0", {}, "unknown environment"),
        ("dmc/cartpole-swingup", {"image_size": 0}, "image_size is 0"),
        ("dmc/cartpole-swingup", {"image_size": 84.0}, "whole number"),
        ("dmc/cartpole-swingup", {"image_size": 5000}, "at most 480"),
        ("dmc/cartpole-swingup", {"frame_stack": 0}, "frame_stack is 0"),
        ("dmc/cartpole-swingup", {"action_repeat": 0}, "action_repeat is 0"),
        ("dmc/cartpole-swingup", {"camera": 9}, "cameras 0 to 1"),
        ("dmc/cartpole-swingup", {"quality": "best"}, "exact, fast, draft"),
        ("dmc/cartpole-swingup", {"seed": -1}, "seed is -1"),
        (17, {}, "builtins.int is no environment"),
        (lambda: "walker", {}, "builtins.str is no environment"),
    ],
)
def test_mistakes_are_told_in_one_message(env: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError) as told:
        make(env, **options)
    assert message in str(told.value)


@pytest.mark.slow
@pytest.mark.parametrize(("action", "message"), [([0.0, 0.0], "takes (1,)"), ([np.nan], "not finite")])
def test_actions_that_cant_be_taken(action: list[float], message: str) -> None:
    env = small(image_size=8)
    env.reset()
    with pytest.raises(FovealError) as told:
        env.step(np.array(action))
    assert message in str(told.value)
    env.close()


def test_a_family_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Toys(foveal.envs.Family):
        def names(self) -> list[str]:
            return ["pole"]

        def build(self, name: str, options: EnvOptions) -> gymnasium.Env[Any, Any]:
            return ControlSuiteEnv("cartpole", "swingup", options)

    monkeypatch.setattr(FAMILIES, "_entries", dict(FAMILIES._entries))
    FAMILIES.register("toy")(Toys)
    assert "toy/pole" in known_ids()
    assert gymnasium_id("toy/pole") == "foveal/toy-pole-v0"
    env = small("toy/pole")
    assert env.spec_info.id == "toy/pole"
    env.close()


NO_OPENGL = """
import ctypes, ctypes.util, sys
ctypes.util.find_library = lambda name: None
load = ctypes.CDLL.__init__
def refuse(self, name, *rest, **more):
    if name and ("EGL" in str(name) or "libGL" in str(name) or "OpenGL" in str(name)):
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")
    load(self, name, *rest, **more)
ctypes.CDLL.__init__ = refuse
from foveal.envs import make
from foveal.errors import FovealError
try:
    make("dmc/cartpole-swingup", image_size=16)
except FovealError as error:
    print(error)
"""


@pytest.mark.slow
def test_without_opengl_the_message_says_what_to_install() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "DISPLAY")}
    run = subprocess.run(
        [sys.executable, "-c", NO_OPENGL], env=environment, capture_output=True, text=True, check=False
    )
    assert "libegl1 libgl1-mesa-dri" in run.stdout, run.stderr
    assert run.stdout.count("\n") == 1
    assert "MUJOCO_GL is egl" in run.stdout  # chosen by default without a display
