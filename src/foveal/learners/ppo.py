"""Proximal policy optimization (Schulman et al. 2017), with the details of OpenAI Baselines."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.config.bounds import POSITIVE, SHARE, Bounded, at_least, one_of
from foveal.errors import FovealError
from foveal.learners.rollouts import Rollout, Samples, as_actions, as_tensor, resets_at_once
from foveal.networks.optimization import adam, minimize
from foveal.networks.policies import CRITIC_GAIN, ActorCritic, CategoricalHead, GaussianHead, PolicyHead, linear

VALUE_LOSSES = ("baselines", "plain", "clipped")
NORMALISATIONS = ("minibatch", "rollout", "none")
OnStep = Callable[[Mapping[str, Any]], None]
"""Takes the ``infos`` of a step of the vector environment."""


@dataclass(frozen=True)
class PPOConfig(Bounded, section="ppo"):
    """Hyperparameters of PPO; the defaults are those of OpenAI Baselines on Atari.

    Attributes:
        rollout: steps of each environment between updates.
        discount: gamma, per step.
        gae_lambda: of the generalized advantage estimate.
        bootstrap_timeouts: expect further reward after a time limit, by the critic's estimate; else it ends the return.
        freeze_encoder: leave the encoder as it is; its features are computed once, when acting, and kept.
        minibatches: parts into which a rollout is divided, in every epoch anew.
        epochs: passes over a rollout.
        learning_rate: Adam's step size, at the start.
        decay_learning_rate: let it fall linearly, to 0 at the end of training.
        clip: range of the probability ratio, at the start.
        decay_clip: let it fall alike.
        value_loss: "baselines" (half the mean of the larger squared error, that of the new value or of the new value
            moved to within ``clip`` of the old), "plain" (half the mean squared error) or "clipped" (the mean squared
            error of the moved value, as in Stable-Baselines3).
        normalise_advantages: to mean 0 and standard deviation 1 in each "minibatch", in the whole "rollout", or "none".
        entropy: coefficient of the policy's entropy.
        value: coefficient of the value loss.
        gradient_norm: longer gradients are shortened to this.
        adam_epsilon: in Adam's denominator.
    """

    rollout: Annotated[int, at_least(1)] = 128
    discount: Annotated[float, SHARE] = 0.99
    gae_lambda: Annotated[float, SHARE] = 0.95
    bootstrap_timeouts: bool = True
    freeze_encoder: bool = False
    minibatches: Annotated[int, at_least(1)] = 4
    epochs: Annotated[int, at_least(1)] = 4
    learning_rate: Annotated[float, POSITIVE] = 2.5e-4
    decay_learning_rate: bool = True
    clip: Annotated[float, POSITIVE] = 0.1
    decay_clip: bool = True
    value_loss: Annotated[str, one_of(*VALUE_LOSSES)] = "baselines"
    normalise_advantages: Annotated[str, one_of(*NORMALISATIONS)] = "minibatch"
    entropy: Annotated[float, at_least(0)] = 0.01
    value: Annotated[float, at_least(0)] = 0.5
    gradient_norm: Annotated[float, POSITIVE] = 0.5
    adam_epsilon: Annotated[float, POSITIVE] = 1e-5

    def check_minibatches(self, environments: int) -> None:
        """Refuse minibatches that so many environments' rollout can't be divided into.

        Raises:
            FovealError: they leave a rest, or have fewer than two steps.
        """
        steps = environments * self.rollout
        if steps % self.minibatches or steps // self.minibatches < 2:
            raise FovealError(
                f"{self.section}.minibatches is {self.minibatches}: it must divide environments * rollout, which is "
                f"{steps}, into parts of at least 2"
            )


# --- losses -----------------------------------------------------------------------------------------------------------


def surrogate_loss(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Minus the clipped surrogate objective (Schulman et al. 2017, eq. 7); (B,) each -> a scalar."""
    ratio = (log_probs - old_log_probs).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()


def value_loss(kind: str, values: Tensor, old_values: Tensor, returns: Tensor, clip: float) -> Tensor:
    """One of ``VALUE_LOSSES``, see ``PPOConfig``; (B,) each -> a scalar."""
    error = (values - returns).square()
    if kind == "plain":
        return 0.5 * error.mean()
    moved = old_values + (values - old_values).clamp(-clip, clip)
    moved_error = (moved - returns).square()
    if kind == "clipped":
        return moved_error.mean()
    return 0.5 * torch.maximum(error, moved_error).mean()


def normalised(advantages: Tensor) -> Tensor:
    """With mean 0 and standard deviation 1; (B,)."""
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


# --- the learner ------------------------------------------------------------------------------------------------------


def head_for(space: spaces.Space[Any], size: int) -> PolicyHead:
    """A policy over one environment's actions, on ``size`` features.

    Raises:
        FovealError: actions are neither one number out of some nor a vector of continuous ones.
    """
    if isinstance(space, spaces.Discrete):
        return CategoricalHead(size, int(space.n))
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return GaussianHead(size, space.shape[0])
    raise FovealError(f"PPO acts in Discrete spaces and in Box spaces of one dimension, and this one is {space}")


