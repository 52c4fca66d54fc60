"""What learners of discrete actions' values share: networks, double targets, and random actions at a falling rate.

They differ in what the critic's outputs for an action are: its value (``dqn``), or quantiles of its return (``qrdqn``).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.config.bounds import POSITIVE, SHARE, STEP, Bounded, at_least
from foveal.errors import FovealError
from foveal.learners.base import Estimate, Shapes, ValueLearner, check_action_space, linear
from foveal.networks.averaging import blend, frozen_copy
from foveal.networks.encoders import EncoderChoice, EncoderConfig, build_encoder, projection_behind
from foveal.networks.heads import Dueling, mlp, with_vector
from foveal.networks.optimization import adam
from foveal.types import Batch, Observation


@dataclass(frozen=True)
class DiscreteConfig(Bounded, section="discrete"):
    """Hyperparameters that all of them have; the defaults are Mnih et al.'s, but for what ``dqn`` says of itself.

    Attributes:
        hidden: width of the hidden layer of the values.
        hidden_layers: number of such layers. There are none on an encoder that ends in a dense layer, which is one.
        dueling: a stream of the state's value and one of the actions' advantages (Wang et al. 2016), each so wide.
        double: let the trained network choose the action that the target network values.
        lr: Adam's step size for convolutions, projection and values. Theirs is RMSProp's 2.5e-4.
        adam_eps: what Adam adds to its denominator.
        target_period: updates between two steps of the target network.
        target_tau: share of the trained weights that the target network takes then; 1 copies them.
        initial_epsilon: share of random actions at agent step 0.
        final_epsilon: share of random actions from ``epsilon_steps`` on.
        epsilon_steps: agent steps over which the share falls linearly. Theirs are 1 million frames of 4 repeats.
    """

    encoder: EncoderChoice = field(default_factory=EncoderConfig)
    hidden: Annotated[int, at_least(1)] = 512
    hidden_layers: Annotated[int, at_least(1)] = 1
    dueling: bool = False
    double: bool = True
    lr: Annotated[float, POSITIVE] = 1e-4
    adam_eps: Annotated[float, POSITIVE] = 1e-8
    target_period: Annotated[int, at_least(1)] = 10_000
    target_tau: Annotated[float, STEP] = 1.0
    initial_epsilon: Annotated[float, SHARE] = 1.0
    final_epsilon: Annotated[float, SHARE] = 0.1
    epsilon_steps: Annotated[int, at_least(1)] = 250_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.final_epsilon > self.initial_epsilon:
            raise FovealError(
                f"{self.section}.final_epsilon must be at most initial_epsilon, which is {self.initial_epsilon}, "
                f"not {self.final_epsilon}"
            )


class DiscreteLearner(ValueLearner):
    """Outputs for every action from one pass of the encoder, whose mean is its value; random actions at a falling rate.

    Subclasses define what they regress (``estimate``, ``targets`` and ``td_loss``).

    Attributes:
        outputs: N, how many numbers the critic has for an action.

    Raises:
        FovealError: the actions are not discrete.
    """

    config: DiscreteConfig
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
        self, config: DiscreteConfig, shapes: Shapes, dtype: torch.dtype, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(config, shapes, dtype, generator)
        check_action_space(config.section, shapes.action, discrete=True)
        space: Any = shapes.action
        self.action_size = int(space.n)
        self.outputs = self.outputs_of(config)
        self.convolutions = build_encoder(shapes.image, config.encoder, dtype)
        self.feature_size = self.convolutions.output_size
        self.latent_size = self.feature_size if self.convolutions.dense else config.encoder.projection
        self.projection = projection_behind(self.convolutions, self.latent_size)
        self.critic = self._head(self.latent_size + shapes.vector)
        self.target_convolutions = frozen_copy(self.convolutions)
        self.target_projection = frozen_copy(self.projection)
        self.target_critic = frozen_copy(self.critic)

    @classmethod
    def outputs_of(cls, config: Any) -> int:
        """N for these settings."""
        return 1

    def _head(self, size: int) -> nn.Module:
        """From (B, size) to (B, actions * N)."""
        config = self.config
        layers = 0 if self.convolutions.dense else config.hidden_layers
        if config.dueling:
            return Dueling(size, config.hidden, self.action_size, self.outputs, layers)
        return mlp(size, config.hidden, self.action_size * self.outputs, layers)

    # --- what the critic's outputs are ----------------------------------------------------------------------------

    @abstractmethod
    def estimate(self, obs: Observation, action: Tensor) -> Estimate:
        """The outputs for the action that was taken, and their mean as its value."""

    def table(self, obs: Observation) -> Tensor:
        """The outputs for every action, (B, actions, N)."""
        return self._table(self.critic, self.latent(obs), obs.vector)

    @torch.no_grad()
    def target_table(self, obs: Observation) -> Tensor:
        """The target network's outputs for every action, (B, actions, N)."""
        return self._table(self.target_critic, self.target_latent(obs), obs.vector)

    @torch.no_grad()
    def next_outputs(self, batch: Batch) -> Tensor:
        """The target network's outputs for the next action, (B, N).

        That is the trained network's best one (van Hasselt et al. 2016, eq. 4), or the target network's own.
        """
        table = self.target_table(batch.next_obs)  # (B, actions, N)
        chooser = self.table(batch.next_obs) if self.config.double else table
        return of_action(table, best(chooser))

    def _table(self, critic: nn.Module, latent: Tensor, vector: Tensor | None) -> Tensor:
        return critic(with_vector(latent, vector)).unflatten(1, (self.action_size, self.outputs))

    @torch.no_grad()
    def target_latent(self, obs: Observation) -> Tensor:
        return self.target_projection(self.target_convolutions(obs.image))

    # --- training -------------------------------------------------------------------------------------------------

    def update_target_networks(self) -> None:
        """A share of the trained weights, or all of them."""
        for part in ("convolutions", "projection", "critic"):
            blend(getattr(self, f"target_{part}"), getattr(self, part), self.config.target_tau)

    def policy_periods(self) -> tuple[int, int]:
        """The first is unused, because there is no policy."""
        return 1, self.config.target_period

    def action_features(self, action: Tensor) -> Tensor:
        return F.one_hot(action, self.action_size).float()

    def critic_parameters(self) -> list[nn.Parameter]:
        return [*self.encoder_parameters, *self.critic.parameters()]

    def critic_optimizer(self, extra: list[nn.Parameter]) -> torch.optim.Optimizer:
        return adam([*self.critic_parameters(), *extra], self.config.lr, eps=self.config.adam_eps)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {}

    # --- acting ---------------------------------------------------------------------------------------------------

    def epsilon(self) -> Tensor:
        """The share of random actions at this agent step, a scalar on the device."""
        config = self.config
        return linear(self.agent_step, config.initial_epsilon, config.final_epsilon, config.epsilon_steps)

    def best_action(self, obs: Observation) -> Tensor:
        return best(self.table(obs))

    def decision(self, obs: Observation) -> Tensor:
        return self.table(obs).mean(2)

    @torch.no_grad()
    def act(self, obs: Observation, deterministic: bool, generator: torch.Generator) -> Tensor:
        """(B,) ``int64``: the best action, or with probability epsilon any."""
        chosen = self.best_action(obs)
        if deterministic:
            return chosen
        draw = torch.rand(chosen.shape, generator=generator, device=chosen.device)
        anything = torch.randint(self.action_size, chosen.shape, generator=generator, device=chosen.device)
        return torch.where(draw < self.epsilon(), anything, chosen)


def of_action(table: Tensor, action: Tensor) -> Tensor:
    """The outputs for one action of each sample: (B, actions, N), (B,) -> (B, N)."""
    index = action[:, None, None].expand(-1, 1, table.shape[2])  # (B, 1, N)
    return table.gather(1, index).squeeze(1)


def best(table: Tensor) -> Tensor:
    """The action of the highest mean output: (B, actions, N) -> (B,)."""
    return table.mean(2).argmax(1)
