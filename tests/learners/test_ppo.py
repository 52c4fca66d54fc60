"""PPO: its formulas against their definitions, its updates against Stable-Baselines3's, what it learns, resuming."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor, nn

from foveal.envs import make_vector
from foveal.errors import FovealError
from foveal.learners.ppo import PPO, PPOConfig, actor_critic, normalised, surrogate_loss, value_loss
from foveal.learners.rollouts import generalized_advantages
from foveal.networks.encoders import ConvEncoder, EncoderConfig
from foveal.networks.policies import ActorCritic, CategoricalHead, GaussianHead
from small_env import SIZE as PICTURE
from small_env import SavedCounter

SIDE = 8
IMAGES = spaces.Box(0, 255, (1, SIDE, SIDE), np.uint8)


class Lamps(gymnasium.Env[Any, Any]):
    """A lamp is lit in one of some columns; naming it brings 1.

    Args:
        lag: name the column of so many pictures ago, which is to be kept in mind: pictures show older ones below.
        length: steps of an episode.
        cut: a time limit ends it, and not the task.
        continuous: the action is the column's place in [-1, 1], and the reward falls with the distance.
    """

    observation_space = IMAGES

    def __init__(
        self, seed: int, lag: int = 0, length: int = 7, *, cut: bool = False, continuous: bool = False
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.lag, self.length, self.cut = lag, length, cut
        self.action_space = spaces.Box(-1.0, 1.0, (1,)) if continuous else spaces.Discrete(2, start=3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.columns = [int(self.random.integers(2)) for _ in range(self.lag + 1)]
        self.step_number = 0
        return self._picture(), {}

    def step(self, action: Any) -> Any:
        wanted = self.columns[-1 - self.lag]
        reward = 1 - abs(float(action[0]) - (2 * wanted - 1)) if np.ndim(action) else float(int(action) - 3 == wanted)
        self.columns.append(int(self.random.integers(2)))
        self.step_number += 1
        over = self.step_number == self.length
        return self._picture(), reward, over and not self.cut, over and self.cut, {}

    def _picture(self) -> Any:
        picture = np.zeros((1, SIDE, SIDE), np.uint8)
        for row, column in enumerate(self.columns[: -2 - self.lag : -1]):
            picture[0, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = 255
        return picture


def lamps(count: int = 4, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **options: Any) -> SyncVectorEnv:
    makers: list[Callable[[], Any]] = [lambda seed=seed: Lamps(seed, **options) for seed in range(count)]
    return SyncVectorEnv(makers, autoreset_mode=mode)


def learner(
    space: spaces.Space[Any], dtype: torch.dtype = torch.float32, device: str = "cpu", total: int = 0, **settings: Any
) -> PPO:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = ConvEncoder(
            (1, SIDE, SIDE), EncoderConfig(strides=(2, 1), filters=8, initialization="orthogonal"), dtype
        )
        policy = actor_critic(nn.Sequential(encoder, nn.ReLU()), encoder.output_size, space)
    acting, shuffling = torch.Generator(device).manual_seed(1), torch.Generator().manual_seed(2)
    return PPO(PPOConfig(**{"rollout": 16, **settings}), policy.to(device), acting, shuffling, total=total)


def started(envs: SyncVectorEnv | None = None, **settings: Any) -> tuple[PPO, SyncVectorEnv]:
    envs = lamps() if envs is None else envs
    return learner(envs.single_action_space, **settings), envs


# --- formulas ---------------------------------------------------------------------------------------------------------


def test_advantages_are_the_sums_that_define_them() -> None:
    """Schulman et al. (2016), eq. 16: the sum over l of (gamma lambda)^l delta_(t+l), as far as the episode goes."""
    generator = torch.Generator().manual_seed(0)
    rewards, values = (torch.randn(9, 3, generator=generator) for _ in range(2))
    last = torch.randn(3, generator=generator)
    ends = (torch.rand(9, 3, generator=generator) < 0.3).float()
    assert 3 < ends.sum() < 20
    discount, lam = 0.9, 0.7

    def expected(ends: Tensor) -> Tensor:
        sums = torch.zeros(9, 3)
        for env in range(3):
            for start in range(9):
                for step in range(start, 9):
                    following = last[env] if step == 8 else values[step + 1, env]
                    error = rewards[step, env] - values[step, env]
                    error = error if ends[step, env] else error + discount * following
                    sums[start, env] += (discount * lam) ** (step - start) * error
                    if ends[step, env]:
                        break
        return sums

    found = generalized_advantages(rewards, values, last, ends, discount, lam)
    torch.testing.assert_close(found, expected(ends))
    assert not torch.allclose(found, expected(torch.zeros_like(ends)), atol=1e-2)
    whole = generalized_advantages(rewards, values, last, torch.zeros_like(ends), 1.0, 1.0)
    torch.testing.assert_close(whole[0], rewards.sum(0) + last - values[0])


NEW = torch.tensor([0.0, 1.0, 3.0, -2.0])
OLD = torch.tensor([0.1, 0.0, 0.0, 0.0])
RETURNS = torch.tensor([1.0, 1.0, 5.0, 1.0])
MOVED = [0.0, 0.2, 0.2, -0.2]  # to within 0.2 of the old


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("plain", 0.5 * sum((v - r) ** 2 for v, r in zip(NEW.tolist(), RETURNS.tolist(), strict=True)) / 4),
        ("clipped", sum((m - r) ** 2 for m, r in zip(MOVED, RETURNS.tolist(), strict=True)) / 4),
        ("baselines", 0.5 * (1.0**2 + 0.8**2 + 4.8**2 + 3.0**2) / 4),
    ],
)
def test_value_losses(kind: str, expected: float) -> None:
    values = NEW.clone().requires_grad_()
    loss = value_loss(kind, values, OLD, RETURNS, 0.2)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert values.grad is not None
    moves = (values.grad != 0).tolist()
    assert (
        moves
        == {
            "plain": [True, False, True, True],
            "clipped": [True, False, False, False],  # what has drifted beyond the clip is left alone
            "baselines": [True, False, False, True],  # unless it has drifted away from the return
        }[kind]
    )


def test_the_ratio_is_clipped_where_that_lowers_the_objective() -> None:
    ratios = torch.tensor([1.05, 1.5, 0.5, 1.5, 0.5])
    advantages = torch.tensor([2.0, 1.0, 1.0, -1.0, -1.0])
    logs = ratios.log().requires_grad_()
    loss = surrogate_loss(logs, torch.zeros(5), advantages, 0.1)
    assert loss.item() == pytest.approx(-(2.1 + 1.1 + 0.5 - 1.5 - 0.9) / 5, rel=1e-6)
    loss.backward()
    assert logs.grad is not None and (logs.grad != 0).tolist() == [True, False, True, True, False]


@pytest.mark.slow
def test_distributions_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, 6, generator=generator)
    gauss, categories = GaussianHead(6, 3), CategoricalHead(6, 4)
    with torch.no_grad():
        gauss.log_std.copy_(torch.tensor([-0.5, 0.0, 0.3]))
        categories.linear.weight.mul_(50)
    normal = torch.distributions.Normal(gauss.linear(features), gauss.log_std.exp())
    actions, logs = gauss.sample(features, generator)
    torch.testing.assert_close(logs, normal.log_prob(actions).sum(1))
    found, entropy = gauss.evaluate(features, actions)
    torch.testing.assert_close((found, entropy), (logs, normal.entropy().sum(1)))
    torch.testing.assert_close(gauss.mode(features), normal.mean)

    chances = torch.distributions.Categorical(logits=categories.linear(features))
    indices, logs = categories.sample(features, generator)
    torch.testing.assert_close(logs, chances.log_prob(indices))
    torch.testing.assert_close(categories.evaluate(features, indices), (logs, chances.entropy()))
    assert categories.mode(features).equal(chances.probs.argmax(1))
    drawn = torch.stack([categories.sample(features, generator)[0] for _ in range(4000)])
    shares = torch.nn.functional.one_hot(drawn, 4).float().mean(0)
    torch.testing.assert_close(shares, chances.probs, rtol=0, atol=0.04)


# --- minibatches ------------------------------------------------------------------------------------------------------


def minibatches(ppo: PPO, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Rows of each minibatch of an update."""
    assert ppo.rollout is not None
    taken: list[Tensor] = []
    take = ppo.rollout.take
    monkeypatch.setattr(ppo.rollout, "take", lambda rows: taken.append(rows) or take(rows))  # type: ignore[func-returns-value]
    ppo.update()
    return taken


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_every_transition_is_learnt_from_once_an_epoch(mode: AutoresetMode, monkeypatch: pytest.MonkeyPatch) -> None:
    ppo, envs = started(lamps(mode=mode), epochs=3, minibatches=4)
    rollout = ppo.collect(envs)
    # Episodes of 7 steps: where the next step only resets, every eighth row is none.
    begun = [7, 15] if mode == AutoresetMode.NEXT_STEP else []
    assert [step for step in range(16) if not rollout.valid[step].any()] == begun
    assert ppo.steps == rollout.valid.sum() == 64 - 4 * len(begun)
    expected = torch.Generator().manual_seed(2)
    taken = minibatches(ppo, monkeypatch)
    assert len(taken) == 12 and {len(rows) for rows in taken} == {ppo.steps // 4}
    for epoch in range(3):
        rows = torch.cat(taken[4 * epoch : 4 * epoch + 4])
        assert rows.equal(rollout.rows()[torch.randperm(ppo.steps, generator=expected)])
        assert rows.sort()[0].equal(rollout.rows())


def test_the_global_generators_are_left_alone() -> None:
    ppo, envs = started()
    before = torch.get_rng_state()
    ppo.collect(envs)
    ppo.update()
    assert torch.get_rng_state().equal(before)


def test_samples_belong_together() -> None:
    ppo, envs = started(lamps(mode=AutoresetMode.SAME_STEP))
    rollout = ppo.collect(envs)
    samples = rollout.take(torch.arange(10, 40))
    with torch.no_grad():
        features = ppo.policy.features(samples.seen)
        logs, _ = ppo.policy.actor.evaluate(features, samples.actions)
        torch.testing.assert_close(ppo.policy.value(features), samples.values)
    torch.testing.assert_close(logs, samples.log_probs)
    torch.testing.assert_close(samples.returns, samples.advantages + samples.values)
    lit = samples.seen[:, 0, 0, 4] == 255  # the right column
    rewards = torch.from_numpy(rollout.rewards).flatten()[10:40]
    assert rewards.equal((samples.actions == lit).float()) and 0 < rewards.sum() < 30


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["minibatch", "rollout", "none"])
def test_normalised_advantages(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import foveal.learners.ppo as module

    ppo, envs = started(normalise_advantages=kind)
    seen: list[Tensor] = []

    def noted(logs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
        seen.append(advantages)
        return surrogate_loss(logs, old, advantages, clip)

    monkeypatch.setattr(module, "surrogate_loss", noted)
    with torch.no_grad():
        ppo.policy.critic.bias.fill_(-20.0)  # type: ignore[union-attr,operator]
    ppo.collect(envs)
    ppo.update()
    means = torch.stack([advantages.mean() for advantages in seen])
    assert (means.abs().max() < 1e-4) == (kind == "minibatch")
    assert (means.view(4, 4).mean(1).abs().max() < 1e-4) == (kind != "none")
    whole = torch.cat(seen[:4])
    assert (abs(whole.std().item() - 1) < 0.05) == (kind != "none")


# --- time limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("bootstrap", [True, False])
def test_time_limits(mode: AutoresetMode, cut: bool, bootstrap: bool) -> None:
    """A time limit after 7 steps: rows 6, and 13 or 14. With lambda 1, returns are plain sums up to there."""
    ppo, envs = started(lamps(mode=mode, cut=cut), gae_lambda=1.0, discount=0.9, bootstrap_timeouts=bootstrap)
    with torch.no_grad():
        ppo.policy.critic.weight.zero_()  # type: ignore[union-attr,operator]
        ppo.policy.critic.bias.fill_(5.0)  # type: ignore[union-attr,operator]
    rollout = ppo.collect(envs)
    row = 6
    expected = rollout.rewards[row] + (0.9 * 5.0 if cut and bootstrap else 0.0)
    np.testing.assert_allclose(rollout.returns[row], expected, rtol=1e-5)
    for start in range(row):
        sums = sum(0.9 ** (step - start) * rollout.rewards[step] for step in range(start, row))
        sums = sums + 0.9 ** (row - start) * rollout.returns[row].numpy()
        np.testing.assert_allclose(rollout.returns[start], sums, rtol=1e-5)


def test_what_a_time_limit_cut_off_is_judged_by_its_last_picture() -> None:
    """Both ways of resetting tell the same returns where the same things happened."""
    found = []
    for mode in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
        ppo, envs = started(lamps(mode=mode, cut=True), rollout=7, minibatches=2, gae_lambda=0.9)
        with torch.no_grad():
            ppo.policy.critic.weight.mul_(10)  # type: ignore[union-attr,operator]
        rollout = ppo.collect(envs)
        assert rollout.truncations[6].all()
        found.append(rollout.returns)
    torch.testing.assert_close(*found)
    assert found[0].std() > 0.1


# --- the schedule -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("decays", "left"), [(True, [1, 0.5, 0]), (False, [1, 1, 1])])
def test_rates_decay_from_rollout_to_rollout(decays: bool, left: list[float]) -> None:
    ppo, envs = started(
        lamps(mode=AutoresetMode.SAME_STEP), total=128, decay_clip=decays, decay_learning_rate=decays, clip=0.2
    )
    for share in left:
        ppo.collect(envs)
        ppo.update()
        assert (ppo.clip, ppo.optimizer.param_groups[0]["lr"]) == (0.2 * share, 2.5e-4 * share)


# --- against Stable-Baselines3 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.slow
def test_an_update_is_that_of_stable_baselines(continuous: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights, rollout and minibatches in Stable-Baselines3's PPO lead to the same weights."""
    pytest.importorskip("stable_baselines3", reason='needs the extra "sb3"')
    from stable_baselines3 import PPO as TheirPPO
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import DummyVecEnv

    envs = lamps(mode=AutoresetMode.SAME_STEP, continuous=continuous)
    ppo = learner(envs.single_action_space, epochs=2, value_loss="clipped", learning_rate=1e-3, clip=0.05)
    encoder = ppo.policy.encoder

    class Same(BaseFeaturesExtractor):
        def __init__(self, space: Any) -> None:
            super().__init__(space, ppo.policy.critic.in_features)  # type: ignore[arg-type]
            self.encoder = learner(envs.single_action_space).policy.encoder

        def forward(self, seen: Tensor) -> Tensor:
            return self.encoder(seen * 255.0)

    class Unshifted(Lamps):  # SB3 does not know actions that begin at 3
        def __init__(self, seed: int) -> None:
            super().__init__(seed, continuous=continuous)
            self.action_space = self.action_space if continuous else spaces.Discrete(2)

    with torch.random.fork_rng():
        theirs = TheirPPO(
            "CnnPolicy",
            DummyVecEnv([lambda seed=seed: Unshifted(seed) for seed in range(4)]),  # type: ignore[misc]
            learning_rate=1e-3,
            n_steps=16,
            batch_size=16,
            n_epochs=2,
            clip_range=0.05,
            clip_range_vf=0.05,
            ent_coef=0.01,
            policy_kwargs={
                "net_arch": [],
                "ortho_init": False,  # it can't draw kernels that are channels last
                "features_extractor_class": Same,
                "optimizer_kwargs": {"eps": 1e-5},
            },
            device="cpu",
        )
    theirs.set_logger(Logger(None, []))
    theirs.policy.features_extractor.encoder.load_state_dict(encoder.state_dict())
    theirs.policy.action_net.load_state_dict(ppo.policy.actor.linear.state_dict())  # type: ignore[union-attr,operator]
    theirs.policy.value_net.load_state_dict(ppo.policy.critic.state_dict())
    before = [weight.detach().clone() for weight in ppo.parameters]

    rollout = ppo.collect(envs)
    buffer = theirs.rollout_buffer
    starts = np.concatenate([np.ones((1, 4)), (rollout.terminations | rollout.truncations)[:-1]])
    for step in range(16):
        actions = rollout.actions[step].numpy().reshape(4, 1)
        values, logs = rollout.values[step], rollout.log_probs[step]
        buffer.add(rollout.seen[step].numpy(), actions, rollout.rewards[step], starts[step], values, logs)
    with torch.no_grad():
        last = ppo.policy.values(torch.from_numpy(ppo.seen))  # type: ignore[arg-type]
    buffer.compute_returns_and_advantage(last, rollout.terminations[-1])
    np.testing.assert_allclose(buffer.advantages, rollout.advantages, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(buffer.returns, rollout.returns, rtol=1e-4, atol=1e-5)

    orders = []
    plain = torch.randperm

    def noted(size: int, **options: Any) -> Tensor:
        order = plain(size, **options)
        orders.append(order.numpy() % 4 * 16 + order.numpy() // 4)  # SB3 counts its steps environment by environment
        return order

    monkeypatch.setattr(torch, "randperm", noted)
    ppo.update()
    monkeypatch.setattr(np.random, "permutation", lambda size: orders.pop(0))
    theirs._update_current_progress_remaining(0, 1)
    theirs.train()
    assert orders == []
    policy = theirs.policy
    pairs = [
        *zip(encoder.parameters(), policy.features_extractor.encoder.parameters(), strict=True),  # type: ignore[union-attr]
        *zip(ppo.policy.actor.linear.parameters(), policy.action_net.parameters(), strict=True),  # type: ignore[union-attr]
        *zip(ppo.policy.critic.parameters(), policy.value_net.parameters(), strict=True),
    ]
    for ours, other in pairs:
        torch.testing.assert_close(ours, other, rtol=1e-3, atol=2e-5)
    if continuous:
        torch.testing.assert_close(ppo.policy.actor.log_std, policy.log_std, rtol=1e-3, atol=2e-5)
    for ours, old in zip(ppo.parameters, before, strict=True):
        assert not torch.allclose(ours, old, rtol=1e-3, atol=2e-5)


# --- learning ---------------------------------------------------------------------------------------------------------


def last_rewards(ppo: PPO, envs: SyncVectorEnv, rollouts: int) -> float:
    """Mean reward of the last rollout of some."""
    for _ in range(rollouts):
        ppo.collect(envs)
        ppo.update()
    assert ppo.rollout is not None
    return float(ppo.rollout.rewards[ppo.rollout.valid].mean())


@pytest.mark.parametrize("kind", ["baselines", "plain", "clipped"])
@pytest.mark.slow
def test_it_learns_which_lamp_is_lit(kind: str) -> None:
    ppo, envs = started(value_loss=kind, learning_rate=3e-3, clip=0.2, rollout=32, discount=0.5)
    assert last_rewards(ppo, envs, 1) < 0.7
    assert last_rewards(ppo, envs, 14) > 0.95


@pytest.mark.slow
def test_it_learns_what_the_picture_before_showed() -> None:
    ppo, envs = started(lamps(lag=1), learning_rate=3e-3, clip=0.2, rollout=32, discount=0.5)
    assert last_rewards(ppo, envs, 1) < 0.7
    assert last_rewards(ppo, envs, 24) > 0.95


@pytest.mark.slow
def test_it_learns_continuous_actions() -> None:
    ppo, envs = started(
        lamps(continuous=True, length=1, mode=AutoresetMode.SAME_STEP), learning_rate=1e-2, clip=0.2, rollout=32
    )
    assert last_rewards(ppo, envs, 1) < 0.3
    assert last_rewards(ppo, envs, 40) > 0.7


# --- frozen encoders --------------------------------------------------------------------------------------------------


def test_features_of_a_frozen_encoder_are_computed_once() -> None:
    ppo, envs = started(lamps(mode=AutoresetMode.SAME_STEP), freeze_encoder=True)
    batches: list[int] = []
    ppo.policy.encoder.register_forward_hook(lambda module, given, out: batches.append(len(out)))
    before = [weight.clone() for weight in ppo.policy.parameters()]
    rollout = ppo.collect(envs)
    ppo.update()
    assert batches == [4] * 17  # each step, and the values after the last
    assert rollout.seen.shape == (16, 4, ppo.policy.critic.in_features)
    moved = [not old.equal(new) for old, new in zip(before, ppo.policy.parameters(), strict=True)]
    own = len(list(ppo.policy.encoder.parameters()))
    assert moved == [False] * own + [True] * 4 and len(ppo.parameters) == 4


def test_heads_learn_the_same_on_features_as_on_pictures() -> None:
    weights = []
    for freeze in (True, False):
        ppo, envs = started(freeze_encoder=freeze, gradient_norm=1e9)
        if not freeze:
            ppo.parameters = [*ppo.policy.actor.parameters(), *ppo.policy.critic.parameters()]
        ppo.collect(envs)
        ppo.update()
        weights.append([*ppo.policy.actor.parameters(), *ppo.policy.critic.parameters()])
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)


# --- resuming and precision -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("continuous", [False, True])
def test_training_goes_on_bit_for_bit(continuous: bool) -> None:
    envs, others = lamps(continuous=continuous), lamps(continuous=continuous)
    ppo = learner(envs.single_action_space, total=64 * 6)
    again = learner(envs.single_action_space)
    for _ in range(3):
        ppo.collect(envs)
        ppo.update()
        again.collect(others)  # so that its environments are where the others are
        again.update()
    again = learner(envs.single_action_space)
    kept = state_of(ppo)
    again.policy.load_state_dict(kept["policy"])
    again.optimizer.load_state_dict(kept["optimizer"])
    again.load_progress(kept["progress"])
    for _ in range(3):
        for one, env in ((ppo, envs), (again, others)):
            one.collect(env)
            one.update()
    assert same(state_of(ppo), state_of(again))
    assert not same(state_of(ppo), state_of(learner(envs.single_action_space)))


def state_of(ppo: PPO) -> dict[str, Any]:
    weights = {"policy": ppo.policy.state_dict(), "optimizer": ppo.optimizer.state_dict()}
    return {**copy.deepcopy(weights), "progress": ppo.progress()}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Tensor | np.ndarray):
        return type(one) is type(other) and bool((torch.as_tensor(one) == torch.as_tensor(other)).all())
    return bool(one == other)


def test_a_state_is_a_copy() -> None:
    ppo, envs = started()
    ppo.collect(envs)
    ppo.update()
    held, kept = ppo.progress(), ppo.progress()
    ppo.collect(envs)
    ppo.update()
    assert same(held, kept) and not same(held, ppo.progress())


@pytest.mark.gpu
def test_an_update_waits_for_nothing() -> None:
    envs = lamps()
    ppo = learner(envs.single_action_space, device="cuda")
    ppo.collect(envs)
    ppo.update()
    try:
        torch.cuda.set_sync_debug_mode("error")
        ppo.update()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.bfloat16
def test_updates_in_bfloat16_are_close() -> None:
    weights = {}
    for dtype in (torch.float32, torch.bfloat16):
        envs = lamps()
        ppo = learner(envs.single_action_space, dtype)
        start = torch.cat([weight.detach().flatten() for weight in ppo.parameters])
        with torch.no_grad():
            ppo.policy.actor.linear.weight.zero_()  # type: ignore[union-attr,operator] # the same actions in both
        start = torch.cat([weight.detach().flatten() for weight in ppo.parameters])
        rollout = ppo.collect(envs)
        assert {ppo.policy.features(rollout.seen[0]).dtype, rollout.values.dtype} == {torch.float32}
        ppo.update()
        weights[dtype] = torch.cat([weight.detach().flatten() for weight in ppo.parameters]) - start
    one, other = weights.values()
    assert not one.equal(other)
    assert torch.cosine_similarity(one, other, dim=0) > 0.9


@pytest.mark.slow
def test_it_works_with_foveals_environments() -> None:
    """Pixels of ``make_vector``, which resets with the next step and can be saved in the middle of an episode."""

    def made() -> tuple[PPO, Any]:
        envs: Any = make_vector(SavedCounter, 2, seed=0, image_size=PICTURE)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            encoder = ConvEncoder(
                envs.single_observation_space.shape, EncoderConfig(strides=(4, 2), filters=8), torch.float32
            )
            policy = actor_critic(encoder, encoder.output_size, envs.single_action_space)
        generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
        return PPO(PPOConfig(rollout=12, minibatches=2), policy, *generators, total=100), envs

    def learn(ppo: PPO, envs: Any, updates: int) -> None:
        for _ in range(updates):
            ppo.collect(envs)
            ppo.update()

    whole, envs = made()
    learn(whole, envs, 4)
    assert whole.rollout is not None and not whole.rollout.valid.all() and whole.rollout.truncations.any()
    ppo, envs = made()
    learn(ppo, envs, 2)
    again, others = made()
    kept = state_of(ppo)
    again.policy.load_state_dict(kept["policy"])
    again.optimizer.load_state_dict(kept["optimizer"])
    again.load_progress(kept["progress"])
    others.reset()
    others.set_state(envs.get_state())
    learn(again, others, 2)
    assert same(state_of(whole), state_of(again)) and not same(state_of(whole), state_of(ppo))


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_mistakes() -> None:
    with pytest.raises(FovealError, match="acts in Discrete spaces and in Box spaces of one dimension"):
        learner(spaces.MultiBinary(3))
    with pytest.raises(FovealError, match="call collect before update"):
        started()[0].update()
    for mode, least in ((AutoresetMode.SAME_STEP, 2), (AutoresetMode.NEXT_STEP, 4)):
        ppo, envs = started(lamps(mode=mode), minibatches=64 // least + 1)
        with pytest.raises(FovealError, match=f"a minibatch takes at least {least} of them"):
            ppo.collect(envs)
    ppo, envs = started(lamps(mode=AutoresetMode.DISABLED))
    with pytest.raises(FovealError, match="needs environments that reset themselves"):
        ppo.collect(envs)
    ppo, envs = started()
    envs.single_observation_space = spaces.Dict({"image": IMAGES})
    with pytest.raises(FovealError, match="learns from one array per observation"):
        ppo.collect(envs)
    with pytest.raises(FovealError, match=r"ppo\.value_loss is 'sb3'"):
        PPOConfig(value_loss="sb3")


def test_normalised() -> None:
    found = normalised(torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(found, torch.tensor([-1.0, 0.0, 1.0]))
    assert isinstance(learner(spaces.Discrete(2)).policy, ActorCritic) and math.isclose(PPOConfig().clip, 0.1)
