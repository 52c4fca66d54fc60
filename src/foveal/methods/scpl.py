"""SCPL: salience-invariant consistent policy learning (Sun et al., AAMAS 2025).

SGQN's consistency on two views of s, one of them with another picture laid over, and two more things that must agree on
both: what comes next, and what the policy does. An update, in the order in which ``training.updater.Updater`` runs it
with any learner:

1. sample (s, a, r, s') and shift both observations at random: ``prepare``;
2. step the critic on half the TD loss of either view against the target of the clean s', and on the consistency of Q
   with Q of the view's salient pixels: ``views``, ``critic_loss``;
3. step the policy, whose loss has the divergence of what it does on the two views, and the target networks:
   ``actor_loss``;
4. every so many updates, step encoder and dynamics on telling the next latent and the reward from either view:
   ``auxiliary``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.augmentations import AUGMENTATIONS
from foveal.config.bounds import PART, POSITIVE, at_least, registered
from foveal.learners.base import ValueLearner
from foveal.methods.agreement import Agreeing
from foveal.methods.auxiliary import Auxiliary
from foveal.methods.base import METHODS, Context, Requirements, Setup, StrongAugmentation
from foveal.methods.drq import DrQ, DrQConfig
from foveal.methods.sgqn import consistency, fill_masked, salient_mask
from foveal.types import Batch, Observation, joined, joined_vectors


@dataclass(frozen=True)
class SCPLConfig(DrQConfig, section="scpl"):
    """Hyperparameters of SCPL; the defaults are the published code's.

    Attributes:
        quantile: the share of each frame's pixels that the mask leaves out, in either view.
        consistency_weight: weight of the consistency loss beside the TD loss.
        agreement_weight: weight of the policy's divergence between the views. It has no effect where the learner has
            no policy, or one without a distribution.
        auxiliary_period: critic updates per step of the dynamics.
        auxiliary_lr: Adam's step size of it.
        hidden: width of the dynamics' hidden layer.
        augmentation: the strong augmentation, by name.
    """

    quantile: Annotated[float, PART] = 0.90
    consistency_weight: Annotated[float, at_least(0)] = 0.5
    agreement_weight: Annotated[float, at_least(0)] = 1.0
    auxiliary_period: Annotated[int, at_least(1)] = 2
    auxiliary_lr: Annotated[float, POSITIVE] = 3e-4
    hidden: Annotated[int, at_least(1)] = 512
    augmentation: Annotated[str, registered(AUGMENTATIONS)] = "overlay"


class Dynamics(nn.Module):
    """From a latent and an action to the next latent and the reward; deterministic."""

    def __init__(self, latent_size: int, action_size: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(latent_size + action_size, hidden), nn.LayerNorm(hidden), nn.ReLU())
        self.latent = nn.Linear(hidden, latent_size)
        self.reward = nn.Linear(hidden, 1)

    def forward(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D), (B, A) -> (B, D), (B,)."""
        hidden = self.hidden(torch.cat([latent, action], dim=1))
        return self.latent(hidden), self.reward(hidden).squeeze(1)


@METHODS.register("scpl")
class SCPL(Auxiliary, Agreeing, DrQ):
    """Values from salient pixels, dynamics and a policy that agree on the plain and on the changed observation."""

    Config = SCPLConfig
    config: SCPLConfig
    optimizer_name = "dynamics"
    presets = {"compact": {"hidden": 256, "shift": 2}, "debug": {"hidden": 8}}

    def __init__(self, config: SCPLConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        learner = setup.learner
        self.augment = StrongAugmentation(config.augmentation, setup.augmentation)
        self.dynamics = Dynamics(learner.latent_size, learner.action_size, config.hidden)
        self._frame_channels = setup.frame_channels

    @classmethod
    def requirements(cls, config: SCPLConfig, image_size: int) -> Requirements:
        """Saliency starts from the values that the TD losses made, so their graphs must reach the pixels."""
        return Requirements(render_size=image_size, pixel_gradient=True)

    def critic_loss(self, context: Context) -> dict[str, Tensor]:
        """SGQN's consistency loss (its eq. 3) on both views as one batch; neither side is detached."""
        views, action = context.views, context.batch.action
        quantile, channels = self.config.quantile, self._frame_channels
        masks = [salient_mask(view.estimate.values, view.obs.image, quantile, channels) for view in views]
        images = [view.obs.image.detach().to(context.learner.dtype) for view in views]
        filled = fill_masked(torch.cat(images), torch.cat(masks), self.generator)
        both = Observation(filled, joined_vectors([view.obs for view in views]))
        masked = context.learner.estimate(both, torch.cat([action, action])).values  # (heads, 2 * B)
        values = torch.cat([view.estimate.values for view in views], dim=1)  # (heads, 2 * B)
        return {"consistency": self.config.consistency_weight * consistency(values, masked)}

    def auxiliary(self, context: Context) -> dict[str, Tensor]:
        """One step of the critic's encoder and the dynamics; s and s' of a sample are changed alike."""
        if not self.has_step(context.update):
            return {}
        batch = context.batch
        now, later = context.image, batch.next_obs.image
        changed = self.augment(torch.cat([now, later], dim=1), self.generator)  # (B, 2 * C, H, W)
        strong_now, strong_later = (image.to(now.dtype) for image in changed.chunk(2, dim=1))
        obs = joined([batch.obs._replace(image=now), batch.obs._replace(image=strong_now)])
        next_obs = joined([batch.next_obs, batch.next_obs._replace(image=strong_later)])
        transition, reward = self.dynamics_losses(context.learner, obs, batch, next_obs)
        self.minimize(transition + reward)
        return {"dynamics/transition": transition.detach(), "dynamics/reward": reward.detach()}

    def dynamics_losses(
        self, learner: ValueLearner, obs: Observation, batch: Batch, next_obs: Observation
    ) -> tuple[Tensor, Tensor]:
        """Half the MSE of the next latent, which gets no gradient, and the MSE of the reward, over 2 * B views."""
        action, reward = learner.action_features(batch.action), batch.reward
        latent, predicted = self.dynamics(learner.latent(obs), torch.cat([action, action]))
        with torch.no_grad():
            wanted = learner.latent(next_obs)
        return 0.5 * F.mse_loss(latent, wanted), F.mse_loss(predicted, torch.cat([reward, reward]))
