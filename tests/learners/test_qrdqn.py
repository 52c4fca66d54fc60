"""QR-DQN: quantiles, targets and loss by hand, its gradient in closed form, and that quantiles are what it learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from foveal.config.tree import configure
from foveal.errors import FovealError
from foveal.learners.qrdqn import QRDQNConfig
from foveal.replay import ReplayBuffer
from foveal.types import Observation
from small_dqn import agent_on, batch_of, qrdqn
from small_env import SIZE, small_agent

QUANTILES = 4


def outputs(learner: Any, obs: Observation, prefix: str = "") -> Tensor:
    """(B, actions, N), written out."""
    convolutions, projection, critic = (getattr(learner, prefix + n) for n in ("convolutions", "projection", "critic"))
    latent = projection(convolutions(obs.image))
    flat = critic(latent if obs.vector is None else torch.cat([latent, obs.vector], 1))
    return flat.view(len(obs.image), learner.action_size, QUANTILES)  # type: ignore[no-any-return]


def with_quantiles(learner: Any, quantiles: Tensor) -> Any:
    """An estimate whose quantiles are these."""
    batch = batch_of()
    return replace(learner.estimate(batch.obs, batch.action), prediction=quantiles)


# --- values and targets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", [0, 2])
@pytest.mark.parametrize("dueling", [False, True])
def test_the_estimate_is_of_the_action_that_was_taken(vector: int, dueling: bool) -> None:
    learner, batch = qrdqn(vector, dueling=dueling), batch_of(vector)
    estimate, table = learner.estimate(batch.obs, batch.action), outputs(learner, batch.obs)
    expected = torch.stack([table[i, a] for i, a in enumerate(batch.action)])
    torch.testing.assert_close(estimate.prediction, expected)
    torch.testing.assert_close(estimate.values, expected.mean(1)[None])
    assert torch.equal(learner.best_action(batch.obs), table.mean(2).argmax(1))


@pytest.mark.parametrize("double", [False, True])
def test_targets_by_hand(double: bool) -> None:
    learner, batch = qrdqn(double=double), batch_of()
    own, theirs = outputs(learner, batch.next_obs), outputs(learner, batch.next_obs, "target_")
    chooser = (own if double else theirs).mean(2)
    target = learner.targets(batch)
    for i in range(5):
        expected = batch.reward[i] + batch.discount[i] * theirs[i, int(chooser[i].argmax())]
        torch.testing.assert_close(target[i], expected.detach())
    assert not target.requires_grad and target.shape == (5, QUANTILES) and target[1].tolist() == [-2.0] * 4
    assert not torch.allclose(target, qrdqn(double=not double).targets(batch))


def test_returns_of_several_steps_come_from_replay() -> None:
    learner = qrdqn()
    replay = ReplayBuffer(50, (3, 12, 12), 1, action_shape=(), action_dtype="int64", n_step=3, discount=0.5)
    frames = np.random.default_rng(0).integers(0, 256, (5, 3, 12, 12), np.uint8)
    replay.begin(0, frames[0])
    for step, reward in enumerate([1.0, 2.0, 4.0, 8.0]):
        replay.add(0, np.int64(step % 3), reward, False, step == 3, frames[step + 1])
    batch = replay.sample(40)
    batch = batch.replace(obs=batch.obs.float(), next_obs=batch.next_obs.float())
    target = learner.targets(batch)
    table = outputs(learner, Observation(torch.from_numpy(frames).float()), "target_").detach()
    summed = {0: (3.0, 0.125, 3), 1: (6.0, 0.125, 4), 2: (8.0, 0.25, 4), 3: (8.0, 0.5, 4)}  # 0.5**k of what follows
    for i, image in enumerate(batch.obs.image):
        start = next(k for k in range(4) if torch.equal(image, torch.from_numpy(frames[k]).float()))
        reward, discount, after = summed[start]
        torch.testing.assert_close(target[i], reward + discount * table[after, int(table[after].mean(1).argmax())])


# --- the loss ---------------------------------------------------------------------------------------------------------


def plain_loss(quantiles: Tensor, target: Tensor, kappa: float) -> float:
    """Equations 9 and 10 and Algorithm 1, number by number."""
    total = 0.0
    for theta, goals in zip(quantiles.tolist(), target.tolist(), strict=True):
        for i, one in enumerate(theta):
            tau = (2 * (i + 1) - 1) / (2 * len(theta))
            for goal in goals:
                u = goal - one
                huber = 0.5 * u**2 if abs(u) <= kappa else kappa * (abs(u) - 0.5 * kappa)
                huber = abs(u) if kappa == 0 else huber
                total += abs(tau - (1.0 if u < 0 else 0.0)) * huber / len(goals)
    return total / len(quantiles)


@pytest.mark.parametrize("kappa", [1.0, 0.25, 0.0])
def test_the_loss_equals_a_plain_transcription(kappa: float) -> None:
    draws = torch.Generator().manual_seed(0)
    quantiles, target = (2 * torch.randn(5, QUANTILES, generator=draws, dtype=torch.float64) for _ in range(2))
    quantiles = quantiles.sort(1).values
    learner = qrdqn(kappa=kappa)
    loss = float(learner.td_loss(with_quantiles(learner, quantiles), target))
    assert loss == pytest.approx(plain_loss(quantiles, target, kappa), rel=1e-6)
    assert loss != pytest.approx(plain_loss(quantiles.flip(1), target, kappa), rel=1e-2)  # which quantile is which
    assert loss != pytest.approx(plain_loss(quantiles, target, kappa + 0.5), rel=1e-2)


def test_its_gradient_in_closed_form() -> None:
    """Of theta_i: -E_j |tau_i - 1{u < 0}| clip(u, -kappa, kappa) / B, which no gradient of the indicator joins."""
    learner = qrdqn(quantiles=2, kappa=1.0)
    quantiles = torch.tensor([[0.0, 1.0]], requires_grad=True)
    target = torch.tensor([[0.5, -3.0]])
    (gradient,) = torch.autograd.grad(learner.td_loss(with_quantiles(learner, quantiles), target), quantiles)
    # tau: 0.25, 0.75. u of theta_1: 0.5, -3; of theta_2: -0.5, -4.
    first = -(0.25 * 0.5 + 0.75 * -1.0) / 2
    second = -(0.25 * -0.5 + 0.25 * -1.0) / 2
    assert gradient[0].tolist() == pytest.approx([first, second])


@pytest.mark.slow
def test_minimizing_it_finds_the_quantiles_of_the_returns() -> None:
    learner = qrdqn(quantiles=9, kappa=0.01)
    returns = torch.from_numpy(norm.ppf((np.arange(2000) + 0.5) / 2000, loc=3.0, scale=2.0)).float()[None]
    quantiles = torch.zeros(1, 9, requires_grad=True)
    optimizer = torch.optim.Adam([quantiles], 0.05)
    for _ in range(400):
        optimizer.zero_grad()
        learner.td_loss(with_quantiles(learner, quantiles), returns).backward()
        optimizer.step()
    expected = norm.ppf((np.arange(9) + 0.5) / 9, loc=3.0, scale=2.0)
    np.testing.assert_allclose(quantiles.detach()[0].numpy(), expected, atol=0.1)


# --- acting and learning ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"dueling": True, "double": True}], ids=["published", "dueling and double"])
@pytest.mark.slow
def test_it_learns_which_button_pays(settings: dict[str, bool]) -> None:
    agent = agent_on(
        "drq",
        learner="qrdqn",
        training={"discount": 0.0, "batch_size": 16},
        environment={"frame_stack": 1},
        qrdqn={"lr": 3e-3, "epsilon_steps": 100, **settings},
    )
    pictures = np.stack([np.full((3, SIZE, SIZE), value, np.uint8) for value in (30, 220)])

    def right() -> list[bool]:
        return list(agent.predict(pictures, deterministic=True)[0] == np.array([0, 1]))

    before = right()
    agent.learn(300, progress=False, evaluate_every=0)
    assert right() == [True, True] and before != [True, True]
    obs = Observation(torch.from_numpy(pictures).float())
    paid = agent.learner.values(obs, torch.tensor([0, 1])).detach()
    assert paid.flatten().tolist() == pytest.approx([1.0, 1.0], abs=0.25)


def test_its_numbers_are_the_papers() -> None:
    config = configure("Any-v0", "none", "qrdqn")
    learner = config.learner_config
    assert (learner.quantiles, learner.kappa, learner.lr, learner.adam_eps) == (200, 1.0, 5e-5, 0.0003125)
    assert (learner.final_epsilon, learner.double, learner.dueling) == (0.01, False, False)
    training = config.training
    assert (training.batch_size, training.updates_per_step, training.initial_random_steps) == (32, 0.25, 50_000)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(FovealError, match="learner 'qrdqn' needs Discrete actions, and this environment has Box"):
        small_agent(learner="qrdqn", method="none")
    with pytest.raises(FovealError, match=r"qrdqn\.final_epsilon must be at most initial_epsilon, which is 0\.001"):
        QRDQNConfig(initial_epsilon=0.001)
