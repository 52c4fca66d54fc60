"""SAC against closed forms: densities by integration, targets and losses by hand, and what each step may move."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor, nn
from torch.distributions import kl_divergence

from foveal.config.tree import configure
from foveal.errors import FovealError
from foveal.learners import CriticInput, Shapes
from foveal.learners.sac import SAC, SACConfig, squashed_log_prob
from foveal.networks.encoders import EncoderConfig
from foveal.replay import ReplayBuffer
from foveal.types import Batch, Observation

IMAGE = (6, 16, 16)
SMALL = SACConfig(encoder=EncoderConfig(strides=(2, 1), filters=4, projection=6), hidden=12)
PARTS = ("convolutions", "projection", "critics", "actor_projection", "policy", "log_alpha")
TARGETS = ("target_convolutions", "target_projection", "target_critics")


def box(size: int) -> spaces.Box:
    return spaces.Box(-1.0, 1.0, (size,), np.float32)


def sac(actions: int = 2, vector: int = 0, config: SACConfig = SMALL, seed: int = 0) -> SAC:
    """A learner whose every weight, targets' included, is off its initial value, so that no two networks agree."""
    torch.manual_seed(seed)
    learner = SAC(config, Shapes(IMAGE, vector, box(actions)), torch.float32, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return learner


def observation(size: int = 4, vector: int = 0, seed: int = 0) -> Observation:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (size, *IMAGE), generator=generator).float()
    return Observation(image, torch.randn(size, vector, generator=generator) if vector else None)


def transitions(reward: list[float], discount: list[float], actions: int = 2, vector: int = 0) -> Batch:
    size = len(reward)
    action = torch.rand(size, actions, generator=torch.Generator().manual_seed(5)) * 2 - 1
    obs, next_obs = observation(size, vector, seed=1), observation(size, vector, seed=2)
    return Batch(obs, action, torch.tensor(reward), torch.tensor(discount), next_obs)


def twin(generator: torch.Generator | None) -> torch.Generator:
    """Another generator at the same place: it tells what the first will draw."""
    assert generator is not None
    return torch.Generator().set_state(generator.get_state())


def weights(learner: SAC) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in learner.state_dict().items()}


def moved(learner: SAC, before: dict[str, Tensor]) -> set[str]:
    """Names of the parts of which something differs."""
    after = learner.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


# --- the squashed Gaussian --------------------------------------------------------------------------------------------


def log_density(action: NDArray[np.float64], mean: float, std: float) -> NDArray[np.float64]:
    """SAC's log density at actions in (-1, 1), in one dimension."""
    raw = torch.from_numpy(np.arctanh(action))[:, None]
    log_std = torch.full_like(raw, math.log(std))
    return squashed_log_prob((raw - mean) / std, log_std, raw).numpy()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.3), (0.4, 1.0), (-1.5, 0.5), (3.0, 1.0), (-5.0, 0.5), (0.0, 3.0)])
def test_the_density_integrates_to_one_and_to_the_gaussians_probabilities(mean: float, std: float) -> None:
    # Points that are even before tanh resolve the mass near -1 and 1, where a saturated policy has all of it.
    action = np.tanh(np.linspace(max(mean - 9 * std, -17.0), min(mean + 9 * std, 17.0), 200_001))
    action = np.unique(action)
    density = np.exp(log_density(action, mean, std))
    heights = (density[1:] + density[:-1]) / 2 * np.diff(action)
    assert heights.sum() == pytest.approx(1.0, abs=1e-4)
    middle = len(action) // 3
    expected = norm.cdf(np.arctanh(action[middle]), mean, std)  # P(tanh x <= a) = P(x <= atanh a)
    assert heights[:middle].sum() == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.floats(-20, 20), st.floats(-10, 2), st.floats(-4, 4)), min_size=1, max_size=4),
)
def test_log_prob_equals_the_change_of_variables_also_where_tanh_saturates(
    dimensions: list[tuple[float, float, float]],
) -> None:
    mean, log_std, noise = np.array(dimensions).T
    raw = mean + np.exp(log_std) * noise
    # d tanh(x) / dx = 1 / cosh(x)^2, and log cosh(x) = log(e^x + e^-x) - log 2 in float64.
    log_slope = -2 * (np.logaddexp(raw, -raw) - np.log(2))
    expected = (norm.logpdf(noise) - log_std - log_slope).sum()
    ours = squashed_log_prob(*(torch.tensor(x, dtype=torch.float32)[None] for x in (noise, log_std, raw)))
    assert ours.shape == (1,)
    assert float(ours) == pytest.approx(expected, rel=1e-5, abs=1e-3)


