"""DrQ-v2's learner: targets, noise and the policy's step by hand, what each step may move, what methods may ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor, nn
from torch.distributions import kl_divergence

from foveal.augmentations import AugmentationOptions
from foveal.config.tree import configure
from foveal.errors import FovealError
from foveal.learners import CriticInput, Shapes
from foveal.learners.drqv2 import MARGIN, DrQV2, DrQV2Config, published_encoder
from foveal.methods import PolicyView, Setup
from foveal.methods.none import NoMethod, NoneConfig
from foveal.training.updater import Updater
from foveal.types import Batch, Observation
from small_env import SIZE, SavedCounter, small_agent

IMAGE = (6, 16, 16)
SMALL = DrQV2Config(
    encoder=replace(published_encoder(), strides=(2, 1), filters=4, projection=6), hidden=12, std_steps=100
)


def drqv2(actions: int = 2, vector: int = 0, step: int = 0, **changes: Any) -> DrQV2:
    """A learner whose every weight is off its initial value, so that no two networks agree, at an agent step."""
    torch.manual_seed(0)
    shapes = Shapes(IMAGE, vector, spaces.Box(-1.0, 1.0, (actions,), np.float32))
    learner = DrQV2(replace(SMALL, **changes), shapes, torch.float32, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    learner.set_step(step)
    return learner


def observation(size: int = 4, vector: int = 0, seed: int = 0) -> Observation:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (size, *IMAGE), generator=generator).float()
    return Observation(image, torch.randn(size, vector, generator=generator) if vector else None)


def transitions(vector: int = 0, actions: int = 2) -> Batch:
    action = torch.rand(4, actions, generator=torch.Generator().manual_seed(5)) * 2 - 1
    reward, discount = torch.tensor([1.0, -2.0, 0.5, 0.0]), torch.tensor([0.99**3, 0.0, 0.99, 0.99**3])
    return Batch(observation(4, vector, 1), action, reward, discount, observation(4, vector, 2))


def twin(learner: DrQV2) -> torch.Generator:
    """Another generator at the same place: it tells what the learner's will draw."""
    assert learner.generator is not None
    return torch.Generator().set_state(learner.generator.get_state())


def updater_of(learner: DrQV2, method: type[NoMethod] = NoMethod) -> Updater:
    setup = Setup(learner, IMAGE, AugmentationOptions(16), torch.Generator(), torch.float32)
    return Updater(learner, method(NoneConfig(), setup), pixel_gradient=False)


# --- the published formulas, written plainly --------------------------------------------------------------------------


def plain_features(learner: Any, image: Tensor) -> Tensor:
    """A ReLU after each convolution of pixels in [-0.5, 0.5]."""
    x = image / 255.0 - 0.5
    for layer in learner.convolutions.layers:
        if isinstance(layer, nn.Conv2d):
            x = F.relu(F.conv2d(x, layer.weight, layer.bias, layer.stride))
    return x.movedim(1, -1).flatten(1)


def plain_head(projection: Any, network: Any, features: Tensor, *beside: Tensor | None) -> Tensor:
    """Linear, layer normalisation, tanh; then a perceptron on that and what stands beside it."""
    hidden = projection.linear(features)
    hidden = torch.tanh(F.layer_norm(hidden, hidden.shape[1:], projection.norm.weight, projection.norm.bias))
    first, second, third = (layer for layer in network if isinstance(layer, nn.Linear))
    x = torch.cat([hidden, *(part for part in beside if part is not None)], 1)
    return third(F.relu(second(F.relu(first(x)))))


def plain_values(learner: Any, features: Tensor, vector: Tensor | None, action: Tensor, prefix: str = "") -> Tensor:
    projection, critics = getattr(learner, f"{prefix}projection"), getattr(learner, f"{prefix}critics")
    return torch.stack([plain_head(projection, head, features, vector, action)[:, 0] for head in critics.heads])


