"""DQN: targets and losses worked out by hand, random actions by agent step, every method on discrete actions."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

import foveal
from foveal.augmentations import AugmentationOptions
from foveal.config.tree import configure
from foveal.errors import FovealError
from foveal.learners.dqn import DQN, DQNConfig
from foveal.methods import METHODS, Setup
from foveal.saliency import pixel_gradient
from foveal.training.updater import Updater
from foveal.types import Batch, Observation
from small_dqn import Bright, agent_on, batch_of, dqn, observation
from small_env import SIZE, small_agent, weights


def all_values(learner: DQN, obs: Observation, target: bool = False) -> Tensor:
    """(B, actions), written out."""
    prefix = "target_" if target else ""
    parts: list[nn.Module] = [getattr(learner, prefix + name) for name in ("convolutions", "projection", "critic")]
    latent = parts[1](parts[0](obs.image))
    return parts[2](latent if obs.vector is None else torch.cat([latent, obs.vector], 1))  # type: ignore[no-any-return]


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", [0, 2])
def test_the_estimate_is_of_the_action_that_was_taken(vector: int) -> None:
    learner, batch = dqn(vector), batch_of(vector)
    estimate = learner.estimate(batch.obs, batch.action)
    table = all_values(learner, batch.obs)
    expected = torch.stack([table[i, a] for i, a in enumerate(batch.action)])
    torch.testing.assert_close(estimate.values, expected[None])
    assert estimate.prediction is estimate.values and estimate.latent.shape == (5, 6)


@pytest.mark.parametrize("double", [False, True])
def test_targets_by_hand(double: bool) -> None:
    learner, batch = dqn(double=double), batch_of()
    own, theirs = all_values(learner, batch.next_obs), all_values(learner, batch.next_obs, target=True)
    chooser = own if double else theirs
    expected = [
        float(batch.reward[i] + batch.discount[i] * theirs[i, int(chooser[i].argmax())]) for i in range(len(own))
    ]
    target = learner.targets(batch)
    assert target.tolist() == pytest.approx(expected, rel=1e-5)
    assert not target.requires_grad and float(target[1]) == -2.0
    other = dqn(double=not double).targets(batch)
    assert not torch.allclose(target, other)  # the two networks choose differently somewhere


def test_the_errors_gradient_is_clipped() -> None:
    learner, batch = dqn(), batch_of()
    estimate = learner.estimate(batch.obs, batch.action)
    error = torch.tensor([0.0, 0.5, -0.5, 4.0, -4.0])
    target = (estimate.values[0] - error).detach()
    loss = learner.td_loss(estimate, target)
    assert float(loss.detach()) == pytest.approx((0 + 0.125 + 0.125 + 3.5 + 3.5) / 5, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, estimate.values)
    assert gradient[0].tolist() == pytest.approx([0.0, 0.1, -0.1, 0.2, -0.2], abs=1e-6)


def test_dueling_values_are_of_the_state_plus_centred_advantages() -> None:
    learner, batch = dqn(dueling=True), batch_of()
    head: Any = learner.critic
    latent = learner.latent(batch.obs)
    value, advantage = (two_layers(stream, latent) for stream in (head.value, head.advantage))  # (B, 1), (B, 3)
    expected = value + advantage - advantage.mean(1, keepdim=True)
    torch.testing.assert_close(learner.table(batch.obs).squeeze(2), expected)
    estimate = learner.estimate(batch.obs, batch.action)
    torch.testing.assert_close(estimate.values[0], expected[torch.arange(5), batch.action])
    # Closed form: what the value of one action asks of the three advantages is 1 - 1/3 of its own, -1/3 of the others.
    gradients = torch.autograd.grad(estimate.values[0, 1], [stream[-1].bias for stream in (head.value, head.advantage)])
    assert gradients[0].tolist() == [1.0]
    assert gradients[1].tolist() == pytest.approx([-1 / 3, 2 / 3, -1 / 3])
    assert not torch.allclose(expected, value + advantage, atol=1e-2)


def two_layers(stream: Any, latent: Tensor) -> Tensor:
    return stream[2](stream[0](latent).clamp(min=0))  # type: ignore[no-any-return]


def test_the_dueling_target_network_follows_both_streams() -> None:
    learner = dqn(dueling=True)
    learner.update_target_networks()
    obs = observation()
    torch.testing.assert_close(learner.target_table(obs), learner.table(obs).detach())
    held = {id(p) for group in learner.critic_optimizer([]).param_groups for p in group["params"]}
    assert {id(p) for p in learner.critic.parameters()} <= held


@pytest.mark.slow
def test_returns_of_several_steps_bootstrap_that_much_later() -> None:
    agent = agent_on("none", training={"n_step": 3, "discount": 0.5}, environment={"frame_stack": 1})
    agent.learn(40, progress=False, evaluate_every=0)
    assert agent.replay is not None
    batch = agent.replay.sample(200)
    batch = batch.replace(obs=batch.obs.float(), next_obs=batch.next_obs.float())
    assert set(batch.discount.tolist()) == {0.5, 0.25, 0.125}  # episodes are cut by a time limit, which bootstraps
    learner: Any = agent.learner
    values = all_values(learner, batch.next_obs, target=True).detach()
    best = all_values(learner, batch.next_obs).argmax(1)
    expected = batch.reward + batch.discount * values[torch.arange(200), best]
    torch.testing.assert_close(learner.targets(batch), expected)
    assert float(batch.reward.max()) == 1.75  # three buttons that paid: 1 + 1/2 + 1/4


def test_continuous_actions_are_refused() -> None:
    with pytest.raises(FovealError, match="learner 'dqn' needs Discrete actions, and this environment has Box"):
        small_agent(learner="dqn")
    with pytest.raises(FovealError, match=r"dqn\.final_epsilon must be at most initial_epsilon, which is 0\.05"):
        DQNConfig(initial_epsilon=0.05)


def test_actions_as_features_are_one_hot() -> None:
    assert dqn().action_features(torch.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_the_target_network_is_a_copy_from_update_to_update() -> None:
    learner, start = dqn(target_period=3), weights_of(dqn())
    updater = Updater(learner, METHODS.get("none")(None, setup(learner)), pixel_gradient=False)
    copied = []
    for number in range(7):
        updater.update(batch_of(), no_sample)
        now = weights_of(learner)
        copied += [number] if torch.equal(now["target_critic.0.weight"], now["critic.0.weight"]) else []
    assert copied == [0, 3, 6]
    assert not torch.equal(weights_of(learner)["critic.0.weight"], start["critic.0.weight"])


def setup(learner: DQN) -> Any:
    return Setup(learner, (3, 12, 12), AugmentationOptions(12), torch.Generator(), torch.float32)


def weights_of(learner: DQN) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in learner.state_dict().items()}


def no_sample(size: int) -> Batch:
    raise AssertionError(f"a further batch of {size}")


# --- acting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "epsilon"), [(0, 0.8), (25, 0.65), (100, 0.2), (5000, 0.2)])
def test_epsilon_falls_linearly_by_agent_step(step: int, epsilon: float) -> None:
    learner = dqn(initial_epsilon=0.8, final_epsilon=0.2)
    learner.set_step(step)
    assert float(learner.epsilon()) == pytest.approx(epsilon)
    obs = Observation(observation(1).image.expand(6000, -1, -1, -1))
    best = learner.act(obs, True, torch.Generator())
    assert len(best.unique()) == 1
    acted = learner.act(obs, False, torch.Generator().manual_seed(0))
    share = float((acted != best).float().mean())
    assert share == pytest.approx(epsilon * 2 / 3, abs=4 * 0.5 / 6000**0.5)  # a random action may be the best one


def test_the_best_action_has_the_highest_value() -> None:
    learner, obs = dqn(), observation(40)
    with torch.no_grad():  # no action is the best everywhere
        learner.critic[-1].bias -= all_values(learner, obs).mean(0)  # type: ignore[operator]
    assert torch.equal(learner.best_action(obs), all_values(learner, obs).argmax(1))
    assert len(learner.best_action(obs).unique()) > 1


def test_the_agent_tells_its_learner_every_step(tmp_path: Path) -> None:
    agent = agent_on("none").learn(17, progress=False, evaluate_every=0)
    assert int(agent.learner.agent_step) == agent.steps == 17
    assert not any("agent_step" in name for name in weights(agent))  # told, not saved
    loaded = foveal.load(agent.save(tmp_path / "agent"), env=agent.env)
    assert isinstance(loaded, foveal.Agent) and int(loaded.learner.agent_step) == 17


def test_the_step_keeps_its_address_so_that_a_cuda_graph_reads_the_present_one() -> None:
    learner = dqn()
    address, epsilon = learner.agent_step.data_ptr(), learner.epsilon()
    learner.set_step(50)
    assert learner.agent_step.data_ptr() == address and float(learner.epsilon()) != float(epsilon)


# --- on an environment ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "dueling"), [("none", False), ("none", True), ("drq", False), ("svea", False), ("sgqn", False)]
)
@pytest.mark.slow
def test_it_learns_which_button_pays_with_every_method(method: str, dueling: bool) -> None:
    settings = {"discount": 0.0, "batch_size": 16}
    dqn_settings = {"lr": 3e-3, "epsilon_steps": 100, "dueling": dueling}
    agent = agent_on(method, training=settings, dqn=dqn_settings, environment={"frame_stack": 1})
    before = played(agent)
    agent.learn(250, progress=False, evaluate_every=0)
    assert played(agent) == 1.0 and before < 1.0


def played(agent: foveal.Agent) -> float:
    """Share of right buttons."""
    pictures = np.stack([np.full((3, SIZE, SIZE), value, np.uint8) for value in (30, 220)])
    return float(np.mean(agent.predict(pictures, deterministic=True)[0] == np.array([0, 1])))


@pytest.mark.slow
def test_saliency_is_of_the_value_of_the_action_that_was_taken() -> None:
    """Gradients of two actions differ, and the method's are those of the batch's actions."""
    agent = agent_on("sgqn")
    method: Any = agent.method
    seen: list[tuple[Tensor, Tensor]] = []
    real = method.mask
    method.mask = lambda values, image: (seen.append((values, image)), real(values, image))[1]
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 6, 9, SIZE, SIZE), generator=draws, dtype=torch.uint8)
    action = torch.tensor([0, 1, 2, 0, 1, 2])
    batch = Batch(Observation(images[0]), action, torch.rand(6), torch.full((6,), 0.9), Observation(images[1]))
    before = copy.deepcopy(agent.learner)
    agent.method.get_ready()
    agent.updater.update(batch, no_sample)
    values, image = seen[0]
    plain = image.detach().requires_grad_()
    table = before.critic(before.latent(Observation(plain)))  # type: ignore[operator]
    torch.testing.assert_close(values[0], table[torch.arange(6), action])
    taken, other = (pixel_gradient(table[torch.arange(6), a], plain, guided=True) for a in (action, (action + 1) % 3))
    assert not torch.allclose(taken, other)
    assert len(seen) == 2 and seen[1][0].shape == (1, 6)


@pytest.mark.slow
def test_a_run_is_evaluated_explained_and_exported(tmp_path: Path) -> None:
    agent = agent_on("sgqn").learn(20, run=tmp_path / "run", progress=False, evaluate_every=10, evaluate_episodes=1)
    results = foveal.evaluate(agent, on=["train"], episodes=2, progress=False)
    assert len(results.conditions[0].episodes) == 2
    page = foveal.explain(agent, out=tmp_path / "page.html", progress=False, moments=6, frames=2)
    assert page.stat().st_size > 10_000
    pytest.importorskip("onnxruntime")
    assert agent.export(tmp_path / "policy.onnx").is_file()


def test_an_environment_by_id_works_too() -> None:
    gymnasium.register("SeamBright-v0", entry_point=lambda: Bright())
    try:
        agent = foveal.Agent("SeamBright-v0", method="svea", learner="dqn", preset="debug")
        assert agent.config.learner == "dqn" and agent.shapes.action == spaces.Discrete(3)
    finally:
        del gymnasium.registry["SeamBright-v0"]


def test_the_paper_preset_is_mnihs() -> None:
    config = configure("Any-v0", "none", "dqn")
    training = config.training
    assert (training.batch_size, training.updates_per_step, training.initial_random_steps) == (32, 0.25, 50_000)
    assert (config.environment.frame_stack, config.learner_config.target_period) == (4, 10_000)
