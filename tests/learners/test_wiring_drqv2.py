"""Every setting of DrQ-v2 changes what it names. A new setting needs a line in the table."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import foveal
from foveal.learners.drqv2 import DrQV2Config
from foveal.types import Batch, Observation
from small_env import SavedCounter, small_agent
from wires import Room, Wire, assert_complete, cases


def agent_with(step: int = 0, **settings: Any) -> foveal.Agent:
    """Plain DrQ-v2 of the debug preset, with some settings of the learner, at an agent step."""
    training = {"precision": "float32"}
    agent = small_agent(SavedCounter, method="none", learner="drqv2", training=training, drqv2=settings)
    agent.learner.set_step(step)
    return agent


def update(agent: foveal.Agent) -> None:
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 8, *agent.shapes.image), generator=draws, dtype=torch.uint8)
    action = torch.rand(8, agent.learner.action_size, generator=draws) * 2 - 1
    reward, discount = torch.rand(8, generator=draws), torch.full((8,), 0.9)
    batch = Batch(Observation(images[0]), action, reward, discount, Observation(images[1]))
    agent.updater.update(batch, lambda size: batch)


def kept(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in network.parameters()])


def step_sizes(setting: str, *parts: str) -> Any:
    """The largest change of a weight by Adam's first step, which is the learning rate; the same of all parts."""

    def observe(room: Room, value: float) -> Any:
        agent = agent_with(**{setting: value})
        before = {part: kept(getattr(agent.learner, part)) for part in parts}
        update(agent)
        steps = [float((kept(getattr(agent.learner, part)) - before[part]).abs().max()) for part in parts]
        assert max(steps) == pytest.approx(min(steps), rel=1e-2)
        return pytest.approx(steps[0], rel=1e-2)

    return observe


def share_taken(room: Room, value: float) -> Any:
    agent = agent_with(tau=value)
    learner: Any = agent.learner
    parts = ("projection", "critics")
    before = {part: kept(getattr(learner, f"target_{part}")) for part in parts}
    update(agent)
    shares = []
    for part in parts:
        way = kept(getattr(learner, part)) - before[part]
        shares.append(
            float((way * (kept(getattr(learner, f"target_{part}")) - before[part])).sum() / way.square().sum())
        )
    assert shares[0] == pytest.approx(shares[1], rel=1e-2)
    return pytest.approx(shares[0], rel=1e-2)


def std_at(setting: str, step: int) -> Any:
    def observe(room: Room, value: float) -> Any:
        learner: Any = agent_with(step, **{setting: value}).learner
        return pytest.approx(float(learner.std()), abs=1e-6)

    return observe


def largest_noise(room: Room, value: float) -> Any:
    """By how much the actions that target and policy value differ from the policy's own, at most."""
    agent = agent_with(noise_clip=value)
    learner: Any = agent.learner
    with torch.no_grad():
        learner.policy[-1].weight.zero_()  # the policy's own action is 0
    found = []
    for part in ("target_critics", "critics"):
        hook = lambda module, inputs: found.append(float(inputs[1].detach().abs().max()))  # noqa: E731
        getattr(learner, part).register_forward_pre_hook(hook)
    batch = Observation(torch.rand(64, *agent.shapes.image) * 255)
    learner.targets(Batch(batch, torch.zeros(64, 2), torch.zeros(64), torch.zeros(64), batch))
    learner.policy_step(batch)
    assert len(found) == 2 and found[0] == found[1]
    return pytest.approx(found[0])


def widths(room: Room, value: int) -> set[int]:
    learner: Any = agent_with(hidden=value).learner
    networks = [learner.policy, *learner.critics.heads, *learner.target_critics.heads]
    return {size for network in networks for size in (network[0].out_features, network[2].out_features)}


WIRES = {
    "encoder": Wire(
        {"filters": 3},
        {"filters": 5},
        observe=lambda _, v: {"filters": agent_with(encoder=v).learner.convolutions.output_shape[0]},
    ),
    "hidden": Wire(16, 9, observe=widths, expected=lambda value: {value}),
    "critic_lr": Wire(1e-4, 1e-2, observe=step_sizes("critic_lr", "convolutions", "projection", "critics")),
    "actor_lr": Wire(1e-4, 1e-2, observe=step_sizes("actor_lr", "actor_projection", "policy")),
    "tau": Wire(0.01, 0.2, observe=share_taken),
    "initial_std": Wire(1.0, 0.5, observe=std_at("initial_std", 0)),
    "final_std": Wire(0.1, 0.02, observe=std_at("final_std", 10**6)),
    "difficulty": Wire(
        "easy",
        "hard",
        observe=lambda _, v: pytest.approx(float(agent_with(50_000, difficulty=v, std_steps=None).learner.std())),
        expected=lambda v: 1 - 0.9 * {"easy": 0.5, "hard": 0.025}[v],
    ),
    "std_steps": Wire(100, 400, observe=std_at("std_steps", 50), expected=lambda v: pytest.approx(1 - 0.9 * 50 / v)),
    "noise_clip": Wire(0.3, 0.1, observe=largest_noise),
}


def test_no_setting_of_drqv2_is_forgotten() -> None:
    assert_complete(DrQV2Config, WIRES)


@pytest.mark.slow
@cases(WIRES)
def test_settings_of_drqv2_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)
