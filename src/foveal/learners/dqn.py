"""Deep Q-learning (Mnih et al., Nature 2015), double by option (van Hasselt, Guez and Silver, AAAI 2016).

Departures from Mnih et al.: the optimizer is Adam instead of RMSProp. On Atari games ``paper`` has their network, the
encoder ``nature``; elsewhere the encoder and its projection are those of DMC-GB (Hansen and Wang 2021), so that methods
which were published on it find their latent, and observations are in colour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.config.bounds import POSITIVE, SHARE, STEP, Bounded, at_least
from foveal.errors import FovealError
from foveal.learners.base import LEARNERS, Estimate, Shapes, ValueLearner, check_action_space
from foveal.networks.averaging import blend, frozen_copy
from foveal.networks.encoders import EncoderChoice, EncoderConfig, build_encoder, projection_behind
from foveal.networks.heads import mlp, with_vector
from foveal.networks.optimization import adam
from foveal.types import Batch, Observation


@dataclass(frozen=True)
class DQNConfig(Bounded, section="dqn"):
    """Hyperparameters of DQN; the defaults are Mnih et al.'s, but for what the module's docstring says.

    Attributes:
        hidden: width of the hidden layer of the values.
        hidden_layers: number of such layers. There are none on an encoder that ends in a dense layer, which is one.
        double: let the trained network choose the action that the target network values.
        lr: Adam's step size for convolutions, projection and values. Theirs is RMSProp's 2.5e-4.
        target_period: updates between two steps of the target network.
        target_tau: share of the trained weights that the target network takes then; 1 copies them.
        initial_epsilon: share of random actions at agent step 0.
        final_epsilon: share of random actions from ``epsilon_steps`` on.
        epsilon_steps: agent steps over which the share falls linearly. Theirs are 1 million frames of 4 repeats.
    """

    encoder: EncoderChoice = field(default_factory=EncoderConfig)
    hidden: Annotated[int, at_least(1)] = 512
    hidden_layers: Annotated[int, at_least(1)] = 1
    double: bool = True
    lr: Annotated[float, POSITIVE] = 1e-4
    target_period: Annotated[int, at_least(1)] = 10_000
    target_tau: Annotated[float, STEP] = 1.0
    initial_epsilon: Annotated[float, SHARE] = 1.0
    final_epsilon: Annotated[float, SHARE] = 0.1
    epsilon_steps: Annotated[int, at_least(1)] = 250_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.final_epsilon > self.initial_epsilon:
            raise FovealError(
                f"dqn.final_epsilon must be at most initial_epsilon, which is {self.initial_epsilon}, "
                f"not {self.final_epsilon}"
            )


@LEARNERS.register("dqn")
class DQN(ValueLearner):
    """One value for every action from one pass of the encoder; random actions at a falling rate.

    Raises:
        FovealError: the actions are not discrete.
    """

    Config = DQNConfig
    config: DQNConfig
    capturable = True
    has_policy = False
    presets = {
        "compact": {
            "encoder": {"strides": (2, 1), "initialization": "orthogonal", "projection": 50, "centred": True},
            "hidden": 256,
            "target_period": 500,
            "epsilon_steps": 20_000,
        },
        "debug": {
            "encoder": {"strides": (2, 2, 1), "filters": 8, "projection": 8},
            "hidden": 16,
            "target_period": 4,
            "epsilon_steps": 100,
        },
    }
    run_presets = {
        "paper": {
            "environment": {"frame_stack": 4},
            "training": {
                "batch_size": 32,
                "updates_per_step": 0.25,
                "initial_random_steps": 50_000,
                "catch_up_updates": 0,
            },
        }
    }

    def __init__(
        self, config: DQNConfig, shapes: Shapes, dtype: torch.dtype, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(config, shapes, dtype, generator)
        check_action_space("dqn", shapes.action, discrete=True)
        space: Any = shapes.action
        self.action_size = int(space.n)
        self.convolutions = build_encoder(shapes.image, config.encoder, dtype)
        self.feature_size = self.convolutions.output_size
        dense = self.convolutions.dense
        self.latent_size = self.feature_size if dense else config.encoder.projection
        self.projection = projection_behind(self.convolutions, self.latent_size)
        layers = 0 if dense else config.hidden_layers
        self.critic = mlp(self.latent_size + shapes.vector, config.hidden, self.action_size, layers)
        self.target_convolutions = frozen_copy(self.convolutions)
        self.target_projection = frozen_copy(self.projection)
        self.target_critic = frozen_copy(self.critic)

    # --- values ---------------------------------------------------------------------------------------------------

    def estimate(self, obs: Observation, action: Tensor) -> Estimate:
        """The value of the action that was taken."""
        features = self.features(obs)
        latent = self.projection(features)
        all_values = self.critic(with_vector(latent, obs.vector))  # (B, actions)
        values = all_values.gather(1, action[:, None]).T  # (1, B)
        return Estimate(features, latent, values, values)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Tensor:
        """R + discount * Q'(s', a'), (B,); a' is Q's best action (van Hasselt et al., eq. 4), or Q''s own."""
        next_obs = batch.next_obs
        target_values = self.target_critic(with_vector(self.target_latent(next_obs), next_obs.vector))  # (B, actions)
        chooser = self._values(next_obs) if self.config.double else target_values
        value = target_values.gather(1, chooser.argmax(1, keepdim=True)).squeeze(1)  # (B,)
        return batch.reward + batch.discount * value

    def td_loss(self, estimate: Estimate, target: Tensor) -> Tensor:
        """Mean Huber loss: the error is clipped to [-1, 1] in the gradient (Mnih et al., methods)."""
        return F.smooth_l1_loss(estimate.prediction, target[None])  # (1, B), (1, B)

    @torch.no_grad()
    def target_latent(self, obs: Observation) -> Tensor:
        """After the target encoder's projection, (B, D)."""
        return self.target_projection(self.target_convolutions(obs.image))

    def update_target_networks(self) -> None:
        """A share of the trained weights, or all of them."""
        for part in ("convolutions", "projection", "critic"):
            blend(getattr(self, f"target_{part}"), getattr(self, part), self.config.target_tau)

    def policy_periods(self) -> tuple[int, int]:
        """The first is unused, because there is no policy."""
        return 1, self.config.target_period

    def action_features(self, action: Tensor) -> Tensor:
        """One-hot, (B, actions)."""
        return F.one_hot(action, self.action_size).float()

    def critic_parameters(self) -> list[nn.Parameter]:
        """Convolutions, projection and values."""
        return [*self.encoder_parameters, *self.critic.parameters()]

    def critic_optimizer(self, extra: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam on these and a method's extra parameters."""
        return adam([*self.critic_parameters(), *extra], self.config.lr)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """None beside the critic's."""
        return {}

    # --- acting ---------------------------------------------------------------------------------------------------

    def epsilon(self) -> Tensor:
        """The share of random actions at this agent step, a scalar on the device."""
        config = self.config
        passed = (self.agent_step / config.epsilon_steps).clamp(max=1.0)
        return config.initial_epsilon + (config.final_epsilon - config.initial_epsilon) * passed

    def best_action(self, obs: Observation) -> Tensor:
        """The action of the highest value, (B,)."""
        return self._values(obs).argmax(1)

    @torch.no_grad()
    def act(self, obs: Observation, deterministic: bool, generator: torch.Generator) -> Tensor:
        """(B,) ``int64``: the best action, or with probability epsilon any."""
        best = self.best_action(obs)
        if deterministic:
            return best
        draw = torch.rand(best.shape, generator=generator, device=best.device)
        anything = torch.randint(self.action_size, best.shape, generator=generator, device=best.device)
        return torch.where(draw < self.epsilon(), anything, best)

    def _values(self, obs: Observation) -> Tensor:
        """The value of every action, (B, actions)."""
        return self.critic(with_vector(self.latent(obs), obs.vector))
