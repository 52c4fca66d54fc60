"""SMG: separated models for generalization ("Focus on what matters", Zhang et al., NeurIPS 2024).

Two networks share the picture: what the critic's encoder sees is decoded into a foreground and a mask, what an encoder
beside it sees is decoded into a background, and together they give the observation back. An update, in the order in
which ``training.updater.Updater`` runs it with any learner:

1. sample (s, a, r, s') and shift both observations at random: ``prepare``;
2. change the looks of s: what the mask takes for background is replaced by another picture, or the picture is laid over
   all of it: ``change``;
3. step the critic on the TD loss plus the distance of Q of the changed s from Q(s, a): ``critic_loss``;
4. step the policy and the target networks, every so many updates: the learner;
5. every so many updates, step both branches on five losses: ``auxiliary``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.augmentations import overlay
from foveal.augmentations.overlay import Overlay
from foveal.config.bounds import POSITIVE, SHARE, at_least
from foveal.learners.base import ValueLearner
from foveal.methods.auxiliary import Auxiliary
from foveal.methods.base import METHODS, Context, Setup, StrongAugmentation
from foveal.methods.drq import DrQ, DrQConfig
from foveal.networks.decoders import PixelDecoder
from foveal.networks.heads import mlp
from foveal.types import Batch, Observation


@dataclass(frozen=True)
class SMGConfig(DrQConfig, section="smg"):
    """Hyperparameters of SMG; the defaults are the published ones of walker-walk, the only ones in its paper.

    Attributes:
        mask_share: rho, the share of a frame's pixels that the mask should have: about what the task's object takes.
        consistency_weight: weight of the distance between values of the changed and the plain observation.
        attribution_share: how often a batch is changed where it is background, rather than laid over everywhere.
        reconstruction_weight: weight of foreground and background giving the observation together.
        background_weight: weight of seeing the picture that was put behind the foreground.
        mask_weight: weight of the mask's share of pixels being ``mask_share``.
        action_weight: weight of telling the action from two observations.
        foreground_weight: weight of seeing the same foreground in the changed observation.
        mask_from: update from which on the mask's share counts: the random phase and its burst of updates go without.
        auxiliary_period: critic updates per step on these.
        auxiliary_lr: Adam's step size of it.
        gradient_norm: the norm to which its gradient is clipped.
        decoder_filters: channels of the decoders.
        hidden: width of the network that tells the action.
    """

    mask_share: Annotated[float, SHARE] = 0.06
    consistency_weight: Annotated[float, at_least(0)] = 0.5
    attribution_share: Annotated[float, SHARE] = 0.25
    reconstruction_weight: Annotated[float, at_least(0)] = 1.0
    background_weight: Annotated[float, at_least(0)] = 2.0
    mask_weight: Annotated[float, at_least(0)] = 1.0
    action_weight: Annotated[float, at_least(0)] = 1.0
    foreground_weight: Annotated[float, at_least(0)] = 0.1
    mask_from: Annotated[int, at_least(0)] = 1000
    auxiliary_period: Annotated[int, at_least(1)] = 2
    auxiliary_lr: Annotated[float, POSITIVE] = 1e-3
    gradient_norm: Annotated[float, POSITIVE] = 100.0
    decoder_filters: Annotated[tuple[int, int, int], at_least(1)] = (32, 128, 64)
    hidden: Annotated[int, at_least(1)] = 1024


class Due(NamedTuple):
    """What of its own an update has: whether it has the auxiliary step, and whether the mask's share counts in it."""

    step: bool
    mask: bool


class Changed(NamedTuple):
    """Pictures that an update's steps share, (B, C * frames, H, W) in [0, 255] each, without a graph.

    Attributes:
        attribution: the observation's foreground before another picture.
        background: that picture, on every frame.
        chosen: what the values are compared on: ``attribution``, or an overlay.
    """

    attribution: Tensor
    background: Tensor
    chosen: Tensor


class Scene(NamedTuple):
    """A foreground, (B, C * frames, H, W) in [0, 255], and its mask in [0, 1], the same for the colours of a frame."""

    image: Tensor
    mask: Tensor


