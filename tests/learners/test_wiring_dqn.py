"""Every setting of DQN changes what it names. A new setting needs a line in the table."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import foveal
from foveal.learners.dqn import DQN, DQNConfig
from foveal.types import Batch, Observation
from small_dqn import agent_on, batch_of, dqn
from wires import Room, Wire, assert_complete, cases


def of(read: Any) -> Any:
    return lambda room, value: read(value)


def trained(name: str, value: Any) -> DQN:
    learner: Any = agent_on("none", dqn={name: value}).learner
    return learner  # type: ignore[no-any-return]


def largest_step(room: Room, value: float) -> Any:
    learner = trained("lr", value)
    optimizer = learner.critic_optimizer([])
    before = learner.critic[0].weight.detach().clone()  # type: ignore[union-attr]
    learner.critic[0].weight.grad = torch.ones_like(before)  # type: ignore[union-attr]
    optimizer.step()
    moved = (learner.critic[0].weight.detach() - before).abs().max()  # type: ignore[union-attr]
    return pytest.approx(float(moved), rel=1e-3)


def target_share(room: Room, value: float) -> Any:
    learner = dqn(target_tau=value)
    before, source = learner.target_critic[0].weight.clone(), learner.critic[0].weight.detach()  # type: ignore[union-attr]
    learner.update_target_networks()
    moved = (learner.target_critic[0].weight - before) / (source - before)  # type: ignore[union-attr]
    return pytest.approx(float(moved.median()), rel=1e-3)


def copied_at(room: Room, value: int) -> list[int]:
    agent = agent_on("none", dqn={"target_period": value})
    steps = room.watch(agent.learner, "update_target_networks")
    found = []
    sample = random_batches(agent)
    for number in range(7):
        before = len(steps)
        agent.updater.update(sample(4), sample)
        found += [number] if len(steps) > before else []
    return found


def random_batches(agent: foveal.Agent) -> Any:
    draws = torch.Generator().manual_seed(0)

    def sample(size: int) -> Batch:
        images = torch.randint(0, 256, (2, size, *agent.shapes.image), generator=draws, dtype=torch.uint8)
        action = torch.randint(0, 3, (size,), generator=draws)
        return Batch(Observation(images[0]), action, torch.rand(size), torch.full((size,), 0.9), Observation(images[1]))

    return sample


def epsilon_at(setting: str, step: int) -> Any:
    def observe(room: Room, value: float) -> Any:
        learner = dqn(**{setting: value})
        learner.set_step(step)
        return pytest.approx(float(learner.epsilon()), abs=1e-6)

    return observe


WIRES = {
    "encoder": Wire(
        {"filters": 3},
        {"filters": 5},
        observe=of(lambda v: {"filters": trained("encoder", v).convolutions.output_shape[0]}),  # type: ignore[index]
    ),
    "hidden": Wire(16, 9, observe=of(lambda v: trained("hidden", v).critic[0].out_features)),  # type: ignore[union-attr]
    "hidden_layers": Wire(1, 2, observe=of(lambda v: len(trained("hidden_layers", v).critic) // 2)),  # type: ignore[arg-type]
    "double": Wire(
        True,
        False,
        observe=of(lambda v: torch.equal(*(dqn(double=d).targets(batch_of()) for d in (v, True)))),
    ),
    "lr": Wire(1e-4, 1e-2, observe=largest_step),
    "target_period": Wire(1, 2, 3, observe=copied_at, expected=lambda v: list(range(0, 7, v))),
    "target_tau": Wire(1.0, 0.25, observe=target_share),
    "initial_epsilon": Wire(1.0, 0.4, observe=epsilon_at("initial_epsilon", 0)),
    "final_epsilon": Wire(0.1, 0.02, observe=epsilon_at("final_epsilon", 10**6)),
    "epsilon_steps": Wire(
        100, 400, observe=epsilon_at("epsilon_steps", 50), expected=lambda v: pytest.approx(1 - 0.9 * 50 / v)
    ),
}


def test_no_setting_of_dqn_is_forgotten() -> None:
    assert_complete(DQNConfig, WIRES)


@cases(WIRES)
def test_settings_of_dqn_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)
