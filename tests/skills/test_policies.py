"""What all policies of the arm have in common: steps by themselves, memory, folders and ONNX files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import foveal
from small_skills import small_policy

pytest.importorskip("h5py", reason='needs the extra "skills"')

from foveal import export
from foveal.envs.ur5e import make_arm
from foveal.errors import FovealError
from foveal.skills.arms import Arms, ArmSettings
from foveal.skills.base import ArmPolicy
from foveal.skills.config import clone_config, master_config
from foveal.skills.flat import FlatPolicy
from foveal.skills.loading import POLICIES, load_policy
from foveal.skills.master import Master
from foveal.skills.minari import in_millimetres
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.rollouts import InOrder, Plan, play, scripted
from foveal.skills.view import View

CONFIG = master_config("debug", {"skill_steps": 30})


def trained(kind: str) -> Any:
    """A policy of each kind whose weights are not those of its first moment."""
    skills = SkillPolicy(SkillSet("pick", ("a", "b", "c"), View(32, 40)), clone_config("debug"), seed=2)
    skills.mean, skills.spread = torch.tensor([0.1, -0.2, 0.0]), torch.tensor([0.5, 0.6, 0.7])
    skills.about = {"epochs": [{"number": 1, "loss": 0.5}], "best": 1}
    if kind == "skills":
        return skills
    made = Master("pick", skills, CONFIG, seed=7) if kind == "master" else FlatPolicy("pick", View(36, 40), CONFIG, 7)
    with torch.no_grad():
        made.network.actor.linear.weight.mul_(50.0)  # at first, all skills are as likely
    return made


KINDS = ["skills", "master", "flat"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_step_by_step_it_does_what_whole_episodes_do(kind: str) -> None:
    policy: ArmPolicy = trained(kind)
    plan: Plan = {"skills": scripted("pick", 3), "master": policy, "flat": InOrder((0,))}[kind]  # type: ignore[dict-item]
    actor: Any = policy.skills if isinstance(policy, Master) else policy
    settings = ArmSettings("pick", policy.view)
    (outcome,) = play(settings, plan, actor, [7], skill_steps=policy.skill_steps)
    env, arms = make_arm("pick", size=policy.view.render), Arms(settings, 1, policy.stack)
    observation, _ = env.reset(seed=7)
    arms.reset(0, 7)
    memory, chosen, ended = None, [], False
    while not ended:
        action, memory = policy.predict(observation, memory, deterministic=True)  # as evaluations choose
        np.testing.assert_array_equal(memory.frames, arms.frames(0))
        arms.step(0, action)
        if (memory.steps - 1) % policy.skill_steps == 0:
            chosen.append(memory.skill)
        observation, _, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated
    env.close(), arms.close()
    assert (terminated, memory.steps, tuple(chosen)) == (outcome.success, outcome.steps, outcome.chosen)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_belongs_to_the_caller(kind: str) -> None:
    policy = trained(kind)
    random = np.random.default_rng(0)
    pictures = [{"depth": random.uniform(0.6, 1.9, (40, 40)).astype(np.float32)} for _ in range(3)]
    first, memory = policy.predict(pictures[0])
    second, later = policy.predict(pictures[1], memory)
    again, _ = policy.predict(pictures[1], memory)
    np.testing.assert_array_equal(second, again)
    assert (memory.steps, later.steps) == (1, 2) and later.frames.shape == (3, policy.view.size, policy.view.size)
    newest = [in_millimetres(policy.view.cut(picture["depth"])) for picture in pictures]
    np.testing.assert_array_equal(later.frames, [newest[0], newest[0], newest[1]])
    np.testing.assert_array_equal(policy.predict(pictures[0], later, episode_start=np.array([True]))[0], first)
    assert not np.array_equal(policy.predict(pictures[1])[0], second)  # it looks at what was before
    np.testing.assert_array_equal(policy.predict({"depth": newest[0]})[0], first)  # cut and in millimetres already


@pytest.mark.slow
def test_a_master_draws_or_takes_the_likeliest() -> None:
    master = trained("master")
    with torch.no_grad():
        master.network.actor.linear.weight.zero_()
        master.network.actor.linear.bias.copy_(torch.tensor([0.3, 0.4, 0.3]).log())
    picture = {"depth": np.full((32, 32), 900, np.uint16)}
    drawn = set()
    for master.seed in range(20):
        drawn.add(master.predict(picture)[1].skill)
        assert master.predict(picture, deterministic=True)[1].skill == 1
    assert drawn == {0, 1, 2}


def test_what_looks_at_nothing_can_not_act(tmp_path: Path) -> None:
    master = Master("pick", None, CONFIG)
    picture = {"depth": np.full((32, 32), 900, np.uint16)}
    for use in (lambda: master.predict(picture), lambda: master.export(tmp_path / "master.onnx")):
        with pytest.raises(FovealError, match="chooses among scripted experts"):
            use()
    nameless = SkillPolicy(SkillSet("", ("a",), View(32, 32)), clone_config("debug"))
    with pytest.raises(FovealError, match="do not say of which task"):
        nameless.predict(picture)
    with pytest.raises(FovealError, match="32 x 32 pixels, or cuts that from 32 x 32, and the camera reads 9 x 9"):
        small_policy().predict({"depth": np.ones((9, 9), np.float32)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_folders(kind: str, tmp_path: Path) -> None:
    policy = trained(kind)
    policy.save(tmp_path / "policy")
    for again in (
        foveal.load(tmp_path / "policy"),
        load_policy(tmp_path / "policy"),
        pickle.loads(pickle.dumps(policy)),
    ):
        assert type(again) is type(policy)
        (tensors, state), (others, other) = policy.state(), again.state()
        assert state == other and all(torch.equal(tensors[name], others[name]) for name in tensors)
    for other_kind in set(POLICIES.values()) - {type(policy)}:
        with pytest.raises(FovealError, match="is a checkpoint of"):
            other_kind.load(tmp_path / "policy")
    with pytest.raises(FovealError, match="no policy of the arm"):
        load_policy(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_exported_networks_say_the_same(kind: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason='needs the extra "onnx"')
    policy = trained(kind)
    precise = export.portable(policy.skills.network if kind == "master" else policy.network)
    before = {name: tensor.clone() for name, tensor in policy.state()[0].items()}
    path = policy.export(tmp_path / "policy.onnx")
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state()[0].items())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random, shape = np.random.default_rng(0), (policy.stack, policy.view.size, policy.view.size)
    for batch in (1, 4):
        frames = random.integers(400, 2200, (batch, *shape)).astype(np.float32)
        inputs = {"frames": frames}
        if kind == "skills":
            policy.network = precise
            inputs["skill"] = np.arange(batch, dtype=np.int64) % 3
            expected = policy.act(frames, inputs["skill"])
        elif kind == "master":
            policy.skills.network = precise
            expected = policy.chances(policy.skills.features(frames))
        else:
            policy.ppo.policy = precise
            expected = policy.act(frames, np.zeros(batch))
        assert [node.name for node in session.get_inputs()] == list(inputs)
        (found,) = session.run(["chances" if kind == "master" else "action"], inputs)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert found.std() > 1e-3