def gaussian(learner: SAC, obs: Observation) -> tuple[Tensor, Tensor]:
    """Its mean and log standard deviation before tanh."""
    return learner._gaussian(learner.features(obs), obs.vector)


def test_sampled_actions_come_with_the_log_probability_of_their_gaussian() -> None:
    learner, obs = sac(actions=3), observation(6)
    noise = torch.randn(6, 3, generator=twin(learner.generator)).double()
    action, log_prob = learner._sample(learner.features(obs), obs.vector)
    mean, log_std = (part.double() for part in gaussian(learner, obs))
    raw = mean + log_std.exp() * noise
    torch.testing.assert_close(action, torch.tanh(raw).float(), rtol=1e-4, atol=1e-4)
    oracle = torch.distributions.Normal(mean, log_std.exp()).log_prob(raw) + 2 * torch.cosh(raw).log()
    torch.testing.assert_close(log_prob, oracle.sum(1).float(), rtol=1e-3, atol=1e-3)


def test_the_standard_deviation_stays_within_its_bounds() -> None:
    learner = sac()
    output = learner.policy[-1]
    assert isinstance(output, nn.Linear)
    for bias, bound in ((-100.0, -10.0), (100.0, 2.0), (0.0, -4.0)):
        with torch.no_grad():
            output.weight.zero_()
            output.bias.fill_(bias)
        torch.testing.assert_close(gaussian(learner, observation())[1], torch.full((4, 2), bound))


# --- acting -----------------------------------------------------------------------------------------------------------


def test_acting_is_the_tanh_of_the_mean_or_a_sample_from_the_callers_generator() -> None:
    learner, obs, generator = sac(vector=3), observation(vector=3), torch.Generator().manual_seed(7)
    drawn, before = twin(generator), twin(learner.generator).get_state()
    mean = learner.act(obs, True, generator)
    assert torch.equal(generator.get_state(), drawn.get_state())  # nothing was drawn
    sampled = learner.act(obs, False, generator)
    noise = torch.randn(4, 2, generator=drawn)
    assert torch.equal(twin(learner.generator).get_state(), before)  # acting never shifts the draws of training
    assert not sampled.requires_grad

    torch.testing.assert_close(mean, learner.best_action(obs).detach(), rtol=0, atol=0)
    raw, log_std = (part.detach() for part in gaussian(learner, obs))
    torch.testing.assert_close(mean, torch.tanh(raw), rtol=0, atol=0)
    expected = torch.tanh(raw + log_std.exp() * noise)
    torch.testing.assert_close(sampled, expected, rtol=1e-4, atol=1e-4)


def test_discrete_actions_are_refused() -> None:
    with pytest.raises(FovealError, match=r"'sac' needs Box actions.*has Discrete.*learner for discrete actions"):
        SAC(SMALL, Shapes(IMAGE, 0, spaces.Discrete(4)), torch.float32)


# --- targets ----------------------------------------------------------------------------------------------------------


def constant(learner: Any, values: tuple[float, float], mean: float, spread: float) -> None:
    """Make both target critics and the policy ignore what they see; ``spread`` is the policy's last bias."""
    with torch.no_grad():
        for head, value in zip(learner.target_critics.heads, values, strict=True):
            head[-1].weight.zero_()
            head[-1].bias.fill_(value)
        learner.policy[-1].weight.zero_()
        learner.policy[-1].bias.copy_(torch.tensor([mean, spread]))


