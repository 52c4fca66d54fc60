"""CURL: contrastive unsupervised representations (Laskin, Srinivas and Abbeel, ICML 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.config.bounds import POSITIVE, STEP, Bounded, at_least
from foveal.learners.base import ValueLearner
from foveal.methods.auxiliary import Auxiliary
from foveal.methods.base import METHODS, Context, Setup
from foveal.methods.cropping import Cropping
from foveal.networks.averaging import blend, frozen_copy
from foveal.types import Batch, Observation

KEY = "curl_key"
"""The name under which a batch carries its second crops."""


@dataclass(frozen=True)
class CURLConfig(Bounded, section="curl"):
    """Hyperparameters of CURL; the defaults are the authors' for DMControl, which DMC-GB shares.

    Attributes:
        auxiliary_period: critic updates per contrastive step.
        auxiliary_lr: Adam's step size of the contrastive step.
        tau: share of the new weights that the momentum encoder takes whenever target networks move. Unused where the
            learner has a target encoder, which then gives the keys and moves at the learner's own rate.
    """

    auxiliary_period: Annotated[int, at_least(1)] = 1
    auxiliary_lr: Annotated[float, POSITIVE] = 1e-3
    tau: Annotated[float, STEP] = 0.05


@METHODS.register("curl")
class CURL(Auxiliary, Cropping):
    """The learner sees random crops, and its latent of one must tell its momentum latent of another from the batch's.

    Attributes:
        similarity: (D, D), the matrix W of the bilinear similarity.
        own_keys: whether keys come from a momentum encoder of its own.
        target_convolutions, target_projection: the momentum encoder; only where ``own_keys``.
    """

    Config = CURLConfig
    config: CURLConfig
    optimizer_name = "curl"
    capturable = True

    def __init__(self, config: CURLConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        learner = setup.learner
        self.similarity = nn.Parameter(torch.rand(learner.latent_size, learner.latent_size))
        self.own_keys = type(learner).target_latent is ValueLearner.target_latent
        if self.own_keys:
            self.target_convolutions = frozen_copy(learner.convolutions)
            self.target_projection = frozen_copy(learner.projection)

    def prepare(self, batch: Batch) -> Batch:
        """A random crop of each of the two observations, and a second one of the first."""
        cropped = super().prepare(batch)
        return cropped.replace(extras={**cropped.extras, KEY: self.crop(batch.obs.image)})

    def auxiliary(self, context: Context) -> dict[str, Tensor]:
        """Move the momentum encoder if there is one, and contrast the batch's crops with the other crops (eq. 4)."""
        learner = context.learner
        if self.own_keys and context.update % learner.policy_periods()[1] == 0:
            blend(self.target_convolutions, learner.convolutions, self.config.tau)
            blend(self.target_projection, learner.projection, self.config.tau)
        if not self.has_step(context.update):
            return {}
        query = learner.latent(context.batch.obs._replace(image=context.image))  # (B, D)
        other = context.batch.obs._replace(image=context.batch.extras[KEY])
        loss = contrastive_loss(query, self.keys(learner, other.float(learner.dtype)), self.similarity)
        self.minimize(loss)
        return {"curl/loss": loss.detach()}

    @torch.no_grad()
    def keys(self, learner: ValueLearner, obs: Observation) -> Tensor:
        """The momentum encoder's latent, (B, D), without a graph."""
        if self.own_keys:
            return self.target_projection(self.target_convolutions(obs.image))
        return learner.target_latent(obs)

    def auxiliary_parameters(self) -> list[nn.Parameter]:
        return [*self._encoder, self.similarity]


def contrastive_loss(query: Tensor, key: Tensor, similarity: Tensor) -> Tensor:
    """InfoNCE: cross-entropy of finding each query's own key in the batch, by q W k (eq. 3 and 4).

    Args:
        query: (B, D).
        key: (B, D), row by row the queries' own.
        similarity: (D, D), W.
    """
    logits = query @ (similarity @ key.T)  # (B, B)
    logits = logits - logits.amax(1, keepdim=True)  # (B, B) - (B, 1): as published, for numbers of any size
    return F.cross_entropy(logits, torch.arange(len(query), device=query.device))
