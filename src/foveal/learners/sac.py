"""Soft actor-critic from pixels (Haarnoja et al. 2018), in the architecture of DMC-GB (Hansen and Wang 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, TanhTransform, TransformedDistribution

from foveal.config.bounds import FINITE, PART, POSITIVE, STEP, Bounded, at_least
from foveal.errors import FovealError
from foveal.learners.actor_critic import ActorCritic
from foveal.learners.base import LEARNERS, CriticInput, Shapes
from foveal.networks.averaging import blend, frozen_copy
from foveal.networks.encoders import EncoderChoice, EncoderConfig
from foveal.networks.heads import with_vector
from foveal.networks.optimization import adam, minimize
from foveal.types import Batch, Observation


@dataclass(frozen=True)
class SACConfig(Bounded, section="sac"):
    """Hyperparameters of SAC; the defaults are DMC-GB's.

    Attributes:
        hidden: width of the two hidden layers of actor and critics.
        critic_lr: Adam's step size for convolutions, projection and critics.
        actor_lr: Adam's step size for the actor's projection and policy.
        alpha_lr: Adam's step size for the temperature.
        alpha_beta1: Adam's first moment decay for the temperature.
        initial_temperature: weight of the entropy at the start.
        target_entropy: the entropy that the temperature aims at, per dimension of the action, in nats.
        critic_tau: share of the new weights that a target critic takes at each of its updates.
        encoder_tau: the same for the target encoder.
        actor_period: critic updates per actor update.
        target_period: critic updates per target update.
        log_std_min: bounds of the policy's log standard deviation.
        log_std_max: see ``log_std_min``.
    """

    encoder: EncoderChoice = field(default_factory=EncoderConfig)
    hidden: Annotated[int, at_least(1)] = 1024
    critic_lr: Annotated[float, POSITIVE] = 1e-3
    actor_lr: Annotated[float, POSITIVE] = 1e-3
    alpha_lr: Annotated[float, POSITIVE] = 1e-4
    alpha_beta1: Annotated[float, PART] = 0.5
    initial_temperature: Annotated[float, POSITIVE] = 0.1
    target_entropy: Annotated[float, FINITE] = -1.0
    critic_tau: Annotated[float, STEP] = 0.01
    encoder_tau: Annotated[float, STEP] = 0.05
    actor_period: Annotated[int, at_least(1)] = 2
    target_period: Annotated[int, at_least(1)] = 2
    log_std_min: Annotated[float, FINITE] = -10.0
    log_std_max: Annotated[float, FINITE] = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.log_std_min >= self.log_std_max:
            raise FovealError(
                f"sac.log_std_min must be below log_std_max, which is {self.log_std_max}, not {self.log_std_min}"
            )


@LEARNERS.register("sac")
class SAC(ActorCritic):
    """Twin critics on a shared encoder, a squashed Gaussian policy on its own projection of the same convolutions.

    Raises:
        FovealError: the actions are not continuous.
    """

    Config = SACConfig
    config: SACConfig
    policy_outputs = 2
    presets = {
        "compact": {
            "encoder": {"strides": (2, 1), "initialization": "orthogonal", "projection": 50, "centred": True},
            "hidden": 256,
            "alpha_lr": 1e-3,
            "critic_tau": 0.02,
        },
        "debug": {"encoder": {"strides": (2, 2, 1), "filters": 8, "projection": 8}, "hidden": 16},
    }

    def __init__(
        self, config: SACConfig, shapes: Shapes, dtype: torch.dtype, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(config, shapes, dtype, generator)
        self.target_convolutions = frozen_copy(self.convolutions)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(config.initial_temperature)))
        self.target_entropy = config.target_entropy * self.action_size

    # --- targets --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def targets(self, batch: Batch) -> Tensor:
        """R + discount * (min_i Q'_i(s', a') - alpha log pi(a' | s')), a' ~ pi(s'); (B,)."""
        features = self.features(batch.next_obs)  # the policy has no target network
        action, log_prob = self._sample(features, batch.next_obs.vector)
        latent = self.target_latent(batch.next_obs)
        values = self.target_critics(with_vector(latent, batch.next_obs.vector), action)  # (2, B)
        soft_value = values.amin(0) - self.log_alpha.exp() * log_prob  # (B,)
        return batch.reward + batch.discount * soft_value

    @torch.no_grad()
    def target_latent(self, obs: Observation) -> Tensor:
        return self.target_projection(self.target_convolutions(obs.image))

    # --- policy ---------------------------------------------------------------------------------------------------

    def policy_step(
        self,
        obs: Observation,
        extra_loss: Callable[[], Tensor] | None = None,
        features: Tensor | None = None,
        critic_input: CriticInput | None = None,
    ) -> dict[str, Tensor]:
        """One step of the policy, one of the temperature; one pass of the convolutions serves actor and critic."""
        features, latent = self._seen(obs, features, critic_input)
        action, log_prob = self._sample(features, obs.vector)
        value = self.critics(latent, action).amin(0)  # (B,)
        loss = (self.log_alpha.exp().detach() * log_prob - value).mean()
        if extra_loss is not None:
            loss = loss + extra_loss()
        minimize(loss, self.actor_optimizer, self.actor_parameters())
        temperature_loss = self.log_alpha.exp() * (-log_prob - self.target_entropy).detach().mean()
        minimize(temperature_loss, self.alpha_optimizer, [self.log_alpha])
        entropy = -log_prob.detach().mean()
        return {"actor/loss": loss.detach(), "actor/entropy": entropy, "actor/alpha": self.log_alpha.detach().exp()}

    def distribution(self, obs: Observation) -> Distribution:
        """A Gaussian over (B, A) squashed by tanh; two of them have a KL divergence in closed form, (B,)."""
        with torch.no_grad():
            features = self.features(obs)
        mean, log_std = self._gaussian(features, obs.vector)
        gaussian = Independent(Normal(mean, log_std.exp(), validate_args=False), 1, validate_args=False)
        return TransformedDistribution(gaussian, TanhTransform(), validate_args=False)

    def best_action(self, obs: Observation) -> Tensor:
        mean, _ = self._gaussian(self.features(obs), obs.vector)
        return torch.tanh(mean)

    @torch.no_grad()
    def act(self, obs: Observation, deterministic: bool, generator: torch.Generator) -> Tensor:
        mean, log_std = self._gaussian(self.features(obs), obs.vector)
        if deterministic:
            return torch.tanh(mean)
        return torch.tanh(mean + log_std.exp() * _normal_like(mean, generator))

    @cached_property
    def alpha_optimizer(self) -> torch.optim.Optimizer:
        return adam([self.log_alpha], self.config.alpha_lr, (self.config.alpha_beta1, 0.999))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"actor": self.actor_optimizer, "alpha": self.alpha_optimizer}

    def _gaussian(self, features: Tensor, vector: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before tanh, (B, A) each. The convolutions get no gradient from here."""
        hidden = self.policy(with_vector(self.actor_projection(features), vector))
        mean, log_std = hidden.chunk(2, dim=1)
        low, high = self.config.log_std_min, self.config.log_std_max
        return mean, low + 0.5 * (high - low) * (torch.tanh(log_std) + 1)

    def _sample(self, features: Tensor, vector: Tensor | None) -> tuple[Tensor, Tensor]:
        """Actions (B, A) in (-1, 1), and their log densities (B,)."""
        mean, log_std = self._gaussian(features, vector)
        noise = _normal_like(mean, self.generator)
        raw = mean + log_std.exp() * noise
        return torch.tanh(raw), squashed_log_prob(noise, log_std, raw)

    # --- target networks ------------------------------------------------------------------------------------------

    def update_target_networks(self) -> None:
        """Exponential moving averages, faster for the encoder than for the critics."""
        blend(self.target_critics, self.critics, self.config.critic_tau)
        blend(self.target_convolutions, self.convolutions, self.config.encoder_tau)
        blend(self.target_projection, self.projection, self.config.encoder_tau)

    def policy_periods(self) -> tuple[int, int]:
        return self.config.actor_period, self.config.target_period


def squashed_log_prob(noise: Tensor, log_std: Tensor, raw: Tensor) -> Tensor:
    """Log density of tanh(raw), raw = mean + exp(log_std) * noise (Haarnoja et al. 2018, appendix C); (B, A) -> (B,).

    log(1 - tanh(x)^2) is written as 2 (log 2 - x - softplus(-2x)), which stays exact where tanh saturates. DMC-GB's
    code adds 1e-6 before it takes the logarithm, so its densities of saturated actions differ.
    """
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    squash = 2 * (math.log(2) - raw - F.softplus(-2 * raw))
    return (gaussian - squash).sum(1)


def _normal_like(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, device=like.device, dtype=like.dtype, generator=generator)
