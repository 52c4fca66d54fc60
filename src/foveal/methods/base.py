"""The hooks that a generalization method may define, each doing nothing by default."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from foveal.augmentations import AUGMENTATIONS, Augmentation, AugmentationOptions
from foveal.errors import FovealError
from foveal.fovea.frames import FrameSet
from foveal.learners.base import Estimate, ValueLearner
from foveal.learners.base import PolicyView as PolicyView  # methods name it beside their views
from foveal.registry import Registry
from foveal.types import Batch, ExtraField, Observation


class Look(Protocol):
    """Looking around."""

    def __call__(self, count: int, *, with_masks: bool) -> FrameSet:
        """So many frames of episodes, with the simulator's masks of the task's own pixels where they are asked for."""


@dataclass(frozen=True)
class Requirements:
    """What a method needs, read before anything is built.

    Attributes:
        render_size: side in pixels of the pictures that the environment must render.
        pixel_gradient: whether saliency will be taken from the graphs of the views' values.
        extras: further fields of its batches.
    """

    render_size: int
    pixel_gradient: bool = False
    extras: tuple[ExtraField, ...] = ()


@dataclass(frozen=True)
class Setup:
    """What a method is built with.

    Attributes:
        learner: the learner that it is composed onto.
        image_shape: (C, H, W) of what the encoder sees.
        augmentation: what strong augmentations are built with: picture source, image size, seed, device.
        generator: where every random draw during training comes from, on the device.
        dtype: the type that its convolutions compute in.
    """

    learner: ValueLearner
    image_shape: tuple[int, int, int]
    augmentation: AugmentationOptions
    generator: torch.Generator
    dtype: torch.dtype

    @property
    def frame_channels(self) -> int:
        """Channels of one of the stacked frames: 3 in colour, 1 where they are grey."""
        return self.augmentation.channels


class View(NamedTuple):
    """An observation, before ``observe``, and the weight of its TD loss."""

    obs: Observation
    weight: float


class EstimatedView(NamedTuple):
    """A view with the critic's estimate of it.

    Attributes:
        obs: what the critic saw: the view after ``observe``. Where the method takes saliency, its image is the leaf
            (``float32`` gradient) that the graph of the values reaches; it is no leaf where ``observe`` is trained.
        weight: the weight of its TD loss.
        estimate: the critic's estimate with its graph. Stale after the critic's step.
        prepared: the view before ``observe``.
    """

    obs: Observation
    weight: float
    estimate: Estimate
    prepared: Observation


class Context:
    """What an update has already computed, so that nothing is computed twice.

    Args:
        batch: the batch after ``prepare`` and ``observe``.

    Attributes:
        learner: the learner being trained.
        prepared: the batch after ``prepare`` alone, its images floating point.
        views: every view of the critic's loss, in the order of ``Method.views``.
        update: the number of this update, from 0.
        sample: draws a further batch of the given size from replay, neither prepared nor observed.
    """

    def __init__(
        self,
        learner: ValueLearner,
        prepared: Batch,
        batch: Batch,
        views: Sequence[EstimatedView],
        update: int,
        sample: Callable[[int], Batch],
    ) -> None:
        self.learner = learner
        self.prepared = prepared
        self.views = tuple(views)
        self.update = update
        self.sample = sample
        self._batch = batch
        self._stepped = False
        self._observe_again: Callable[[Observation], Observation] | None = None
        self._again: dict[int, Observation] = {}  # by the identity of what was observed again
        self._fresh: Estimate | None = None

    @property
    def batch(self) -> Batch:
        """The batch as the networks see it: after the critic's step, as a trained ``observe`` shows it then."""
        return self._batch.replace(obs=self._now(self.prepared.obs, self._batch.obs))

    def seen(self, number: int) -> Observation:
        """A view as the networks see it: after the critic's step, as a trained ``observe`` shows it then."""
        view = self.views[number]
        return self._now(view.prepared, view.obs)

    def _now(self, prepared: Observation, before: Observation) -> Observation:
        """What was observed before the critic's step, or, once that has trained ``observe``, what is observed now."""
        if self._observe_again is None:
            return before
        if id(prepared) not in self._again:
            self._again[id(prepared)] = self._observe_again(prepared)
        return self._again[id(prepared)]

    @property
    def estimate(self) -> Estimate:
        """The critic's estimate of the first view, with its graph. Stale after the critic's step."""
        return self.views[0].estimate

    @property
    def pixels(self) -> Tensor:
        """The first view's image, from which the graph of ``estimate`` starts."""
        return self.views[0].obs.image

    @property
    def image(self) -> Tensor:
        """The batch's observed image without a graph, in the convolutions' dtype."""
        return self.batch.obs.image.detach().to(self.learner.dtype)

    @property
    def fresh(self) -> Estimate:
        """The estimate of the batch's observation after the critic's step, with its graph; computed once.

        Raises:
            FovealError: the critic's step is still to come.
        """
        if not self._stepped:
            raise FovealError(
                "context.fresh is the estimate after the critic's step, which is still to come: use context.estimate "
                "in critic_loss, and context.fresh in policy_views, actor_loss and auxiliary"
            )
        if self._fresh is None:
            self._fresh = self.learner.estimate(self.batch.obs, self.batch.action)
        return self._fresh

    def critic_stepped(self, observe_again: Callable[[Observation], Observation] | None = None) -> None:
        """The updater calls this after the critic's step.

        Args:
            observe_again: ``observe`` as this step has trained it; None where it has no parameters, so that what was
                observed is still right.
        """
        self._stepped = True
        self._observe_again = observe_again


