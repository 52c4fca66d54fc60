"""What learners of continuous actions share: twin critics on the convolutions, and a policy on the same ones."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from foveal.learners.base import CriticInput, Estimate, Shapes, ValueLearner, check_action_space
from foveal.networks.averaging import frozen_copy
from foveal.networks.encoders import Projection, build_encoder
from foveal.networks.heads import TwinCritic, mlp, with_vector
from foveal.networks.optimization import adam
from foveal.types import Observation


class ActorCritic(ValueLearner):
    """Twin critics on a shared encoder, a policy on its own projection of the same convolutions.

    Subclasses define the policy, what it learns and against which targets. Their settings hold ``encoder``, ``hidden``,
    ``critic_lr`` and ``actor_lr``.

    Attributes:
        policy_outputs: how many numbers the policy has for each dimension of the action.

    Raises:
        FovealError: the actions are not continuous.
    """

    heads = 2
    capturable = True
    policy_outputs: ClassVar[int] = 1

    def __init__(
        self, config: Any, shapes: Shapes, dtype: torch.dtype, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(config, shapes, dtype, generator)
        check_action_space(config.section, shapes.action, discrete=False)
        self.action_size = math.prod(shapes.action.shape or ())
        self.convolutions = build_encoder(shapes.image, config.encoder, dtype)
        self.feature_size = self.convolutions.output_size
        self.latent_size = config.encoder.projection
        self.projection = Projection(self.feature_size, self.latent_size)
        head_input = self.latent_size + shapes.vector
        self.critics = TwinCritic(head_input + self.action_size, config.hidden)
        self.target_projection = frozen_copy(self.projection)
        self.target_critics = frozen_copy(self.critics)
        self.actor_projection = Projection(self.feature_size, self.latent_size)
        self.policy = mlp(head_input, config.hidden, self.policy_outputs * self.action_size)

    # --- critic ---------------------------------------------------------------------------------------------------

    def estimate(self, obs: Observation, action: Tensor) -> Estimate:
        """Both critics on one pass of the encoder."""
        features = self.features(obs)
        latent = self.projection(features)
        values = self.critics(with_vector(latent, obs.vector), action)  # (2, B)
        return Estimate(features, latent, values, values)

    def td_loss(self, estimate: Estimate, target: Tensor) -> Tensor:
        """Sum over the critics of the mean squared TD error."""
        return (estimate.prediction - target).square().mean(1).sum()  # (2, B) - (B,)

    def action_features(self, action: Tensor) -> Tensor:
        return action

    def critic_parameters(self) -> list[nn.Parameter]:
        return [*self.encoder_parameters, *self.critics.parameters()]

    def critic_optimizer(self, extra: list[nn.Parameter]) -> torch.optim.Optimizer:
        return adam([*self.critic_parameters(), *extra], self.config.critic_lr)

    # --- policy ---------------------------------------------------------------------------------------------------

    def actor_parameters(self) -> list[nn.Parameter]:
        return [*self.actor_projection.parameters(), *self.policy.parameters()]

    @cached_property
    def actor_optimizer(self) -> torch.optim.Optimizer:
        """Adam on these, made when first asked for: after the move to the device."""
        return adam(self.actor_parameters(), self.config.actor_lr)

    @torch.no_grad()
    def _seen(
        self, obs: Observation, features: Tensor | None, critic_input: CriticInput | None
    ) -> tuple[Tensor, Tensor]:
        """What a step of the policy acts on, (B, F), and the critic's (B, D + V) on which its actions are judged."""
        features = self.features(obs) if features is None else features
        critic_input = critic_input or CriticInput(features, obs.vector)
        return features, with_vector(self.projection(critic_input.features), critic_input.vector)
