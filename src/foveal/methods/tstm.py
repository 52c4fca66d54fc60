"""TSTM: everything is seen through a mask of the scene's objects (Du et al., CVPR 2026).

Before the first update a network learns from the simulator's segmentation of the random phase which pixels are neither
floor nor sky, and never changes again: ``begin_learning``. The simulator is not asked any more after that. An update,
in the order in which ``training.updater.Updater`` runs it with any learner:

1. sample (s, a, r, s'), shift s at random, and black out what the mask leaves out of both: ``prepare``, ``observe``;
2. step the critic on half the TD loss of s and of s with another picture laid over, each masked, and on VICReg between
   projections of the two: ``views``, ``critic_loss``;
3. step the policy on both views, with the divergence of what it does on them, and the target networks:
   ``policy_views``, ``actor_loss``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.augmentations import AUGMENTATIONS, random_shift
from foveal.config.bounds import POSITIVE, SHARE, Bounded, at_least, registered
from foveal.errors import FovealError
from foveal.methods.agreement import Agreeing
from foveal.methods.base import METHODS, Context, PolicyView, Requirements, Setup, StrongAugmentation
from foveal.networks.frames import COLOURS
from foveal.networks.optimization import adam, minimize
from foveal.networks.segmenter import Segmenter
from foveal.progress import watched
from foveal.types import Batch, ExtraField, Observation

SMOOTH = 1e-5
"""Added to both sides of Dice's fraction, which frames without an object would leave undefined."""
SPREAD_EPSILON = 1e-4
"""Added to variances before VICReg's square root."""


@dataclass(frozen=True)
class TSTMConfig(Bounded, section="tstm"):
    """Hyperparameters of TSTM; the defaults are the published code's.

    Attributes:
        filters: channels of the segmenter's three convolutions.
        teacher_filters: the same of a larger one that is trained first, for it to imitate; empty for none.
        segmenter_updates: minibatches that each of the two is trained on: 100 epochs of 80 % of 12,500 frames.
        segmenter_batch: stacked observations in one.
        segmenter_lr: Adam's step size at the first of them; it falls linearly to 0.
        overlay_share: how often one is changed by the strong augmentation.
        imitation: weight of the teacher's answers; that of the truth is 1 less it.
        temperature: what logits are divided by where the answers are compared.
        regularization: weight of VICReg beside the TD loss.
        invariance: weight in VICReg of the distance between the two views' projections.
        variance: weight of their spreads being at least 1.
        covariance: weight of their entries being uncorrelated.
        projection: width of the three layers that project.
        agreement_weight: weight of the policy's divergence between the views. It has no effect where the learner has
            no policy, or one without a distribution.
        augmentation: the strong augmentation, by name.
        shift: pad of the random shift of the observation (and not of the next one), in pixels.
    """

    filters: Annotated[tuple[int, int, int], at_least(1)] = (16, 32, 32)
    teacher_filters: Annotated[tuple[int, ...], at_least(1)] = (64, 128, 256)
    segmenter_updates: Annotated[int, at_least(1)] = 7800
    segmenter_batch: Annotated[int, at_least(1)] = 128
    segmenter_lr: Annotated[float, POSITIVE] = 1e-3
    overlay_share: Annotated[float, SHARE] = 0.5
    imitation: Annotated[float, SHARE] = 0.7
    temperature: Annotated[float, POSITIVE] = 4.0
    regularization: Annotated[float, at_least(0)] = 1.0
    invariance: Annotated[float, at_least(0)] = 1.25
    variance: Annotated[float, at_least(0)] = 1.25
    covariance: Annotated[float, at_least(0)] = 0.005
    projection: Annotated[int, at_least(2)] = 2048
    agreement_weight: Annotated[float, at_least(0)] = 2.0
    augmentation: Annotated[str, registered(AUGMENTATIONS)] = "overlay"
    shift: Annotated[int, at_least(0)] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.teacher_filters) not in (0, 3):
            raise FovealError(
                "tstm.teacher_filters must have three entries, one for each convolution, or none for no teacher, "
                f"not {self.teacher_filters!r}"
            )


