"""QR-DQN: Q-learning of quantiles of the return (Dabney, Rowland, Bellemare and Munos, AAAI 2018).

Z(s, a) is N equally likely values theta_i(s, a), of which the i-th is to be the quantile of the return at the midpoint
(2 i - 1) / (2 N) (Lemma 2). Actions are chosen by the mean. What it shares with DQN departs from the paper as DQN does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from foveal.config.bounds import POSITIVE, SHARE, at_least
from foveal.learners.base import LEARNERS, Estimate, Shapes
from foveal.learners.discrete import DiscreteConfig, DiscreteLearner, of_action
from foveal.types import Batch, Observation


@dataclass(frozen=True)
class QRDQNConfig(DiscreteConfig, section="qrdqn"):
    """Hyperparameters of QR-DQN, those of ``DiscreteConfig`` included; the defaults are the paper's.

    Attributes:
        quantiles: N, how many for each action.
        kappa: where the Huber loss turns from quadratic to linear, in units of return; 0 for the plain quantile loss.
        final_epsilon: share of random actions from ``epsilon_steps`` on.
    """

    quantiles: Annotated[int, at_least(1)] = 200
    kappa: Annotated[float, at_least(0)] = 1.0
    double: bool = False
    lr: Annotated[float, POSITIVE] = 5e-5
    adam_eps: Annotated[float, POSITIVE] = 0.01 / 32
    final_epsilon: Annotated[float, SHARE] = 0.01


@LEARNERS.register("qrdqn")
class QRDQN(DiscreteLearner):
    """N quantiles of the return for every action; their mean is its value.

    Raises:
        FovealError: the actions are not discrete.
    """

    Config = QRDQNConfig
    config: QRDQNConfig
    presets = {
        **DiscreteLearner.presets,
        "compact": {**DiscreteLearner.presets["compact"], "quantiles": 50, "lr": 3e-4},
        "debug": {**DiscreteLearner.presets["debug"], "quantiles": 5},
    }

    def __init__(
        self, config: QRDQNConfig, shapes: Shapes, dtype: torch.dtype, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(config, shapes, dtype, generator)
        self.midpoints: Tensor
        self.register_buffer("midpoints", (torch.arange(self.outputs) + 0.5) / self.outputs, persistent=False)

    @classmethod
    def outputs_of(cls, config: Any) -> int:
        return config.quantiles

    def estimate(self, obs: Observation, action: Tensor) -> Estimate:
        """The quantiles (B, N) of the action that was taken, and their mean."""
        features = self.features(obs)
        latent = self.projection(features)
        quantiles = of_action(self._table(self.critic, latent, obs.vector), action)
        return Estimate(features, latent, quantiles.mean(1)[None], quantiles)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Tensor:
        """R + discount * theta'_j(s', a'), (B, N) (Algorithm 1)."""
        return batch.reward[:, None] + batch.discount[:, None] * self.next_outputs(batch)  # (B, 1) * (B, N)

    def td_loss(self, estimate: Estimate, target: Tensor) -> Tensor:
        """The mean over the batch of sum_i E_j rho(target_j - theta_i) (eq. 10)."""
        error = target[:, None, :] - estimate.prediction[:, :, None]  # (B, N targets j) - (B, N quantiles i): (B, i, j)
        weight = (self.midpoints[:, None] - (error.detach() < 0).float()).abs()  # (N, 1) - (B, i, j)
        return (weight * huber(error, self.config.kappa)).mean(2).sum(1).mean()


def huber(error: Tensor, kappa: float) -> Tensor:
    """L_kappa (eq. 9) of each element: u^2 / 2 up to kappa, kappa (|u| - kappa / 2) beyond; |u| where kappa is 0."""
    size = error.abs()
    if kappa == 0:
        return size
    inside = size.clamp(max=kappa)
    return inside * (size - 0.5 * inside)