def test_targets_of_a_batch_computed_by_hand() -> None:
    learner = sac(actions=1)
    constant(learner, values=(5.0, 3.0), mean=0.25, spread=math.atanh(2 / 3))  # tanh -> 2/3: log std is 0
    with torch.no_grad():
        learner.log_alpha.fill_(math.log(0.2))
    noise = torch.randn(3, 1, generator=twin(learner.generator)).double().numpy()[:, 0]
    targets = learner.targets(transitions([1.0, -2.0, 0.5], [0.99, 0.0, 0.99**3], actions=1))
    raw = 0.25 + noise
    log_prob = norm.logpdf(noise) - np.log(1 - np.tanh(raw) ** 2)
    soft_value = 3.0 - 0.2 * log_prob  # the smaller critic, and entropy
    expected = [1.0 + 0.99 * soft_value[0], -2.0, 0.5 + 0.99**3 * soft_value[2]]
    assert targets.tolist() == pytest.approx(expected, rel=1e-4)
    assert not targets.requires_grad


def plain_mlp(network: Any, x: Tensor) -> Tensor:
    first, second, third = (layer for layer in network if isinstance(layer, nn.Linear))
    return third(F.relu(second(F.relu(first(x)))))


def plain_latent(convolutions: Any, projection: Any, image: Tensor) -> Tensor:
    x = image / 255.0
    kernels = [layer for layer in convolutions.layers if isinstance(layer, nn.Conv2d)]
    for i, layer in enumerate(kernels):
        x = F.conv2d(F.relu(x) if i else x, layer.weight, layer.bias, layer.stride)
    x = projection.linear(x.movedim(1, -1).flatten(1))
    return torch.tanh(F.layer_norm(x, x.shape[1:], projection.norm.weight, projection.norm.bias))


