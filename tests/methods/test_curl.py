"""CURL's contrastive step against its formula, which weights it moves, and where its keys come from."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import foveal
from foveal.learners import LEARNERS
from foveal.methods.curl import CURL, KEY, CURLConfig, contrastive_loss
from foveal.types import Observation
from small_env import SIZE, SavedCounter, small_agent
from small_updates import NoTargetEncoder, batch_for, cropped, method_agent, moved, no_sample, parts, peek


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    LEARNERS.names()
    monkeypatch.setitem(LEARNERS._entries, "sac", NoTargetEncoder)


def info_nce(query: Tensor, key: Tensor, similarity: Tensor) -> Tensor:
    """Mean over samples of -log of the softmax over the batch's keys, at the sample's own, pair by pair."""
    losses = []
    for i in range(len(query)):
        scores = torch.stack([query[i] @ similarity @ key[j] for j in range(len(key))])
        losses.append(-torch.log(scores[i].exp() / scores.exp().sum()))
    return torch.stack(losses).mean()


def test_the_loss_is_the_papers_pair_by_pair() -> None:
    draws = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 5, 6, generator=draws)
    similarity = torch.rand(6, 6, generator=draws).requires_grad_()
    query.requires_grad_()
    ours, plain = contrastive_loss(query, key, similarity), info_nce(query, key, similarity)
    torch.testing.assert_close(ours, plain)
    for mine, theirs in zip(*(torch.autograd.grad(loss, [query, similarity]) for loss in (ours, plain)), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert torch.isfinite(contrastive_loss(1e3 * query, key, similarity))


def test_the_step_is_on_two_crops_of_the_batch_after_the_critics_step() -> None:
    agent = method_agent("curl")
    agent.updater.updates = 1  # neither actor nor targets
    batch, draws = batch_for(agent, 5), peek(agent)
    anchor = cropped(batch.obs.image, draws, SIZE)
    cropped(batch.next_obs.image, draws, SIZE)
    positive = cropped(batch.obs.image, draws, SIZE)
    assert not torch.equal(anchor, positive)
    learners: list[Any] = []
    real = agent.method.auxiliary
    agent.method.auxiliary = lambda context: (learners.append(copy.deepcopy(agent.learner)), real(context))[1]  # type: ignore[method-assign]
    similarity = agent.method.similarity.detach().clone().requires_grad_()  # type: ignore[operator,union-attr]
    metrics = agent.updater.update(batch, no_sample)
    (learner,) = learners
    loss = info_nce(learner.latent(Observation(anchor)), learner.target_latent(Observation(positive)), similarity)
    torch.testing.assert_close(metrics["curl/loss"], loss.detach(), rtol=1e-4, atol=1e-5)
    gradients = torch.autograd.grad(loss, [*learner.encoder_parameters, similarity])
    for parameter, gradient in zip(agent.method.auxiliary_parameters(), gradients, strict=True):  # type: ignore[operator]
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-6)


def contrastive_step_moves(agent: foveal.Agent, update: int = 1) -> set[str]:
    """What the contrastive step of an update moves, apart from all others."""
    before: list[dict[str, Tensor]] = []
    real = agent.method.auxiliary
    agent.method.auxiliary = lambda context: (before.append(parts(agent)), real(context))[1]  # type: ignore[method-assign]
    agent.updater.updates = update
    agent.updater.update(batch_for(agent), no_sample)
    return moved(before[0], agent)


def test_it_moves_encoder_and_similarity_and_nothing_else() -> None:
    trained = {"learner.convolutions", "learner.projection", "method.similarity"}
    for update in (0, 1):
        assert contrastive_step_moves(method_agent("curl"), update) == trained
    agent = method_agent("curl", curl={"auxiliary_period": 2})
    assert contrastive_step_moves(agent, 1) == set()


@pytest.mark.usefixtures("bare")
def test_a_learner_without_a_target_encoder_gets_a_momentum_encoder() -> None:
    agent = method_agent("curl", shake=0.0, curl={"tau": 0.25})
    method: Any = agent.method
    trained = {"learner.convolutions", "learner.projection", "method.similarity"}
    copies = {"method.target_convolutions", "method.target_projection"}
    before = parts(agent)
    assert torch.equal(before["method.target_projection.linear.weight"], before["learner.projection.linear.weight"])
    assert contrastive_step_moves(agent, 1) == trained  # SAC's targets move at even updates
    agent = method_agent("curl", shake=0.0, curl={"tau": 0.25})
    assert contrastive_step_moves(agent, 0) == trained | copies

    agent = method_agent("curl", curl={"tau": 0.25})
    learners: list[Any] = []
    real, method = agent.method.auxiliary, agent.method
    agent.method.auxiliary = lambda context: (learners.append(parts(agent)), real(context))[1]  # type: ignore[method-assign]
    agent.updater.update(batch_for(agent), no_sample)
    (then,), now = learners, parts(agent)
    for name in ("convolutions", "projection"):
        for key, _ in getattr(method, f"target_{name}").named_parameters():
            mixed = 0.75 * then[f"method.target_{name}.{key}"] + 0.25 * then[f"learner.{name}.{key}"]
            torch.testing.assert_close(now[f"method.target_{name}.{key}"], mixed)


@pytest.mark.usefixtures("bare")
def test_keys_come_from_the_momentum_encoder_there() -> None:
    agent = method_agent("curl")
    method: Any = agent.method
    with torch.no_grad():
        for parameter in method.target_projection.parameters():
            parameter.zero_()
    obs = Observation(torch.zeros(2, 9, SIZE, SIZE))
    assert not method.keys(agent.learner, obs).any()


def test_the_second_crop_travels_with_the_batch() -> None:
    """Other methods may change the batch afterwards: the key stays a crop of the picture that was stored."""
    agent = method_agent("curl")
    prepared = agent.method.prepare(batch_for(agent))
    key = prepared.extras[KEY]
    assert key.shape == prepared.obs.image.shape and key.dtype == torch.uint8
    assert not torch.equal(key, prepared.obs.image)


@pytest.mark.slow
def test_contrast_is_learnt() -> None:
    """On pictures of one colour each, the loss falls far below that of guessing, log 8."""
    agent = method_agent("curl", shake=0.0)
    batch = batch_for(agent, 8)
    colours = batch.obs.image[:, :, :1, :1].expand_as(batch.obs.image)
    batch = batch.replace(obs=Observation(colours.contiguous()))
    first, *_, last = [float(agent.updater.update(batch, no_sample)["curl/loss"]) for _ in range(100)]
    assert last < 0.5 * first


def test_its_numbers_are_the_authors() -> None:
    assert CURLConfig() == CURLConfig(auxiliary_period=1, auxiliary_lr=1e-3, tau=0.05)
    assert CURL.requirements(CURLConfig(), 84).render_size == 100
    agent = small_agent(SavedCounter, method="curl")
    (group,) = agent.method.optimizers()["curl"].param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-3, (0.9, 0.999), 0)
    assert isinstance(agent.method, CURL)
    similarity = agent.method.similarity.detach()
    assert similarity.shape == (8, 8)
    assert float(similarity.min()) >= 0 and 0.5 < float(similarity.max()) < 1  # torch.rand
