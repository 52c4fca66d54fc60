"""PAD: self-supervised policy adaptation during deployment (Hansen et al., ICLR 2021)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.config.bounds import POSITIVE, Bounded, at_least, one_of
from foveal.methods.auxiliary import Auxiliary
from foveal.methods.base import METHODS, Context, Setup
from foveal.methods.cropping import Cropping
from foveal.networks.encoders import Projection
from foveal.networks.heads import mlp
from foveal.networks.initialization import orthogonal_
from foveal.networks.optimization import adam, minimize
from foveal.types import Batch

TASKS = ("inverse", "rotation")
TURNS = 4


@dataclass(frozen=True)
class PADConfig(Bounded, section="pad"):
    """Hyperparameters of PAD; the defaults are the authors' for DMControl, which DMC-GB shares.

    Attributes:
        task: what the head predicts: "inverse", the action between two observations; or "rotation", by how many
            quarters one observation was turned.
        shared_layers: how many of the learner's convolutions the head shares, from the pixels on; all of them where
            there are no more. It has the others as a copy of its own.
        hidden: width of the head's two hidden layers.
        auxiliary_period: critic updates per step of the task in training.
        auxiliary_lr: Adam's step size of these.
        adaptation_lr: the same of the steps at test time, for which Adam begins anew in every episode.
        adaptation_batch: crops of one transition in a step at test time.
    """

    task: Annotated[str, one_of(*TASKS)] = "inverse"
    shared_layers: Annotated[int, at_least(1)] = 8
    hidden: Annotated[int, at_least(1)] = 1024
    auxiliary_period: Annotated[int, at_least(1)] = 2
    auxiliary_lr: Annotated[float, POSITIVE] = 1e-3
    adaptation_lr: Annotated[float, POSITIVE] = 1e-3
    adaptation_batch: Annotated[int, at_least(1)] = 32


@METHODS.register("pad")
class PAD(Auxiliary, Cropping):
    """A task that needs no reward trains the first convolutions along with the critic, and goes on at test time.

    Attributes:
        own_layers: the layers of the head's encoder that are not the learner's.
        projection: the head's own, behind its encoder.
        head: what predicts.
    """

    Config = PADConfig
    config: PADConfig
    optimizer_name = "pad"
    capturable = True
    presets = {"compact": {"hidden": 256}, "debug": {"hidden": 16, "shared_layers": 2, "adaptation_batch": 4}}

    def __init__(self, config: PADConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.dtype = setup.dtype
        learner = setup.learner
        shared = [layer for layer in learner.convolutions.modules() if isinstance(layer, nn.Conv2d)]
        shared = shared[: config.shared_layers]
        # A copy of the encoder in which these are the learner's very own. It is kept in a tuple, which hides it from
        # PyTorch: the learner saves what is shared.
        encoder = copy.deepcopy(learner.convolutions, {id(layer): layer for layer in shared})
        self._own_encoder = (encoder,)
        own = nn.ModuleList(layer for layer in _layers_with_weights(encoder) if layer not in shared)
        self.own_layers = own.cpu().apply(orthogonal_)  # drawn there on every device, as all initial weights are
        self._shared = [parameter for layer in shared for parameter in layer.parameters()]
        self.projection = Projection(learner.feature_size, learner.latent_size)
        if config.task == "inverse":
            self.head = mlp(2 * learner.latent_size, config.hidden, learner.action_size)
        else:
            self.head = mlp(learner.latent_size, config.hidden, TURNS)

    def latent(self, image: Tensor) -> Tensor:
        """The head's encoder and its projection: (B, C, H, W) -> (B, D)."""
        return self.projection(self._own_encoder[0](image))

    def loss(self, image: Tensor, action: Tensor, next_image: Tensor) -> Tensor:
        """Of the task, a scalar (section 3.2).

        Args:
            image: (B, C, H, W) floating point, cropped.
            action: (B, A), or (B,) where actions are discrete.
            next_image: as ``image``, of the observation to which the action led; the one that is rotated.
        """
        if self.config.task == "rotation":
            turns = torch.randint(TURNS, (len(next_image),), generator=self.generator, device=next_image.device)
            return F.cross_entropy(self.head(self.latent(turned(next_image, turns))), turns)
        prediction = self.head(torch.cat([self.latent(image), self.latent(next_image)], dim=1))
        if action.is_floating_point():
            return F.mse_loss(prediction, action)  # (B, A), (B, A)
        return F.cross_entropy(prediction, action)  # (B, actions), (B,)

    def auxiliary(self, context: Context) -> dict[str, Tensor]:
        """One step of the task on the batch's crops."""
        if not self.has_step(context.update):
            return {}
        image, next_image = context.image, context.batch.next_obs.image.detach()
        if self.config.task == "rotation":
            next_image = image  # in training the authors rotate the first observation, at test time the next one
        loss = self.loss(image, context.batch.action, next_image)
        self.minimize(loss)
        return {"pad/loss": loss.detach()}

    def adapt(self, transition: Batch) -> None:
        """One step of the task on random crops of one transition; nothing of it is the policy's own."""
        cropped = self.prepare(transition.map(self._repeated))
        image, next_image = (obs.float(self.dtype).image for obs in (cropped.obs, cropped.next_obs))
        loss = self.loss(image, cropped.action, next_image)
        minimize(loss, self.adaptation_optimizer, self.auxiliary_parameters())

    def _repeated(self, tensor: Tensor) -> Tensor:
        return tensor.expand(self.config.adaptation_batch, *tensor.shape[1:])

    def auxiliary_parameters(self) -> list[nn.Parameter]:
        """What the task trains: the shared convolutions, and all that is the head's."""
        return [*self._shared, *self.parameters()]

    @cached_property
    def adaptation_optimizer(self) -> torch.optim.Optimizer:
        """Adam on the same at test time. Training never steps it, and an episode's steps of it are undone."""
        return adam(self.auxiliary_parameters(), self.config.adaptation_lr)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {**super().optimizers(), "pad_adaptation": self.adaptation_optimizer}


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Each image turned by its own number of quarters: (B, C, H, H), (B,) -> (B, C, H, H)."""
    every = torch.stack([images.rot90(turn, (-2, -1)) for turn in range(TURNS)])  # (4, B, C, H, H)
    return every[turns, torch.arange(len(images), device=images.device)]


def _layers_with_weights(network: nn.Module) -> Iterator[nn.Module]:
    for layer in network.modules():
        if next(layer.parameters(recurse=False), None) is not None:
            yield layer