def plain_mean(learner: Any, features: Tensor, vector: Tensor | None) -> Tensor:
    return torch.tanh(plain_head(learner.actor_projection, learner.policy, features, vector))


# --- critic -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", [0, 3])
@pytest.mark.parametrize("step", [0, 95, 1000])
def test_targets_equal_a_plain_transcription(vector: int, step: int) -> None:
    learner, batch = drqv2(vector=vector, step=step), transitions(vector)
    noise = torch.randn(4, 2, generator=twin(learner))
    std = {0: 1.0, 95: 0.145, 1000: 0.1}[step]
    with torch.no_grad():
        features = plain_features(learner, batch.next_obs.image)  # no target encoder
        action = plain_mean(learner, features, batch.next_obs.vector) + (std * noise).clamp(-0.3, 0.3)
        action = action.clamp(-1 + 1e-6, 1 - 1e-6)
        values = plain_values(learner, features, batch.next_obs.vector, action, "target_").min(0).values
        expected = batch.reward + batch.discount * values
    target = learner.targets(batch)
    torch.testing.assert_close(target, expected, rtol=1e-4, atol=1e-5)
    assert not target.requires_grad and float(target[1]) == -2.0


def test_values_and_their_loss_equal_a_plain_transcription() -> None:
    learner, batch = drqv2(vector=3), transitions(3)
    estimate = learner.estimate(batch.obs, batch.action)
    features = plain_features(learner, batch.obs.image)
    values = plain_values(learner, features, batch.obs.vector, batch.action)
    torch.testing.assert_close(estimate.values, values, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(estimate.features, features, rtol=1e-4, atol=1e-5)
    assert bool((estimate.features >= 0).all()) and estimate.prediction is estimate.values
    target = torch.tensor([0.0, 1.0, 2.0, 3.0])
    expected = F.mse_loss(values[0], target) + F.mse_loss(values[1], target)
    torch.testing.assert_close(learner.td_loss(estimate, target), expected, rtol=1e-4, atol=1e-5)


# --- policy -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_policys_step_is_up_the_smaller_value_of_its_clipped_action(elsewhere: bool) -> None:
    learner, obs = drqv2(step=50), observation(64)
    with torch.no_grad():  # some actions leave [-1, 1] with their noise, which stops no gradient
        learner.policy[-1].bias += 1.5  # type: ignore[operator]
    noise = torch.randn(64, 2, generator=twin(learner))
    other = observation(64, seed=9)
    features, judged = (plain_features(learner, o.image).detach() for o in (obs, other if elsewhere else obs))
    action = plain_mean(learner, features, None) + (0.55 * noise).clamp(-0.3, 0.3)
    outside = action.abs() > 1
    assert 0.1 < float(outside.float().mean()) < 0.9
    kept = torch.where(outside, action + (action.sign() * (1 - MARGIN) - action).detach(), action)
    loss = -plain_values(learner, judged, None, kept).min(0).values.mean()
    expected = torch.autograd.grad(loss, learner.actor_parameters())
    critic_input = CriticInput(learner.features(other).detach(), None) if elsewhere else None
    metrics = learner.policy_step(obs, critic_input=critic_input)
    torch.testing.assert_close(metrics["actor/loss"], loss.detach(), rtol=1e-4, atol=1e-6)
    for ours, plain in zip(learner.actor_parameters(), expected, strict=True):
        torch.testing.assert_close(ours.grad, plain, rtol=1e-3, atol=1e-6)


def test_a_methods_term_joins_the_policys_loss() -> None:
    learner = drqv2()
    before = twin(learner).get_state()
    plain = learner.policy_step(observation())["actor/loss"]
    learner = drqv2()
    assert torch.equal(twin(learner).get_state(), before)
    mean = learner.distribution(observation()).mean
    torch.testing.assert_close(learner.policy_step(observation(), lambda: mean.sum())["actor/loss"], plain + mean.sum())


@pytest.mark.parametrize(("step", "std"), [(0, 0.9), (25, 0.7), (100, 0.1), (10**9, 0.1)])
def test_exploration_fades_linearly_by_agent_step(step: int, std: float) -> None:
    learner = drqv2(initial_std=0.9, step=step)
    assert float(learner.std()) == pytest.approx(std)
    obs = Observation(observation(1).image.expand(4000, -1, -1, -1))
    generator = torch.Generator().manual_seed(3)
    action, mean = learner.act(obs, False, generator), learner.act(obs, True, generator)
    noise = torch.randn(4000, 2, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(action, (mean + std * noise).clamp(-1 + MARGIN, 1 - MARGIN), rtol=1e-5, atol=1e-5)
    assert float((action - mean).abs().max()) > 0.3  # what acts is not clipped
    assert float(action.abs().max()) < 1 and not action.requires_grad


def test_the_step_keeps_its_address_so_that_a_cuda_graph_reads_the_present_one() -> None:
    learner = drqv2()
    address = learner.agent_step.data_ptr()
    learner.set_step(50)
    assert learner.agent_step.data_ptr() == address and float(learner.std()) == pytest.approx(0.55)


def test_discrete_actions_are_refused() -> None:
    with pytest.raises(FovealError, match=r"'drqv2' needs Box actions.*has Discrete.*learner for discrete actions"):
        DrQV2(SMALL, Shapes(IMAGE, 0, spaces.Discrete(4)), torch.float32)


# --- what each step moves ---------------------------------------------------------------------------------------------


def moved(learner: DrQV2, before: dict[str, Tensor]) -> set[str]:
    after = learner.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_each_step_moves_its_own_parts() -> None:
    learner, batch = drqv2(), transitions()
    parts = {name.split(".")[0] for name in learner.state_dict()}
    critic, actor, target = (
        {"convolutions", "projection", "critics"},
        {"actor_projection", "policy"},
        {"target_projection", "target_critics"},
    )
    assert parts == critic | actor | target
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    learner.policy_step(batch.obs)
    assert moved(learner, before) == actor
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    learner.update_target_networks()
    assert moved(learner, before) == target
    for name in ("critics.heads.0.0.weight", "projection.linear.weight"):
        after = learner.state_dict()
        torch.testing.assert_close(after[f"target_{name}"], 0.99 * before[f"target_{name}"] + 0.01 * before[name])
    optimizer = learner.critic_optimizer([])
    learner.td_loss(learner.estimate(batch.obs, batch.action), torch.zeros(4)).backward()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    optimizer.step()
    assert moved(learner, before) == critic


def test_every_update_moves_everything() -> None:
    learner = drqv2()
    updater = updater_of(learner)
    for _ in range(3):
        before = {name: value.clone() for name, value in learner.state_dict().items()}
        updater.update(transitions(), lambda size: transitions())
        assert moved(learner, before) == {name.split(".")[0] for name in before}


def test_the_policy_learns_from_the_features_of_the_critics_loss_and_nothing_is_encoded_again() -> None:
    learner, batch = drqv2(critic_lr=1.0), transitions()
    updater = updater_of(learner)
    before = plain_features(learner, batch.obs.image).detach()
    encoded: list[Tensor] = []
    learner.convolutions.register_forward_hook(lambda module, inputs, output: encoded.append(inputs[0]))
    given: list[Any] = []
    step = learner.policy_step
    learner.policy_step = lambda *arguments: (given.append(arguments), step(*arguments))[1]  # type: ignore[method-assign]
    updater.update(batch, lambda size: batch)
    torch.testing.assert_close(given[0][2], before, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain_features(learner, batch.obs.image), before, atol=0.1)
    assert len(encoded) == 2 and not given[0][2].requires_grad


class Mirrored(NoMethod):
    """The policy acts on what was not encoded yet, and is judged on what was."""

    def policy_views(self, context: Any) -> list[PolicyView]:
        obs = context.batch.obs
        return [PolicyView(obs._replace(image=obs.image.flip(3)), obs)]


def test_what_the_critic_did_not_see_is_encoded_for_the_policy() -> None:
    learner, batch = drqv2(critic_lr=1.0), transitions()
    updater = updater_of(learner, Mirrored)
    before = plain_features(learner, batch.obs.image).detach()
    given: list[Any] = []
    step = learner.policy_step
    learner.policy_step = lambda *arguments: (given.append(arguments), step(*arguments))[1]  # type: ignore[method-assign]
    updater.update(batch, lambda size: batch)
    _, _, features, critic_input = given[0]
    torch.testing.assert_close(critic_input.features, before, rtol=1e-4, atol=1e-5)
    now = plain_features(learner, batch.obs.image.flip(3))
    torch.testing.assert_close(features, now, rtol=1e-4, atol=1e-4)


# --- what it offers to methods ----------------------------------------------------------------------------------------


def test_the_policys_distribution_has_the_divergence_of_gaussians_of_one_spread() -> None:
    learner = drqv2(step=50)
    one, two = observation(), observation(seed=3)
    p, q = learner.distribution(one), learner.distribution(two)
    means = [plain_mean(learner, plain_features(learner, obs.image), None) for obs in (one, two)]
    expected = ((means[0] - means[1]).square() / (2 * 0.55**2)).sum(1)
    divergence = kl_divergence(p, q)
    torch.testing.assert_close(divergence, expected, rtol=1e-3, atol=1e-6)
    assert float(divergence.detach().min()) > 1e-5
    divergence.sum().backward()
    assert all(p.grad is None for p in learner.convolutions.parameters())
    assert all(p.grad is not None for p in learner.actor_parameters())
    torch.testing.assert_close(p.mean, learner.best_action(one))


def test_the_target_latent_is_of_the_trained_convolutions() -> None:
    learner, obs = drqv2(), observation()
    latent = learner.target_latent(obs)
    expected = learner.target_projection(plain_features(learner, obs.image))  # type: ignore[operator]
    torch.testing.assert_close(latent, expected.detach(), rtol=1e-4, atol=1e-5)
    assert not latent.requires_grad and latent.shape == (4, learner.latent_size)
    assert not torch.allclose(latent, learner.latent(obs), atol=1e-2)


# --- learning ---------------------------------------------------------------------------------------------------------


class Levers(SavedCounter):
    """Pictures are bright or dark; the nearer both levers are to the side that fits, the better."""

    def step(self, action: Any) -> Any:
        wanted = 1.0 if self._bright else -1.0
        paid = 1.0 - float(np.abs(action - wanted).mean())
        obs, _, terminated, truncated, info = super().step(action)
        return obs, paid, terminated, truncated, info

    def _observe(self) -> Any:
        self._bright = bool(self.np_random.random() < 0.5)
        self.made += 1
        return np.full((SIZE, SIZE, 3), 220 if self._bright else 30, np.uint8)


@pytest.mark.slow
def test_it_learns_where_to_pull() -> None:
    agent = small_agent(
        Levers,
        method="drq",
        learner="drqv2",
        training={"precision": "float32", "discount": 0.0, "batch_size": 16},
        environment={"frame_stack": 1},
        drqv2={"critic_lr": 3e-3, "actor_lr": 3e-3},
    )
    pictures = np.stack([np.full((3, SIZE, SIZE), value, np.uint8) for value in (30, 220)])
    wanted = np.array([[-1.0], [1.0]])

    def distance() -> float:
        return float(np.abs(agent.predict(pictures, deterministic=True)[0] - wanted * 0.5).max())

    before = distance()
    agent.learn(300, progress=False, evaluate_every=0)
    assert distance() < 0.25 < before


# --- its numbers ------------------------------------------------------------------------------------------------------


def test_the_paper_preset_is_the_published_configuration() -> None:
    config = configure("dmc/quadruped-walk", "drq", "drqv2")
    training, learner = config.training, config.learner_config
    assert (training.batch_size, training.n_step, training.discount, training.replay_capacity) == (256, 3, 0.99, 10**6)
    assert (training.updates_per_step, training.initial_random_steps, training.catch_up_updates) == (0.5, 2000, 0)
    assert (config.environment.action_repeat, config.environment.frame_stack, config.environment.image_size) == (
        2,
        3,
        84,
    )
    assert learner == DrQV2Config() and config.method_config.shift == 4
    encoder = learner.encoder
    assert (encoder.strides, encoder.filters, encoder.kernel, encoder.first_kernel) == ((2, 1, 1, 1), 32, 3, 3)
    assert (encoder.projection, encoder.centred, encoder.last_relu, encoder.initialization) == (
        50,
        True,
        True,
        "orthogonal",
    )
    assert (learner.hidden, learner.critic_lr, learner.actor_lr, learner.tau) == (1024, 1e-4, 1e-4, 0.01)
    assert (learner.initial_std, learner.final_std, learner.noise_clip) == (1.0, 0.1, 0.3)


@pytest.mark.parametrize(
    ("env", "difficulty", "steps"),
    [
        ("cartpole-balance", "easy", 100_000),
        ("ball_in_cup-catch", "easy", 100_000),
        ("walker-run", "medium", 500_000),
        ("humanoid-run", "hard", 2_000_000),
    ],
)
def test_schedules_are_published_by_task(env: str, difficulty: str, steps: int) -> None:
    settings = configure(f"dmc/{env}", "none", "drqv2").learner_config
    hard = difficulty == "hard"
    assert settings.difficulty == difficulty
    assert settings.actor_lr == settings.critic_lr == (8e-5 if hard else 1e-4)
    assert settings.encoder.projection == (100 if hard else 50)
    half = drqv2(step=steps // 2, difficulty=settings.difficulty, std_steps=settings.std_steps)
    assert float(half.std()) == pytest.approx(0.55)


def test_walkers_learn_from_single_steps_and_larger_batches() -> None:
    def run(env: str, preset: str = "paper", **training: int) -> tuple[int, int, int]:
        overrides = {"training": training} if training else {}
        settings = configure(env, "drq", "drqv2", preset, overrides=overrides).training
        return settings.n_step, settings.batch_size, settings.replay_capacity

    assert run("dmc/walker-walk") == (1, 512, 10**6)
    assert run("dmc/quadruped-run") == (3, 256, 10**5)
    assert run("dmc/cheetah-run") == run("walker-walk") == (3, 256, 10**6)
    assert run("dmc/walker-walk", "compact") == (3, 64, 10**5)
    assert run("dmc/walker-walk", batch_size=32) == (1, 32, 10**6)


def test_steps_of_the_schedule_go_over_the_tasks_difficulty() -> None:
    settings = configure("dmc/walker-walk", "none", "drqv2", "compact").learner_config
    assert (settings.difficulty, settings.std_steps) == ("easy", DrQV2.presets["compact"]["std_steps"])
    assert float(drqv2(step=5, difficulty="hard", std_steps=10).std()) == pytest.approx(0.55)


def test_networks_start_as_published() -> None:
    learner: Any = DrQV2(SMALL, Shapes(IMAGE, 0, spaces.Box(-1.0, 1.0, (2,), np.float32)), torch.float32)
    for layer in learner.convolutions.layers:
        if isinstance(layer, nn.Conv2d):
            values = torch.linalg.svdvals(layer.weight.detach().flatten(1))
            torch.testing.assert_close(values, torch.full_like(values, 2**0.5))
    for part in (learner.projection, learner.actor_projection, learner.policy, *learner.critics.heads):
        for layer in part.modules():
            if isinstance(layer, nn.Linear):
                values = torch.linalg.svdvals(layer.weight.detach())
                torch.testing.assert_close(values, torch.ones_like(values))
                assert not layer.bias.any()