@METHODS.register("smg")
class SMG(Auxiliary, DrQ):
    """Values that agree under changed looks, on an encoder that takes pictures apart into foreground and background."""

    Config = SMGConfig
    config: SMGConfig
    optimizer_name = "smg"
    augment: StrongAugmentation
    presets = {
        "compact": {"decoder_filters": (16, 32, 16), "hidden": 256, "shift": 2},
        "debug": {"decoder_filters": (4, 8, 4), "hidden": 8, "mask_from": 4},
    }
    run_presets = {"paper": {"training": {"batch_size": 64}, "encoder": {"projection": 256}}}

    def __init__(self, config: SMGConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        learner, size = setup.learner, setup.learner.latent_size
        self.augment = StrongAugmentation("overlay", setup.augmentation)
        self.channels = setup.frame_channels  # C of one frame
        self.frames = setup.image_shape[0] // self.channels
        one_frame = setup.image_shape[1:]
        self.foreground_head = nn.Linear(size, size * self.frames)
        self.background_encoder = nn.Sequential(
            copy.deepcopy(learner.convolutions), copy.deepcopy(learner.projection), copy.deepcopy(self.foreground_head)
        )
        filters, dtype = config.decoder_filters, setup.dtype
        self.foreground_decoder = PixelDecoder(size, (self.channels + 1, *one_frame), filters, dtype)  # and the mask
        self.background_decoder = PixelDecoder(size, (self.channels, *one_frame), filters, dtype)
        self.action = mlp(2 * size, config.hidden, learner.action_size)
        self._changed: Changed | None = None  # from the critic's loss to the auxiliary step of the same update

    def due(self, number: int) -> Due:
        """Whether update ``number`` has an auxiliary step, and whether the mask's share counts there."""
        return Due(self.has_step(number), number >= self.config.mask_from)

    # --- values under changed looks ---------------------------------------------------------------------------------

    def critic_loss(self, context: Context) -> dict[str, Tensor]:
        """Sum over the critics of the MSE of Q(changed s, a) and Q(s, a), the latter without a gradient."""
        self._changed = self.change(context.learner, context.batch.obs._replace(image=context.image))
        obs = context.batch.obs._replace(image=self._changed.chosen)
        values = context.learner.estimate(obs, context.batch.action).values  # (heads, B)
        loss = (values - context.estimate.values.detach()).square().mean(1).sum()
        return {"consistency": self.config.consistency_weight * loss}

    @torch.no_grad()
    def change(self, learner: ValueLearner, obs: Observation) -> Changed:
        """Another picture behind the foreground of s, or one over all of it; one draw decides for the batch."""
        image, bank = obs.image, self._pictures.bank
        mask = self.foreground(learner.latent(obs)).mask.to(image.dtype)
        picture = bank.sample(len(image), self.generator, image.dtype)  # (B, C, H, W)
        background = torch.cat([picture] * self.frames, dim=1).contiguous(memory_format=torch.channels_last)
        attribution = torch.lerp(background, image, mask)
        laid_over = overlay(image, bank, self.generator)
        behind = torch.rand((), generator=self.generator, device=image.device) < self.config.attribution_share
        return Changed(attribution, background, torch.where(behind, attribution, laid_over))

    @property
    def _pictures(self) -> Overlay:
        """The augmentation itself, whose pictures serve as backgrounds, too."""
        pictures = self.augment.build()
        assert isinstance(pictures, Overlay)
        return pictures

    # --- pictures taken apart -----------------------------------------------------------------------------------------

    def foreground(self, latent: Tensor) -> Scene:
        """What the critic's latent (B, D) knows of the foreground."""
        logits = self.foreground_decoder(self._by_frame(self.foreground_head(latent))).float()
        image, mask = 255.0 * torch.sigmoid(logits[:, : self.channels]), torch.sigmoid(logits[:, self.channels :])
        return Scene(self._stacked(image), self._stacked(mask.expand(-1, self.channels, -1, -1)))

    def background(self, image: Tensor) -> Tensor:
        """What the other encoder knows of the background of (B, C * frames, H, W): the same shape, in [0, 255]."""
        logits = self.background_decoder(self._by_frame(self.background_encoder(image))).float()
        return self._stacked(255.0 * torch.sigmoid(logits))

    def _by_frame(self, latents: Tensor) -> Tensor:
        """(B, frames * D) -> (B * frames, D), after a ReLU."""
        return torch.relu(latents.view(len(latents) * self.frames, -1))

    def _stacked(self, frames: Tensor) -> Tensor:
        """(B * frames, C, H, W) -> (B, C * frames, H, W)."""
        return frames.reshape(-1, self.frames * self.channels, *frames.shape[2:])

    # --- the auxiliary step -------------------------------------------------------------------------------------------

    def auxiliary(self, context: Context) -> dict[str, Tensor]:
        """One step of both branches, of the critic's encoder too, on the weighted sum of ``losses``."""
        due = self.due(context.update)
        if not due.step:
            return {}
        assert self._changed is not None
        batch = context.batch.replace(obs=context.batch.obs._replace(image=context.image))
        losses = self.losses(context.learner, batch, self._changed)
        loss = torch.stack([weight * losses[name] for name, weight in self.weights(due).items()]).sum()
        self.minimize(loss, self.config.gradient_norm)
        return {"smg/loss": loss.detach(), **{f"smg/{name}": part.detach() for name, part in losses.items()}}

    def losses(self, learner: ValueLearner, batch: Batch, changed: Changed) -> dict[str, Tensor]:
        """The five losses by name, without their weights; those of pictures are in levels of 255."""
        latent = learner.latent(batch.obs)
        scene, background = self.foreground(latent), self.background(batch.obs.image)
        image, visible = batch.obs.image.float(), scene.image * scene.mask
        seen_again = self.foreground(learner.latent(batch.obs._replace(image=changed.chosen)))
        both = torch.cat([latent, learner.latent(batch.next_obs)], dim=1)  # (B, 2 * D)
        return {
            "reconstruction": F.l1_loss(visible + background * (1 - scene.mask), image),
            "background": F.l1_loss(self.background(changed.attribution), changed.background.float()),
            "mask": (scene.mask.mean((2, 3)) - self.config.mask_share).square().mean(),  # (B, C * frames)
            "action": F.mse_loss(self.action(both), learner.action_features(batch.action)),
            "foreground": F.l1_loss(seen_again.image * seen_again.mask, visible.detach()),
        }

    def weights(self, due: Due) -> Mapping[str, float]:
        config = self.config
        return {
            "reconstruction": config.reconstruction_weight,
            "background": config.background_weight,
            "mask": config.mask_weight if due.mask else 0.0,
            "action": config.action_weight,
            "foreground": config.foreground_weight,
        }