class Method(nn.Module):
    """A generalization method, composed onto any learner. Subclasses override what they need.

    Attributes:
        run_presets: preset, or "*" for every one -> section -> the settings of the run that its source trains with,
            in ``environment``, ``training`` and the learner's ``encoder``. They go over the preset's and under the
            user's.
        augment: its strong augmentation, which is built before training and refreshed before every update, or None.
        capturable: whether a CUDA graph can record its part of an update: it draws from ``generator`` alone, never
            reads the value of a tensor, samples no further batch, and does the same in updates of an equal ``due``.
        privileged: whether its training uses what pictures do not show, such as the simulator's segmentation.
    """

    Config: ClassVar[type]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    run_presets: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {}
    augment: StrongAugmentation | None = None
    capturable: ClassVar[bool] = False
    privileged: ClassVar[bool] = False

    def __init__(self, config: Any, setup: Setup) -> None:
        super().__init__()
        self.config = config
        self.generator = setup.generator

    @property
    def needs_policy(self) -> bool:
        """Whether it can't do without a policy beside the values: it adds to the policy's loss, or says otherwise."""
        return type(self).actor_loss is not Method.actor_loss

    @property
    def sees_all(self) -> bool:
        """Whether pictures are perceived as they are."""
        return type(self).perceive is Method.perceive

    @property
    def adapts(self) -> bool:
        """Whether it learns at test time."""
        return type(self).adapt is not Method.adapt

    @classmethod
    def task_settings(cls, env: str) -> Mapping[str, Any]:
        """Settings that the method's source gives for this task alone."""
        return {}

    @classmethod
    def task_run_presets(cls, env: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """``run_presets`` that the method's source has for this task alone, and which go over these."""
        return {}

    @classmethod
    def requirements(cls, config: Any, image_size: int) -> Requirements:
        """What the method needs where the encoder sees images of ``image_size`` pixels a side."""
        return Requirements(render_size=image_size)

    def look_around(self, look: Look, *, visible: bool) -> None:
        """Called before the first step of a training: learn what must be there before it, unless that was done.

        Args:
            look: gives frames of the environment as it looks in training.
            visible: whether to show a bar.
        """

    def get_ready(self) -> None:
        """Called before training starts: make what training alone needs, and fail now if that is impossible."""
        if self.augment is not None:
            self.augment.build()

    def begin_learning(self, sample: Callable[[int], Batch], *, visible: bool) -> None:
        """Called before the first update of a training: learn what must be there before it, unless that was done.

        Args:
            sample: draws transitions that were collected so far, with ``early`` extra fields too.
            visible: whether to show a bar.
        """

    def close(self) -> None:
        """Called when training ends: end processes and free what training alone needs. Training may go on later."""
        if self.augment is not None:
            self.augment.close()

    def begin_update(self, number: int) -> None:
        """Called before each update with its number, from 0."""
        if self.augment is not None:
            self.augment.begin_update(number)

    def due(self, number: int) -> Hashable:
        """Which of the method's own steps update ``number`` has. Updates with equal answers do the same operations."""
        return None

    def perceive(self, image: Tensor) -> Tensor:
        """What of the environment's pictures is remembered, and all that the policy ever gets to see of them.

        It has no parameters that training changes. Replay holds what it gives, so an update does not call it.

        Args:
            image: (B, C, H, W) floating point in [0, 255].

        Returns:
            The same shape and type, whole numbers.
        """
        return image

    def observe(self, obs: Observation) -> Observation:
        """What every network sees of what was perceived, acting and targets included."""
        return obs

    def see(self, obs: Observation) -> Observation:
        """What networks see of an observation as the environment gives it: perceived, then observed."""
        return self.observe(obs._replace(image=self.perceive(obs.image)))

    def prepare(self, batch: Batch) -> Batch:
        """The sampled batch, its images still ``uint8``, after the weak augmentation."""
        return batch

    def views(self, batch: Batch) -> list[View]:
        """Views whose TD losses are added with their weights, against one target. The first is the batch's own.

        Args:
            batch: after ``prepare``, its images floating point. The updater observes every view once.
        """
        return [View(batch.obs, 1.0)]

    def critic_loss(self, context: Context) -> dict[str, Tensor]:
        """Named, weighted terms added to the TD loss."""
        return {}

    def critic_parameters(self) -> list[nn.Parameter]:
        """The method's parameters that the critic's optimizer trains."""
        return []

    def policy_views(self, context: Context) -> list[PolicyView]:
        """On what the policy acts, and on what the critic values its actions: by default the batch's for both."""
        return [PolicyView(context.batch.obs, context.batch.obs)]

    def actor_loss(self, context: Context) -> Callable[[], Tensor] | None:
        """A term added to the actor's loss; a learner without a policy is refused, unless ``needs_policy`` is False."""
        return None

    def auxiliary(self, context: Context) -> dict[str, Tensor]:
        """The method's own step, after the critic's and the actor's; returns metrics."""
        return {}

    def adapt(self, transition: Batch) -> None:
        """Learn from one step of an episode at test time; called after every step where the user asks for it.

        Its changes to learner, method and optimizers are undone when the episode is over.

        Args:
            transition: a batch of one as replay would store it, neither prepared nor observed, without extra fields.
        """

    def maps(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Maps that it makes by itself of what matters in a picture, by name, to be shown beside saliency maps.

        Each takes images as the environment gives them, (B, C, H, W) floating point in [0, 255], not observed yet, and
        gives (B, H, W), not negative.
        """
        return {}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The method's own optimizers by name."""
        return {}


class StrongAugmentation:
    """An augmentation by name, built when training starts: a policy that only acts makes no pictures.

    Raises:
        FovealError: there is no augmentation of that name.
    """

    def __init__(self, name: str, options: AugmentationOptions) -> None:
        self._factory = AUGMENTATIONS.get(name)
        self._options = options
        self._built: Augmentation | None = None

    def build(self) -> Augmentation:
        """The augmentation itself."""
        if self._built is None:
            self._built = self._factory(self._options)
        return self._built

    def begin_update(self, number: int) -> None:
        """Call the augmentation's ``refresh`` with the number of the update, if it has such a method."""
        refresh = getattr(self.build(), "refresh", None)
        if refresh is not None:
            refresh(number)

    def close(self) -> None:
        """Call the augmentation's ``close``, if it has such a method: it may own processes or files."""
        close = getattr(self._built, "close", None)
        if close is not None:
            close()

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, H, W) in [0, 255] -> the same, changed."""
        return self.build()(images, generator)


def clean_and_changed(method: Any, obs: Observation, clean: float, changed: float) -> list[View]:
    """An observation, and the same under the method's strong augmentation, with the weights of their TD losses."""
    strong = obs._replace(image=method.augment(obs.image.detach(), method.generator))
    return [View(obs, clean), View(strong, changed)]


METHODS: Registry[type[Method]] = Registry("method", "foveal.methods")
