"""Two published methods written with the hooks alone, as anyone outside would: MaDi and SADA.

MaDi (Grooten et al., AAMAS 2024) puts a masker before every network, acting and targets included, and trains it by the
critic's loss. SADA (Almuzairee, Hansen and Christensen, RLC 2024) lets the policy act on weak and strong views alike,
both judged on the weak one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import foveal
from foveal.augmentations import random_shift
from foveal.bench.updates import noise_replay
from foveal.learners.sac import SAC
from foveal.methods import METHODS, Context, Method, PolicyView, Setup, View
from foveal.methods.base import StrongAugmentation
from foveal.training.cuda_graphs import WARM_UP, CapturedUpdater
from foveal.types import Batch, Observation
from small_env import Counter, SavedCounter, differing, small_agent, weights


@dataclass(frozen=True)
class TwoViewsConfig:
    """What both take from SVEA."""

    augmentation: str = "overlay"
    shift: int = 4


class TwoViews(Method):
    """Half the TD loss on the shifted observation, half on the same under a strong augmentation."""

    Config = TwoViewsConfig
    augment: StrongAugmentation
    capturable = True

    def __init__(self, config: TwoViewsConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.augment = StrongAugmentation(config.augmentation, setup.augmentation)

    def prepare(self, batch: Batch) -> Batch:
        return batch.with_images(lambda image: random_shift(image, self.config.shift, self.generator))

    def views(self, batch: Batch) -> list[View]:
        strong = batch.obs._replace(image=self.augment(batch.obs.image, self.generator))
        return [View(batch.obs, 0.5), View(strong, 0.5)]


class MaDi(TwoViews):
    """A masker of three convolutions, frame by frame, in front of everything."""

    def __init__(self, config: TwoViewsConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        layers = [nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 32), (32, 32), (32, 1))]
        self.masker = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2], nn.Sigmoid())

    def observe(self, obs: Observation) -> Observation:
        frames = obs.image.float().unflatten(1, (-1, 3))  # (B, F, 3, H, W)
        masks = self.masker(frames.flatten(0, 1) / 255.0).unflatten(0, frames.shape[:2])  # (B, F, 1, H, W)
        return obs._replace(image=(frames * masks).flatten(1, 2).to(obs.image.dtype))

    def critic_parameters(self) -> list[nn.Parameter]:
        return list(self.masker.parameters())


class SADA(TwoViews):
    """The policy acts on both views, and the value of either action is judged on the weak one."""

    def policy_views(self, context: Context) -> list[PolicyView]:
        weak, strong = context.seen(0), context.seen(1)
        return [PolicyView(weak, weak), PolicyView(strong, weak)]


PEERS = {"madi": MaDi, "sada": SADA}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    METHODS.names()
    for name, method in PEERS.items():
        METHODS.register(name)(method)
    yield
    for name in PEERS:
        del METHODS._entries[name]


def discrete() -> SavedCounter:
    return SavedCounter(discrete=True)


def agent_of(method: str, learner: str = "sac", **settings: Any) -> foveal.Agent:
    env = SavedCounter if learner == "sac" else discrete
    agent = small_agent(env, method=method, learner=learner, training={"precision": "float32"}, **settings)
    draws = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in [*agent.learner.parameters(), *agent.method.parameters()]:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draws))
    agent.method.get_ready()
    return agent


def batch_for(agent: foveal.Agent, size: int = 4, seed: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, size, *agent.shapes.image), generator=draws, dtype=torch.uint8)
    if agent.config.learner == "dqn":
        action = torch.randint(0, 3, (size,), generator=draws)
    else:
        action = torch.rand(size, agent.learner.action_size, generator=draws) * 2 - 1
    reward = torch.rand(size, generator=draws)
    return Batch(Observation(images[0]), action, reward, torch.full((size,), 0.9), Observation(images[1]))


def no_sample(size: int) -> Batch:
    raise AssertionError(f"a further batch of {size}")


# --- what every method keeps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learner", ["sac", "dqn"])
@pytest.mark.parametrize("method", PEERS)
def test_they_are_saved_and_loaded_with_every_learner(method: str, learner: str, tmp_path: Path) -> None:
    agent = agent_of(method, learner)
    for seed in range(3):
        metrics = agent.updater.update(batch_for(agent, seed=seed), no_sample)
        assert all(bool(value.isfinite()) and not value.requires_grad for value in metrics.values())
    loaded = foveal.load(agent.save(tmp_path / "agent"), env=agent.env)
    assert isinstance(loaded, foveal.Agent)
    for each in (agent, loaded):
        each.updater.update(batch_for(agent, seed=9), no_sample)
    assert differing(weights(agent), weights(loaded)) == []
    image = batch_for(agent).obs.image.numpy()
    np.testing.assert_array_equal(*(a.predict(image, deterministic=True)[0] for a in (agent, loaded)))


@pytest.mark.parametrize("method", PEERS)
@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(method: str, tmp_path: Path) -> None:
    options = {"progress": False, "evaluate_every": 0, "checkpoint_every": 0}
    whole = small_agent(method=method).learn(26, run=tmp_path / "whole", **options)
    small_agent(method=method).learn(16, run=tmp_path / "cut", **options)
    trainer = foveal.resume(tmp_path / "cut", env=SavedCounter, progress=False)
    trainer.train(10)
    assert differing(weights(whole), weights(trainer.agent)) == []


# --- MaDi -------------------------------------------------------------------------------------------------------------


def masked(masker: nn.Module, image: Tensor) -> Tensor:
    """Frame after frame, written out."""
    frames = [image[:, start : start + 3] for start in range(0, image.shape[1], 3)]
    return torch.cat([frame * masker(frame / 255.0) for frame in frames], 1)


def test_everything_is_seen_through_the_mask_once() -> None:
    agent = agent_of("madi")
    seen: list[Tensor] = []
    real = agent.method.observe
    agent.method.observe = lambda obs: (seen.append(obs.image), real(obs))[1]  # type: ignore[method-assign]
    raw: list[Batch] = []
    views = agent.method.views
    agent.method.views = lambda batch: (raw.append(batch), views(batch))[1]  # type: ignore[method-assign]
    agent.updater.update(batch_for(agent), no_sample)
    (shown,) = raw
    assert seen[0] is shown.obs.image and seen[1] is shown.next_obs.image
    assert not torch.equal(seen[2], shown.obs.image)  # the strong view
    assert seen[3] is shown.obs.image and len(seen) == 4  # for the policy, by the masker that the critic's step trained
    agent.predict(batch_for(agent).obs.image.numpy())
    assert len(seen) == 5


def test_madis_loss_and_gradients_equal_a_plain_transcription() -> None:
    agent = agent_of("madi")
    learner, masker = copy.deepcopy((agent.learner, agent.method.masker))
    assert isinstance(learner, SAC)
    views: list[list[View]] = []
    real = agent.method.views
    agent.method.views = lambda batch: (views.append(real(batch)), views[-1])[1]  # type: ignore[method-assign]
    targets = agent.learner.targets
    told: list[Tensor] = []
    batches: list[Batch] = []
    agent.learner.targets = lambda batch: (batches.append(batch), told.append(targets(batch)), told[-1])[2]  # type: ignore[method-assign]
    agent.updater.updates = 1  # the critic's step alone
    batch = batch_for(agent)
    metrics = agent.updater.update(batch, no_sample)
    assert not batches[0].next_obs.image.requires_grad
    loss = torch.zeros(())
    for view in views[0]:
        first, second = learner.estimate(Observation(masked(masker, view.obs.image)), batch.action).values
        loss = loss + 0.5 * (F.mse_loss(first, told[0]) + F.mse_loss(second, told[0]))
    torch.testing.assert_close(metrics["critic/loss"], loss.detach(), rtol=1e-4, atol=1e-5)
    trained = [*learner.critic_parameters(), *masker.parameters()]
    ours = [*agent.learner.critic_parameters(), *agent.method.critic_parameters()]
    for mine, plain in zip(ours, torch.autograd.grad(loss, trained), strict=True):
        torch.testing.assert_close(mine.grad, plain, rtol=1e-3, atol=1e-5)
    gradients = [p.grad for p in agent.method.critic_parameters() if p.grad is not None]
    assert all(bool(g.abs().max() > 0) for g in gradients) and len(gradients) == 6


def test_the_target_sees_the_next_observation_through_the_mask() -> None:
    agent = agent_of("madi")
    masker: Any = copy.deepcopy(agent.method.masker)
    batches: list[Batch] = []
    real = agent.learner.targets
    agent.learner.targets = lambda batch: (batches.append(batch), real(batch))[1]  # type: ignore[method-assign]
    raw: list[Batch] = []
    views = agent.method.views
    agent.method.views = lambda batch: (raw.append(batch), views(batch))[1]  # type: ignore[method-assign]
    agent.updater.update(batch_for(agent), no_sample)
    torch.testing.assert_close(batches[0].next_obs.image, masked(masker, raw[0].next_obs.image).detach())


def test_the_critics_step_trains_the_masker_and_the_actors_does_not() -> None:
    agent = agent_of("madi")
    states: list[dict[str, Tensor]] = []

    def note(*_: Any) -> None:
        states.append({name: p.detach().clone() for name, p in agent.method.masker.named_parameters()})  # type: ignore[union-attr]

    agent.updater.critic_optimizer.register_step_post_hook(note)
    note()
    agent.updater.update(batch_for(agent), no_sample)  # critic, actor, temperature and targets
    note()
    assert all(not torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert all(torch.equal(states[1][name], states[2][name]) for name in states[0])


def test_saliency_goes_through_the_mask() -> None:
    """``values`` explains what the agent was shown: where the mask is 0, nothing matters."""
    agent = agent_of("madi")
    masker: Any = agent.method.masker
    batch = batch_for(agent)
    pixels = batch.obs.image.float().requires_grad_()
    values = agent.values(pixels, batch.action)
    expected = agent.learner.estimate(Observation(masked(masker, pixels)), batch.action).values
    torch.testing.assert_close(values, expected)
    with torch.no_grad():
        masker[4].bias.fill_(-1e4)
        masker[4].weight.zero_()
    blind = agent.values(pixels, batch.action)[0].sum()
    assert not torch.autograd.grad(blind, pixels)[0].any()


# --- SADA -------------------------------------------------------------------------------------------------------------


class PolicyStep:
    """What the policy's step was given, and the learner and its generator just before."""

    def __init__(self, agent: foveal.Agent) -> None:
        self.encoded: list[Tensor] = []
        learner: Any = agent.learner
        step, features = learner.policy_step, learner.features

        def noted(obs: Observation, *rest: Any) -> Any:
            self.obs = obs
            self.generator = torch.Generator().set_state(agent.generator.get_state())
            self.learner: Any = SAC(agent.config.learner_config, agent.shapes, torch.float32)
            self.learner.load_state_dict(learner.state_dict())
            return step(obs, *rest)

        def encode(obs: Observation) -> Tensor:
            if not torch.is_grad_enabled():
                self.encoded.append(obs.image)
            return features(obs)  # type: ignore[no-any-return]

        learner.policy_step, learner.features = noted, encode


