"""Every setting of DQN and of QR-DQN changes what it names. A new setting needs a line in a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import foveal
from foveal.learners.dqn import DQNConfig
from foveal.learners.qrdqn import QRDQNConfig
from foveal.types import Batch, Observation
from small_dqn import agent_on, batch_of, dqn, qrdqn
from wires import Room, Wire, assert_complete, cases

MAKERS: dict[str, Any] = {"dqn": dqn, "qrdqn": qrdqn}


def of(read: Any) -> Any:
    return lambda room, value: read(value)


def random_batches(agent: foveal.Agent) -> Any:
    draws = torch.Generator().manual_seed(0)

    def sample(size: int) -> Batch:
        images = torch.randint(0, 256, (2, size, *agent.shapes.image), generator=draws, dtype=torch.uint8)
        action = torch.randint(0, 3, (size,), generator=draws)
        return Batch(Observation(images[0]), action, torch.rand(size), torch.full((size,), 0.9), Observation(images[1]))

    return sample


def shared(name: str) -> dict[str, Wire]:
    """The settings that both have."""
    make = MAKERS[name]

    def trained(setting: str, value: Any) -> Any:
        return agent_on("none", learner=name, **{name: {setting: value}}).learner

    def moved_by(gradient: float, **settings: float) -> float:
        """By how much the optimizer's first step moves a weight with this gradient."""
        learner = make(**settings)
        optimizer, weight = learner.critic_optimizer([]), learner.critic[0].weight
        before = weight.detach().clone()
        weight.grad = torch.full_like(before, gradient)
        optimizer.step()
        return float((weight.detach() - before).abs().max())

    def added_by_adam(value: float) -> Any:
        """From the first step lr g / (|g| + eps), at a gradient of the setting's size."""
        return pytest.approx(value * (0.1 / moved_by(value, lr=0.1, adam_eps=value) - 1), rel=1e-3)

    def target_share(value: float) -> Any:
        learner = make(target_tau=value)
        before, source = learner.target_critic[0].weight.clone(), learner.critic[0].weight.detach()
        learner.update_target_networks()
        moved = (learner.target_critic[0].weight - before) / (source - before)
        return pytest.approx(float(moved.median()), rel=1e-3)

    def copied_at(room: Room, value: int) -> list[int]:
        agent = agent_on("none", learner=name, **{name: {"target_period": value}})
        steps = room.watch(agent.learner, "update_target_networks")
        found = []
        sample = random_batches(agent)
        for number in range(5):
            before = len(steps)
            agent.updater.update(sample(4), sample)
            found += [number] if len(steps) > before else []
        return found

    def epsilon_at(setting: str, step: int) -> Any:
        def observe(room: Room, value: float) -> Any:
            learner = make(**{"final_epsilon": 0.1, setting: value})
            learner.set_step(step)
            return pytest.approx(float(learner.epsilon()), abs=1e-6)

        return observe

    def streams(value: bool) -> bool:
        """Whether advantages that all actions share change no value."""
        learner, batch = make(dueling=value), batch_of()
        head = learner.critic.advantage if hasattr(learner.critic, "advantage") else learner.critic
        before = learner.table(batch.obs)
        with torch.no_grad():
            head[-1].bias += 1.0
        return torch.allclose(learner.table(batch.obs), before, atol=1e-4)

    return {
        "encoder": Wire(
            {"filters": 3},
            {"filters": 5},
            observe=of(lambda v: {"filters": trained("encoder", v).convolutions.output_shape[0]}),
        ),
        "hidden": Wire(16, 9, observe=of(lambda v: trained("hidden", v).critic[0].out_features)),
        "hidden_layers": Wire(1, 2, observe=of(lambda v: len(trained("hidden_layers", v).critic) // 2)),
        "dueling": Wire(True, False, observe=of(streams)),
        "double": Wire(
            True,
            False,
            observe=of(lambda v: torch.equal(*(make(double=d).targets(batch_of()) for d in (v, True)))),
        ),
        "lr": Wire(1e-4, 1e-2, observe=of(lambda v: pytest.approx(moved_by(1e3, lr=v), rel=1e-3))),
        "adam_eps": Wire(1e-8, 1e-3, observe=of(added_by_adam)),
        "target_period": Wire(1, 2, 3, observe=copied_at, expected=lambda v: list(range(0, 5, v))),
        "target_tau": Wire(1.0, 0.25, observe=of(target_share)),
        "initial_epsilon": Wire(1.0, 0.4, observe=epsilon_at("initial_epsilon", 0)),
        "final_epsilon": Wire(0.1, 0.02, observe=epsilon_at("final_epsilon", 10**6)),
        "epsilon_steps": Wire(
            100, 400, observe=epsilon_at("epsilon_steps", 50), expected=lambda v: pytest.approx(1 - 0.9 * 50 / v)
        ),
    }


def turn(room: Room, kappa: float) -> Any:
    """The slope of the Huber loss far out, from the gradient of the quantiles, -kappa tau / B each."""
    learner, batch = qrdqn(kappa=kappa), batch_of()
    estimate = learner.estimate(batch.obs, batch.action)
    flat = replace(estimate, prediction=torch.zeros(5, 4, requires_grad=True))
    (gradient,) = torch.autograd.grad(learner.td_loss(flat, torch.full((5, 4), 100.0)), flat.prediction)
    return pytest.approx(float((-5 * gradient[0] / learner.midpoints).mean()))


DQN_WIRES = shared("dqn")
QRDQN_WIRES = {
    **shared("qrdqn"),
    "quantiles": Wire(3, 7, observe=of(lambda v: qrdqn(quantiles=v).table(batch_of().obs).shape[2])),
    "kappa": Wire(1.0, 0.25, observe=turn),
}


@pytest.mark.parametrize(("config", "wires"), [(DQNConfig, DQN_WIRES), (QRDQNConfig, QRDQN_WIRES)])
def test_no_setting_is_forgotten(config: type, wires: dict[str, Wire]) -> None:
    assert_complete(config, wires)


@pytest.mark.slow
@cases(DQN_WIRES)
def test_settings_of_dqn_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


@pytest.mark.slow
@cases(QRDQN_WIRES)
def test_settings_of_qrdqn_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)
