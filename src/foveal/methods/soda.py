"""SODA: soft data augmentation (Hansen and Wang, ICRA 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.augmentations import AUGMENTATIONS
from foveal.config.bounds import POSITIVE, STEP, Bounded, at_least, registered
from foveal.methods.auxiliary import Auxiliary
from foveal.methods.base import METHODS, Context, Setup, StrongAugmentation
from foveal.methods.cropping import Cropping
from foveal.networks.averaging import blend, frozen_copy
from foveal.networks.initialization import orthogonal_


@dataclass(frozen=True)
class SODAConfig(Bounded, section="soda"):
    """Hyperparameters of SODA; the defaults are DMC-GB's.

    Attributes:
        auxiliary_batch: size of the further batch that each auxiliary step draws.
        auxiliary_period: critic updates per auxiliary step.
        auxiliary_lr: Adam's step size of the auxiliary step.
        tau: share of the new weights that the momentum copy takes at each auxiliary step.
        projection: size of the embeddings that are compared.
        hidden: width of projection and predictor.
        augmentation: the strong augmentation of the query, by name.
    """

    auxiliary_batch: Annotated[int, at_least(2)] = 256
    auxiliary_period: Annotated[int, at_least(1)] = 2
    auxiliary_lr: Annotated[float, POSITIVE] = 3e-4
    tau: Annotated[float, STEP] = 0.005
    projection: Annotated[int, at_least(1)] = 100
    hidden: Annotated[int, at_least(1)] = 100
    augmentation: Annotated[str, registered(AUGMENTATIONS)] = "overlay"


@METHODS.register("soda")
class SODA(Auxiliary, Cropping):
    """The learner sees random crops, and features of an overlaid crop learn to predict those of a clean one."""

    Config = SODAConfig
    config: SODAConfig
    optimizer_name = "soda"
    augment: StrongAugmentation
    presets = {"debug": {"auxiliary_batch": 8, "projection": 8, "hidden": 8}}

    def __init__(self, config: SODAConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.augment = StrongAugmentation(config.augmentation, setup.augmentation)
        self.project = _batch_norm_mlp(setup.learner.feature_size, config.hidden, config.projection)
        self.predict = _batch_norm_mlp(config.projection, config.hidden, config.projection)
        self.target_convolutions = frozen_copy(setup.learner.convolutions)
        self.target_project = frozen_copy(self.project)
        self._convolutions = list(setup.learner.convolutions.parameters())

    def auxiliary(self, context: Context) -> dict[str, Tensor]:
        """Predict the momentum copy's embedding of an independent crop, then move the copy (eq. 4 to 6)."""
        if not self.has_step(context.update):
            return {}
        learner = context.learner
        frames = context.sample(self.config.auxiliary_batch).obs
        key, query = (self.crop(frames.image) for _ in range(2))
        overlaid = frames._replace(image=self.augment(query, self.generator))
        prediction = self.predict(self.project(learner.features(overlaid)))
        with torch.no_grad():
            target = self.target_project(self.target_convolutions(key.float()))
        loss = F.mse_loss(F.normalize(prediction, dim=1), F.normalize(target, dim=1))
        self.minimize(loss)
        blend(self.target_convolutions, learner.convolutions, self.config.tau)
        blend(self.target_project, self.project, self.config.tau)
        return {"soda/loss": loss.detach()}

    def auxiliary_parameters(self) -> list[nn.Parameter]:
        """What the auxiliary step trains: the convolutions, the projection and the predictor."""
        return [*self._convolutions, *self.project.parameters(), *self.predict.parameters()]


def _batch_norm_mlp(size: int, hidden: int, output_size: int) -> nn.Sequential:
    network = nn.Sequential(nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, output_size))
    return network.apply(orthogonal_)