def actor_critic(encoder: nn.Module, size: int, space: spaces.Space[Any]) -> ActorCritic:
    """Actor and critic of one linear layer each on an encoder's ``size`` features.

    Raises:
        FovealError: as ``head_for``.
    """
    return ActorCritic(encoder, head_for(space, size), linear(size, 1, CRITIC_GAIN))


class PPO:
    """Collects rollouts in a vector environment and improves a policy on them.

    ::

        ppo = PPO(config, policy, acting, shuffling, total=1_000_000)
        while ppo.steps < ppo.total:
            ppo.collect(environments)
            metrics = ppo.update()

    Args:
        config: its hyperparameters.
        policy: on its device already.
        acting: draws actions, on the policy's device.
        shuffling: draws minibatches, on the CPU.
        total: steps at which the linear decays end; 0 leaves the rates as they are.

    Attributes:
        steps: taken so far, by all environments together.
        seen: (N, ...), what the environments show now; None before the first rollout, which then resets them.
        beginning: (N,), where the next step only begins an episode; None before the first rollout.
        rollout: the latest.
        optimizer: Adam, over all that is trained.
        updates: passes over rollouts so far.
        left: share of training that was left when the latest rollout began.
    """

    def __init__(
        self,
        config: PPOConfig,
        policy: ActorCritic,
        acting: torch.Generator,
        shuffling: torch.Generator,
        total: int = 0,
    ) -> None:
        self.config, self.policy, self.total = config, policy, total
        self.acting, self.shuffling = acting, shuffling
        self.device = acting.device
        self.steps = 0
        self.seen: NDArray[Any] | None = None
        self.rollout: Rollout | None = None
        self.beginning: NDArray[np.bool_] | None = None
        policy.encoder.requires_grad_(not config.freeze_encoder)
        self.parameters = [weight for weight in policy.parameters() if weight.requires_grad]
        self.optimizer = adam(self.parameters, config.learning_rate, eps=config.adam_epsilon)
        self.updates = 0
        self.left = 1.0

    # --- collecting ---------------------------------------------------------------------------------------------------

    def begin(self, seen: NDArray[Any] | None = None, beginning: NDArray[np.bool_] | None = None) -> None:
        """Go on in environments that show ``seen``, or in ones that the next rollout resets; see the attributes."""
        self.seen, self.beginning = seen, beginning

    @torch.no_grad()
    def collect(self, envs: VectorEnv[Any, Any, Any], on_step: OnStep | None = None) -> Rollout:
        """Let the policy act for ``config.rollout`` steps in every environment.

        Args:
            envs: observe arrays, not dicts; act in a discrete or a continuous space; and reset episodes by themselves.
            on_step: is called with the infos of every step.

        Raises:
            FovealError: the environments are others than that, or too few for the minibatches.
        """
        config, same_step = self.config, resets_at_once(envs)
        least = 2 if same_step else 4  # with short episodes, as many as half the steps only begin one
        if config.rollout * envs.num_envs < least * config.minibatches:
            raise FovealError(
                f"ppo.minibatches is {config.minibatches}, which is too many for {config.rollout} steps of "
                f"{envs.num_envs} environments: a minibatch takes at least {least} of them"
            )
        self.left = max(0.0, 1 - self.steps / self.total) if self.total else 1.0
        if self.seen is None:
            self.seen, _ = envs.reset()
        if self.beginning is None:
            self.beginning = np.zeros(envs.num_envs, np.bool_)
        for step in range(config.rollout):
            infos = self._act(envs, step, self.seen, self.beginning, same_step=same_step)
            if on_step is not None:
                on_step(infos)
        return self._judged(self.seen, same_step=same_step)

    def _act(
        self,
        envs: VectorEnv[Any, Any, Any],
        step: int,
        shown: NDArray[Any],
        beginning: NDArray[np.bool_],
        *,
        same_step: bool,
    ) -> Mapping[str, Any]:
        """One step of every environment; gives its ``infos``."""
        rollout, features = self._see(step, shown)
        actions, rollout.log_probs[step] = self.policy.actor.sample(features, self.acting)
        rollout.actions[step], rollout.values[step] = actions, self.policy.value(features)
        self.seen, rewards, ended, cut, infos = envs.step(as_actions(actions, envs.single_action_space))
        rollout.rewards[step], rollout.terminations[step], rollout.truncations[step] = rewards, ended, cut
        rollout.valid[step] = ~beginning
        self.steps += int(rollout.valid[step].sum())
        timeouts = np.flatnonzero(cut & ~ended)
        if same_step and self.config.bootstrap_timeouts and len(timeouts):
            final = np.stack([infos["final_obs"][index] for index in timeouts])
            rollout.timeout_values[step, timeouts] = self.policy.values(as_tensor(final, self.device))
        if not same_step:
            self.beginning = ended | cut
        return infos

    def _see(self, step: int, shown: NDArray[Any]) -> tuple[Rollout, Tensor]:
        """Keep what the environments show, or its features where the encoder is frozen; and the features."""
        seen = as_tensor(shown, self.device)
        if self.config.freeze_encoder:
            seen = self.policy.features(seen)
        if self.rollout is None or self.rollout.values.shape[1] != len(shown):
            actor = self.policy.actor
            self.rollout = Rollout(self.config.rollout, len(shown), seen, actor.action_shape, actor.action_dtype)
        self.rollout.seen[step].copy_(seen)
        return self.rollout, self._features(self.rollout.seen[step])

    def _features(self, seen: Tensor) -> Tensor:
        """Of what a rollout has kept of observations."""
        return seen if self.config.freeze_encoder else self.policy.features(seen)

    def _judged(self, shown: NDArray[Any], *, same_step: bool) -> Rollout:
        """The rollout with its advantages and returns, where the environments show this after it."""
        config, rollout = self.config, self.rollout
        assert rollout is not None  # ``_see`` made it
        last_values = self.policy.values(as_tensor(shown, self.device))
        bootstrap, follow = config.bootstrap_timeouts, not same_step
        rollout.estimate(last_values, config.discount, config.gae_lambda, bootstrap=bootstrap, values_follow=follow)
        if config.normalise_advantages == "rollout":
            valid = rollout.rows().to(self.device)
            rollout.advantages.view(-1)[valid] = normalised(rollout.advantages.flatten()[valid])
        return rollout

    # --- improving ----------------------------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """For the latest rollout."""
        return self.config.learning_rate * (self.left if self.config.decay_learning_rate else 1.0)

    @property
    def clip(self) -> float:
        """For the latest rollout."""
        return self.config.clip * (self.left if self.config.decay_clip else 1.0)

    def update(self) -> dict[str, Tensor]:
        """Improve the policy on the latest rollout.

        Returns:
            Means over all minibatches, on the policy's device, that nobody has waited for.

        Raises:
            FovealError: there is no rollout yet.
        """
        config, rollout = self.config, self.rollout
        if rollout is None:
            raise FovealError("PPO has no rollout to learn from: call collect before update")
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        rows = rollout.rows()
        valid = rows.to(self.device, non_blocking=True)
        unexplained = (rollout.returns - rollout.values).flatten()[valid].var()
        explained = 1 - unexplained / rollout.returns.flatten()[valid].var().clamp_min(1e-8)
        steps: list[Tensor] = []
        for _ in range(config.epochs):
            order = rows[torch.randperm(len(rows), generator=self.shuffling)].to(self.device, non_blocking=True)
            steps += [self._step(rollout.take(chosen)) for chosen in order.tensor_split(config.minibatches)]
        self.updates += config.epochs
        means = torch.stack(steps).mean(0)  # (epochs * minibatches, metrics) -> (metrics,)
        return {**dict(zip(_METRICS, means, strict=True)), "train/explained_variance": explained}

    def _step(self, samples: Samples) -> Tensor:
        """One step of Adam on a minibatch; gives what ``_METRICS`` names."""
        config, clip = self.config, self.clip
        features = self._features(samples.seen)
        log_probs, entropies = self.policy.actor.evaluate(features, samples.actions)
        values, entropy = self.policy.value(features), entropies.mean()
        per_minibatch = config.normalise_advantages == "minibatch"
        advantages = normalised(samples.advantages) if per_minibatch else samples.advantages

        policy_loss = surrogate_loss(log_probs, samples.log_probs, advantages, clip)
        error = value_loss(config.value_loss, values, samples.values, samples.returns, clip)
        loss = policy_loss + config.value * error - config.entropy * entropy  # Schulman et al. 2017, eq. 9
        minimize(loss, self.optimizer, self.parameters, config.gradient_norm)

        with torch.no_grad():
            change = log_probs - samples.log_probs
            divergence = (change.exp() - 1 - change).mean()  # of the old policy from the new, Schulman (2020)
            clipped = ((change.exp() - 1).abs() > clip).float().mean()
            return torch.stack([loss, policy_loss, error, -entropy, divergence, clipped])

    # --- state --------------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Called whenever weights, optimizers or counters were replaced by others, as ``Updater.restart``."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The one that there is, by name."""
        return {"ppo": self.optimizer}

    def progress(self) -> dict[str, Any]:
        """A copy of what the next rollout and update depend on beside weights, optimizer and environments.

        To be taken after an update: the rollout itself is not in it.
        """
        state = {
            "generators": [self.acting.get_state(), self.shuffling.get_state()],
            "counts": [self.steps, self.updates, self.total],
            "left": self.left,
            "seen": self.seen,
            "beginning": self.beginning,
        }
        return copy.deepcopy(state)

    def load_progress(self, state: Mapping[str, Any]) -> None:
        """Undo of ``progress``."""
        for generator, held in zip((self.acting, self.shuffling), state["generators"], strict=True):
            generator.set_state(held)
        self.steps, self.updates, self.total = state["counts"]
        self.left = state["left"]
        self.seen, self.beginning = copy.deepcopy((state["seen"], state["beginning"]))


_METRICS = (
    "train/loss",
    "train/policy_gradient_loss",
    "train/value_loss",
    "train/entropy_loss",
    "train/approx_kl",
    "train/clip_fraction",
)