@METHODS.register("tstm")
class TSTM(Agreeing):
    """A frozen mask of the scene's objects before every network, and views that agree behind it."""

    Config = TSTMConfig
    config: TSTMConfig
    trained: Tensor
    capturable = True
    privileged = True
    presets = {
        "compact": {
            "teacher_filters": (),
            "segmenter_updates": 5000,
            "segmenter_batch": 8,
            "segmenter_lr": 3e-3,
            "projection": 256,
            "shift": 2,
        },
        "debug": {
            "filters": (4, 8, 8),
            "teacher_filters": (),
            "segmenter_updates": 4,
            "segmenter_batch": 4,
            "projection": 8,
        },
    }
    run_presets = {
        "*": {"environment": {"frame_stack": 5}},
        "paper": {"training": {"initial_random_steps": 12_500}},
        "compact": {"training": {"initial_random_steps": 2000}},
    }

    def __init__(self, config: TSTMConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.augment = StrongAugmentation(config.augmentation, setup.augmentation)
        self.segmenter = Segmenter(config.filters, setup.dtype).requires_grad_(False)
        self.register_buffer("trained", torch.zeros((), dtype=torch.bool))
        width = config.projection
        self.project = nn.Sequential(
            *(nn.Linear(setup.learner.latent_size, width), nn.BatchNorm1d(width), nn.ReLU()),
            *(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()),
            nn.Linear(width, width),
        )

    @classmethod
    def requirements(cls, config: TSTMConfig, image_size: int) -> Requirements:
        """The simulator's segmentation of every stacked frame, until learning begins."""
        size = -(-(image_size**2) // 8)
        scene = ExtraField("scene", "packed_scene_mask", (size,), "uint8", stacked=True, early=True)
        return Requirements(render_size=image_size, extras=(scene,))

    # --- the mask -----------------------------------------------------------------------------------------------------

    def observe(self, obs: Observation) -> Observation:
        """The scene's objects before black."""
        mask = self.mask(obs.image).repeat_interleave(COLOURS, dim=1)  # (B, 3 * F, H, W)
        return obs._replace(image=obs.image * mask.to(obs.image.dtype))

    @torch.no_grad()
    def mask(self, image: Tensor) -> Tensor:
        """(B, 3 * F, H, W) in [0, 255] -> ``bool`` (B, F, H, W): what is more likely an object than not."""
        return self.segmenter(image.detach()) > 0

    def begin_learning(self, sample: Callable[[int], Batch], *, visible: bool) -> None:
        """Train the segmenter for good on what the random phase saw, a larger one before it where that is wanted."""
        if self.trained:
            return
        self.augment.begin_update(0)
        teacher = self._teacher()
        if teacher is not None:
            self._fit(teacher, None, sample, "teacher", visible=visible)
        self._fit(self.segmenter, teacher, sample, "segmenter", visible=visible)
        self.trained.fill_(True)
        if visible:
            share = self.overlap(sample(self.config.segmenter_batch))
            print(f"tstm: the mask has {share:.1%} in common with the simulator's, by IoU", file=sys.stderr)

    def _teacher(self) -> Segmenter | None:
        """A new network, drawn without touching anybody's generator, or None without a teacher."""
        if not self.config.teacher_filters:
            return None
        first, second, third = self.config.teacher_filters
        device = self.trained.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=self.generator, device=device)))
            return Segmenter((first, second, third), self.segmenter.dtype).to(device)

    def _fit(
        self, network: Segmenter, teacher: Segmenter | None, sample: Callable[[int], Batch], what: str, *, visible: bool
    ) -> None:
        """Train a network on the simulator's masks, and on a teacher's answers, then freeze it."""
        config, steps = self.config, self.config.segmenter_updates
        parameters = list(network.requires_grad_(True).parameters())
        optimizer = adam(parameters, config.segmenter_lr)
        for number in watched(range(steps), steps, what, visible=visible, unit="minibatch"):
            optimizer.param_groups[0]["lr"] = config.segmenter_lr * (1 - number / steps)
            batch = sample(config.segmenter_batch)
            image = self._some_changed(batch.obs.float(network.dtype).image)
            logits = network(image)
            loss = mask_loss(logits, scene_masks(batch, image.shape[-1]))
            if teacher is not None:
                with torch.no_grad():
                    answer = teacher(image)
                imitation = imitation_loss(logits, answer, config.temperature)
                loss = config.imitation * imitation + (1 - config.imitation) * loss
            minimize(loss, optimizer, parameters)
        network.requires_grad_(False)

    def _some_changed(self, image: Tensor) -> Tensor:
        """Whole minibatches under the strong augmentation, as often as the settings say."""
        draw = torch.rand((), generator=self.generator, device=image.device)
        return self.augment(image, self.generator) if draw < self.config.overlay_share else image

    def overlap(self, batch: Batch) -> float:
        """IoU of mask and truth, over all pixels of a batch with ``early`` extra fields."""
        mask, truth = self.mask(batch.obs.image), scene_masks(batch, batch.obs.image.shape[-1])
        return float((mask & truth).sum() / (mask | truth).sum())

    # --- the update ---------------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch) -> Batch:
        shifted = random_shift(batch.obs.image, self.config.shift, self.generator)
        return batch.replace(obs=batch.obs._replace(image=shifted))

    def critic_loss(self, context: Context) -> dict[str, Tensor]:
        """VICReg (Bardes, Ponce and LeCun 2022) between projections of the views' latents."""
        config = self.config
        clean, strong = (self.project(view.estimate.latent) for view in context.views)
        parts = vicreg(clean, strong)
        weights = (config.invariance, config.variance, config.covariance)
        loss = sum((weight * part for weight, part in zip(weights[1:], parts[1:], strict=True)), weights[0] * parts[0])
        return {"vicreg": config.regularization * loss}

    def critic_parameters(self) -> list[nn.Parameter]:
        return list(self.project.parameters())

    def policy_views(self, context: Context) -> list[PolicyView]:
        """Both views, each judged on itself: half the loss of either."""
        clean, strong = context.batch.obs, context.seen(1)
        return [PolicyView(clean, clean), PolicyView(strong, strong)]