def plain_policy(learner: SAC, obs: Observation, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Action and log-probability: the policy reads the trained convolutions through a projection of its own."""
    latent = plain_latent(learner.convolutions, learner.actor_projection, obs.image)
    latent = latent if obs.vector is None else torch.cat([latent, obs.vector], 1)
    mean, log_std = plain_mlp(learner.policy, latent).chunk(2, 1)
    std = (-10 + 6 * (torch.tanh(log_std) + 1)).exp()
    raw = mean + std * noise
    log_prob = torch.distributions.Normal(mean, std).log_prob(raw) - torch.log1p(-torch.tanh(raw).square())
    return torch.tanh(raw), log_prob.sum(1)


def plain_values(critics: Any, latent: Tensor, vector: Tensor | None, action: Tensor) -> Tensor:
    parts = [latent, action] if vector is None else [latent, vector, action]
    return torch.stack([plain_mlp(head, torch.cat(parts, 1))[:, 0] for head in critics.heads])


@pytest.mark.parametrize("vector", [0, 3])
def test_targets_equal_a_plain_transcription(vector: int) -> None:
    learner, batch = sac(vector=vector), transitions([1.0, 0.0, 2.0], [0.99, 0.99, 0.0], vector=vector)
    noise = torch.randn(3, 2, generator=twin(learner.generator))
    obs = batch.next_obs
    with torch.no_grad():
        action, log_prob = plain_policy(learner, obs, noise)
        latent = plain_latent(learner.target_convolutions, learner.target_projection, obs.image)
        values = plain_values(learner.target_critics, latent, obs.vector, action).min(0).values
        expected = batch.reward + batch.discount * (values - learner.log_alpha.exp() * log_prob)
    torch.testing.assert_close(learner.targets(batch), expected, rtol=1e-4, atol=1e-4)


def test_a_time_limit_bootstraps_and_a_termination_does_not() -> None:
    learner = sac(actions=1)
    constant(learner, values=(40.0, 50.0), mean=0.0, spread=0.0)
    batches = {}
    for ending in ("terminated", "truncated"):
        replay = ReplayBuffer(50, (3, 16, 16), frame_stack=2, action_shape=(1,), discount=0.9)
        frames = np.zeros((6, 16, 16), np.uint8)
        replay.begin(0, frames)
        replay.add(0, np.zeros(1, np.float32), 2.0, ending == "terminated", ending == "truncated", frames)
        batches[ending] = replay.sample(4)
    assert learner.targets(batches["terminated"]).tolist() == [2.0] * 4
    entropy_free = [2.0 + 0.9 * 40.0] * 4
    assert learner.targets(batches["truncated"]).tolist() == pytest.approx(entropy_free, abs=1.0)  # alpha 0.1


# --- critic -----------------------------------------------------------------------------------------------------------


def test_td_loss_is_the_sum_over_critics_of_the_mean_squared_error() -> None:
    learner = sac()
    estimate = learner.estimate(observation(2), torch.zeros(2, 2))
    values = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    loss = learner.td_loss(type(estimate)(estimate.features, estimate.latent, values, values), torch.tensor([0.0, 1.0]))
    assert float(loss) == (1 + 1) / 2 + (9 + 16) / 2


@pytest.mark.parametrize("vector", [0, 3])
def test_values_equal_a_plain_transcription(vector: int) -> None:
    learner, obs = sac(vector=vector), observation(vector=vector)
    action = torch.rand(4, 2)
    estimate = learner.estimate(obs, action)
    latent = plain_latent(learner.convolutions, learner.projection, obs.image)
    torch.testing.assert_close(estimate.latent, latent, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(learner.latent(obs), estimate.latent)
    torch.testing.assert_close(estimate.values, plain_values(learner.critics, latent, obs.vector, action))
    assert estimate.prediction is estimate.values
    assert estimate.features.shape == (4, learner.feature_size)
    assert estimate.latent.shape == (4, learner.latent_size)
    assert learner.action_features(action) is action


def test_the_critics_optimizer_holds_convolutions_projection_critics_and_a_methods_parameters() -> None:
    learner, extra = sac(), nn.Parameter(torch.zeros(2))
    optimizer = learner.critic_optimizer([extra])
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    wanted = [learner.convolutions, learner.projection, learner.critics]
    assert held == {id(p) for part in wanted for p in part.parameters()} | {id(extra)}
    assert {id(p) for p in learner.encoder_parameters} == {id(p) for part in wanted[:2] for p in part.parameters()}


# --- what it offers to methods ---------------------------------------------------------------------------------------


def test_the_policys_distribution_has_the_densities_and_the_divergence_of_squashed_gaussians() -> None:
    learner = sac()
    one, two = observation(), observation()._replace(image=observation().image.flip(-1) / 3)
    (m, s), (n, t) = (
        (mean.double(), log_std.double().exp()) for mean, log_std in (gaussian(learner, obs) for obs in (one, two))
    )
    p, q = learner.distribution(one), learner.distribution(two)
    divergence = ((t / s).log() + (s.square() + (m - n).square()) / (2 * t.square()) - 0.5).sum(1)
    torch.testing.assert_close(kl_divergence(p, q).double(), divergence, rtol=1e-3, atol=1e-5)
    assert float(divergence.detach().min()) > 1e-4
    drawn, log_prob = learner._sample(learner.features(one).detach(), None)
    torch.testing.assert_close(p.log_prob(drawn), log_prob, rtol=1e-3, atol=1e-3)
    kl_divergence(p, q).sum().backward()
    assert all(p.grad is None for p in learner.convolutions.parameters())
    assert any(bool(p.grad.any()) for p in learner.policy.parameters() if p.grad is not None)


def test_the_target_latent_is_of_the_target_encoder_and_carries_no_graph() -> None:
    learner, obs = sac(), observation()
    latent = learner.target_latent(obs)
    expected = plain_latent(learner.target_convolutions, learner.target_projection, obs.image)
    torch.testing.assert_close(latent, expected, rtol=1e-4, atol=1e-5)
    assert not latent.requires_grad and not torch.allclose(latent, learner.latent(obs), atol=1e-4)


# --- actor and temperature --------------------------------------------------------------------------------------------


def test_the_actors_step_moves_its_projection_its_policy_and_the_temperature_alone() -> None:
    learner = sac(vector=3)
    before = weights(learner)
    learner.policy_step(observation(vector=3))
    assert moved(learner, before) == {"actor_projection", "policy", "log_alpha"}
    others = [p for part in PARTS[:3] + TARGETS for p in getattr(learner, part).parameters()]
    assert all(p.grad is None for p in others)  # not even a gradient for the next critic step to pick up


@pytest.mark.parametrize("vector", [0, 3])
def test_the_actors_loss_and_gradient_equal_a_plain_transcription(vector: int) -> None:
    learner, obs = sac(vector=vector), observation(vector=vector)
    noise = torch.randn(4, 2, generator=twin(learner.generator))
    action, log_prob = plain_policy(learner, obs, noise)
    latent = plain_latent(learner.convolutions, learner.projection, obs.image)
    value = plain_values(learner.critics, latent, obs.vector, action).min(0).values
    loss = (learner.log_alpha.exp().detach() * log_prob - value).mean()
    expected = torch.autograd.grad(loss, learner.actor_parameters())
    metrics = learner.policy_step(obs)
    torch.testing.assert_close(metrics["actor/loss"], loss.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(metrics["actor/entropy"], -log_prob.detach().mean(), rtol=1e-4, atol=1e-5)
    for parameter, gradient in zip(learner.actor_parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_actions_may_be_judged_on_another_observation_than_the_policy_acts_on() -> None:
    learner, obs = sac(vector=3), observation(vector=3)
    other = obs._replace(image=obs.image.flip(-1) / 2, vector=-obs.vector)
    noise = torch.randn(4, 2, generator=twin(learner.generator))
    action, log_prob = plain_policy(learner, obs, noise)
    latent = plain_latent(learner.convolutions, learner.projection, other.image)
    value = plain_values(learner.critics, latent, other.vector, action).min(0).values
    expected = (learner.log_alpha.exp() * log_prob - value).mean().detach()
    critic_input = CriticInput(learner.features(other).detach(), other.vector)
    torch.testing.assert_close(
        learner.policy_step(obs, critic_input=critic_input)["actor/loss"], expected, rtol=1e-4, atol=1e-5
    )
    assert abs(float(sac(vector=3).policy_step(obs)["actor/loss"] - expected)) > 1e-3


def test_a_methods_term_is_added_to_the_actors_loss() -> None:
    plain, extended = sac(), sac()
    bias, other = plain.actor_projection.linear.bias, extended.actor_projection.linear.bias
    first = plain.policy_step(observation())["actor/loss"]
    term = 3.0 * other.detach().sum()
    second = extended.policy_step(observation(), lambda: 3.0 * other.sum())["actor/loss"]
    torch.testing.assert_close(second - first, term, rtol=1e-3, atol=1e-4)
    assert bias.grad is not None and other.grad is not None
    torch.testing.assert_close(other.grad - bias.grad, torch.full((6,), 3.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("spread", "direction"), [(-3.0, 1.0), (math.atanh(2 / 3), -1.0)])
def test_the_temperature_moves_towards_the_target_entropy(spread: float, direction: float) -> None:
    """A nearly deterministic policy lacks entropy: alpha rises. One of std 1 has more than -1: alpha falls."""
    learner = sac(actions=1)
    constant(learner, values=(0.0, 0.0), mean=0.0, spread=spread)
    before = float(learner.log_alpha.detach())
    entropy = float(learner.policy_step(observation(64))["actor/entropy"])
    assert np.sign(learner.target_entropy - entropy) == direction
    change = float(learner.log_alpha.detach()) - before
    assert change == pytest.approx(direction * 1e-4, abs=1e-6)  # Adam's first step is its step size


def test_target_entropy_is_minus_the_number_of_actions() -> None:
    assert [sac(actions=n).target_entropy for n in (1, 2, 6)] == [-1.0, -2.0, -6.0]


def test_the_temperatures_gradient_is_alpha_times_the_surplus_of_entropy() -> None:
    learner = sac()
    alpha = float(learner.log_alpha.detach().exp())
    entropy = float(learner.policy_step(observation())["actor/entropy"])
    assert learner.log_alpha.grad is not None
    assert float(learner.log_alpha.grad) == pytest.approx(alpha * (entropy + 2.0), rel=1e-4)


# --- target networks --------------------------------------------------------------------------------------------------


def test_targets_start_as_copies_without_gradients() -> None:
    torch.manual_seed(0)
    learner = SAC(SMALL, Shapes(IMAGE, 0, box(2)), torch.float32)
    for name in TARGETS:
        target, source = getattr(learner, name), getattr(learner, name.removeprefix("target_"))
        assert all(torch.equal(t, s) for t, s in zip(target.parameters(), source.parameters(), strict=True))
        assert not any(p.requires_grad for p in target.parameters())


def test_target_networks_move_by_their_own_taus() -> None:
    learner = sac()
    before = weights(learner)
    learner.update_target_networks()
    assert moved(learner, before) == set(TARGETS)
    for name, tau in zip(TARGETS, (0.05, 0.05, 0.01), strict=True):  # the encoder five times as fast as the critics
        for key, new in getattr(learner, name).state_dict().items():
            old, source = before[f"{name}.{key}"], before[f"{name.removeprefix('target_')}.{key}"]
            torch.testing.assert_close(new, (1 - tau) * old + tau * source)


# --- the paper's numbers ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paper() -> SAC:
    config = configure("dmc/walker-walk", "none", "sac", "paper").learner_config
    return SAC(config, Shapes((9, 84, 84), 0, box(6)), torch.float32)


def count(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


@pytest.mark.slow
def test_the_paper_preset_has_the_published_architecture(paper: SAC) -> None:
    hidden = 1024 * 1024 + 1024
    assert count(paper.convolutions) == 95_104
    for projection in (paper.projection, paper.actor_projection):
        assert [type(m) for m in projection.children()] == [nn.Linear, nn.LayerNorm]
        assert count(projection) == 14_112 * 100 + 100 + 2 * 100
    assert [count(head) for head in paper.critics.heads] == [(106 * 1024 + 1024) + hidden + (1024 + 1)] * 2
    assert count(paper.policy) == (100 * 1024 + 1024) + hidden + (1024 * 12 + 12)
    trained = [getattr(paper, name) for name in PARTS[:-1]]
    assert sum(map(count, trained)) == sum(p.numel() for p in paper.parameters() if p.requires_grad) - 1  # log alpha


@pytest.mark.slow
def test_the_paper_preset_has_the_published_optimizers(paper: SAC) -> None:
    optimizers = {"critic": paper.critic_optimizer([]), **paper.optimizers()}
    assert all(type(optimizer) is torch.optim.Adam for optimizer in optimizers.values())
    settings = {
        name: (group["lr"], group["betas"], group["weight_decay"], group["eps"])
        for name, optimizer in optimizers.items()
        for group in optimizer.param_groups
    }
    assert settings == {
        "critic": (1e-3, (0.9, 0.999), 0, 1e-8),
        "actor": (1e-3, (0.9, 0.999), 0, 1e-8),
        "alpha": (1e-4, (0.5, 0.999), 0, 1e-8),
    }
    held = {id(p) for p in optimizers["actor"].param_groups[0]["params"]}
    assert held == {id(p) for part in (paper.actor_projection, paper.policy) for p in part.parameters()}


def test_the_paper_preset_has_the_published_constants(paper: SAC) -> None:
    config = paper.config
    assert paper.policy_periods() == (2, 2)
    assert (config.critic_tau, config.encoder_tau) == (0.01, 0.05)
    assert (config.log_std_min, config.log_std_max) == (-10.0, 2.0)
    assert float(paper.log_alpha.detach().exp()) == pytest.approx(0.1)
    assert paper.target_entropy == -6.0
    assert not config.encoder.centred