def actor_loss(noted: PolicyStep, acts: Tensor, judged: Tensor) -> tuple[Tensor, Tensor]:
    """SAC's loss where actions on ``acts`` are judged on ``judged``, and the policy's entropy."""
    learner = noted.learner
    noise = torch.randn(len(acts), 2, generator=torch.Generator().set_state(noted.generator.get_state()))
    mean, log_std = learner._gaussian(learner.features(Observation(acts)), None)
    action = torch.tanh(mean + log_std.exp() * noise)
    normal = torch.distributions.Normal(mean, log_std.exp())
    log_prob = (normal.log_prob(mean + log_std.exp() * noise) - torch.log(1 - action.square() + 1e-7)).sum(1)
    value = learner.critics(learner.latent(Observation(judged)), action).amin(0)
    return (learner.log_alpha.exp() * log_prob - value).mean().detach(), -log_prob.mean().detach()


def test_sadas_policy_acts_on_both_views_and_is_judged_on_the_weak_one() -> None:
    agent = agent_of("sada", sada={"augmentation": "conv"})
    noted = PolicyStep(agent)
    contexts: list[Context] = []
    real = agent.method.policy_views
    agent.method.policy_views = lambda context: (contexts.append(context), real(context))[1]  # type: ignore[method-assign]
    metrics = agent.updater.update(batch_for(agent, 6), no_sample)
    weak, strong = (view.obs.image for view in contexts[0].views)
    assert not torch.allclose(weak, strong)
    assert torch.equal(noted.obs.image, torch.cat([weak, strong]))
    loss, entropy = actor_loss(noted, torch.cat([weak, strong]), torch.cat([weak, weak]))
    torch.testing.assert_close(metrics["actor/loss"], loss, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(metrics["actor/entropy"], entropy, rtol=1e-3, atol=1e-4)  # of both halves
    naive, _ = actor_loss(noted, torch.cat([weak, strong]), torch.cat([weak, strong]))
    assert abs(float(naive - loss)) > 1e-3


def test_sada_costs_one_pass_of_the_encoder_for_each_view() -> None:
    agent = agent_of("sada")
    noted = PolicyStep(agent)
    agent.updater.update(batch_for(agent), no_sample)
    assert len(noted.encoded) == 3  # the next observation's of the targets, and the two views'


def test_by_default_the_policy_acts_on_the_weak_view_alone() -> None:
    METHODS.register("plain")(type("Plain", (TwoViews,), {}))
    try:
        agent = agent_of("plain")
        noted = PolicyStep(agent)
        agent.updater.update(batch_for(agent, 6), no_sample)
        assert len(noted.obs.image) == 6
    finally:
        del METHODS._entries["plain"]


# --- at work ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", PEERS)
@pytest.mark.slow
def test_they_train_and_are_evaluated_and_explained(method: str, tmp_path: Path) -> None:
    agent = small_agent(Counter, method=method).learn(20, progress=False, evaluate_every=0)
    assert agent.updates == 11
    results = foveal.evaluate(agent, episodes=1, progress=False)
    assert len(results.conditions[0].episodes) == 1
    assert foveal.explain(agent, out=tmp_path / "page.html", progress=False, moments=4, frames=2).is_file()


@pytest.mark.gpu
@pytest.mark.parametrize("learner", ["sac", "dqn"])
@pytest.mark.parametrize("method", PEERS)
def test_their_updates_are_recorded_as_cuda_graphs(method: str, learner: str) -> None:
    env = Counter if learner == "sac" else lambda: Counter(discrete=True)
    agent = foveal.Agent(env, method=method, learner=learner, preset="debug", training={"device": "cuda"})
    agent.method.get_ready()
    updater, replay = agent.updater, noise_replay(agent, 300)
    assert isinstance(updater, CapturedUpdater)
    for _ in range(8 * (WARM_UP + 2)):
        updater.update(replay.sample(8).to(agent.device), replay.sample)
    assert not updater.failed and len(updater._recordings) == 2