def scene_masks(batch: Batch, side: int) -> Tensor:
    """The simulator's masks of a batch's stacked frames, ``bool`` (B, F, side, side), from eight pixels to a byte."""
    packed = batch.extras["scene"]  # (B, F, bytes)
    places = torch.arange(7, -1, -1, device=packed.device, dtype=torch.uint8)
    bits = (packed[..., None] >> places) & 1  # (B, F, bytes, 8)
    return bits.flatten(2)[..., : side * side].unflatten(2, (side, side)).bool()


def mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Half the cross-entropy and half the soft Dice loss of (B, F, H, W), averaged over samples and frames."""
    wanted, share = truth.float(), torch.sigmoid(logits)
    both = (share * wanted).sum((2, 3))  # (B, F)
    dice = 1 - (2 * both + SMOOTH) / (share.sum((2, 3)) + wanted.sum((2, 3)) + SMOOTH)
    return 0.5 * F.binary_cross_entropy_with_logits(logits, wanted) + 0.5 * dice.mean()


def imitation_loss(logits: Tensor, answer: Tensor, temperature: float) -> Tensor:
    """T^2 times the MSE of the two networks' probabilities at temperature T."""
    return temperature**2 * F.mse_loss(torch.sigmoid(logits / temperature), torch.sigmoid(answer / temperature))


def vicreg(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Invariance, variance and covariance of two views' projections, (B, D) each, without their weights.

    Returns:
        The MSE of the two; the mean over entries of how far a standard deviation falls short of 1, and the sum of the
        squared covariances of different entries over D, both added over the two.
    """
    short, correlated = [], []
    for view in (first, second):
        centred = view - view.mean(0)  # (B, D)
        covariance = centred.T @ centred / (len(view) - 1)  # (D, D)
        variance = covariance.diagonal()
        short.append(torch.relu(1 - (variance + SPREAD_EPSILON).sqrt()).mean())
        correlated.append((covariance.square().sum() - variance.square().sum()) / view.shape[1])
    return F.mse_loss(first, second), short[0] + short[1], correlated[0] + correlated[1]
