"""Deep Q-learning (Mnih et al., Nature 2015), double by option (van Hasselt, Guez and Silver, AAAI 2016).

Departures from Mnih et al.: the optimizer is Adam instead of RMSProp. On Atari games ``paper`` has their network, the
encoder ``nature``; elsewhere the encoder and its projection are those of DMC-GB (Hansen and Wang 2021), so that methods
which were published on it find their latent, and observations are in colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.learners.base import LEARNERS, Estimate
from foveal.learners.discrete import DiscreteConfig, DiscreteLearner, of_action
from foveal.types import Batch, Observation


@dataclass(frozen=True)
class DQNConfig(DiscreteConfig, section="dqn"):
    """Hyperparameters of DQN: those of ``DiscreteConfig``, with its defaults."""


@LEARNERS.register("dqn")
class DQN(DiscreteLearner):
    """One value for every action.

    Raises:
        FovealError: the actions are not discrete.
    """

    Config = DQNConfig
    config: DQNConfig

    def estimate(self, obs: Observation, action: Tensor) -> Estimate:
        """The value of the action that was taken."""
        features = self.features(obs)
        latent = self.projection(features)
        values = of_action(self._table(self.critic, latent, obs.vector), action).T  # (1, B)
        return Estimate(features, latent, values, values)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Tensor:
        """R + discount * Q'(s', a'), (B,)."""
        return batch.reward + batch.discount * self.next_outputs(batch).squeeze(1)

    def td_loss(self, estimate: Estimate, target: Tensor) -> Tensor:
        """Mean Huber loss: the error is clipped to [-1, 1] in the gradient (Mnih et al., methods)."""
        return F.smooth_l1_loss(estimate.prediction, target[None])  # (1, B), (1, B)
