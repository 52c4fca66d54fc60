"""One gradient update of a learner with a method: ``Updater._steps`` has all of it, in the order in which it runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.learners.base import CriticInput, ValueLearner
from foveal.methods.base import Context, EstimatedView, Method
from foveal.networks.optimization import minimize
from foveal.timing import phase
from foveal.types import Batch, Observation, joined, joined_vectors


class Due(NamedTuple):
    """Which steps an update has beside the critic's.

    Attributes:
        policy: whether it has a step of the policy.
        target: whether it has a step of the target networks.
        method: what ``Method.due`` answers.
    """

    policy: bool
    target: bool
    method: Hashable


class Updater:
    """Owns the order of steps within an update; the learner and the method own the mathematics.

    Args:
        learner: on its device already.
        method: built for that learner, on the same device.
        pixel_gradient: whether the method takes saliency from the graphs of the views' values.
        plain_updates: how many updates the method's views, losses and steps are left out of at first; see ``Plain``.

    Raises:
        FovealError: the method adds to the loss of a policy that the learner does not have.
    """

    def __init__(self, learner: ValueLearner, method: Method, *, pixel_gradient: bool, plain_updates: int = 0) -> None:
        check_pair(learner, method)
        self.learner = learner
        self.method = method
        self.plain = Plain(method)
        self.plain_updates = plain_updates
        self.takes_saliency = pixel_gradient
        self.updates = 0
        self.restart()

    @cached_property
    def critic_optimizer(self) -> torch.optim.Optimizer:
        """Made at first use: PyTorch's take seconds to import what a policy that only acts has no use for."""
        return self.learner.critic_optimizer(self.method.critic_parameters())

    def update(self, batch: Batch, sample: Callable[[int], Batch]) -> dict[str, Tensor]:
        """One update with all the steps that are due.

        Args:
            batch: sampled transitions, images ``uint8``, on the learner's device.
            sample: draws a further batch of a given size, for auxiliary losses.

        Returns:
            Metrics as tensors on the device; nothing here waits for their values.
        """
        with phase("augment"):
            self.method.begin_update(self.updates)
        metrics = self._steps(batch, sample)
        self.updates += 1
        return metrics

    def update_eagerly(self, batch: Batch, sample: Callable[[int], Batch]) -> dict[str, Tensor]:
        """``update`` operation by operation, for profilers, whatever a subclass does to be faster."""
        return Updater.update(self, batch, sample)

    def due(self) -> Due:
        """Which steps the next update has beside the critic's."""
        policy, target = self.learner.policy_periods()
        return Due(
            self.learner.has_policy and self.updates % policy == 0,
            self.updates % target == 0,
            self.active.due(self.updates),
        )

    @property
    def active(self) -> Method:
        """What takes part in the next update: the method, or at first what is ``Plain`` of it."""
        return self.plain if self.updates < self.plain_updates else self.method

    @property
    def pixel_gradient(self) -> bool:
        """Whether saliency is taken in the next update."""
        return self.takes_saliency and self.active is self.method

    def restart(self) -> None:
        """Called at first, and whenever weights, optimizers or counters were replaced by others."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimizer by name: the critic's, the learner's and the method's."""
        return {"critic": self.critic_optimizer, **self.learner.optimizers(), **self.method.optimizers()}

    # --- an update, in the order in which it runs -------------------------------------------------------------------

    def _steps(self, batch: Batch, sample: Callable[[int], Batch]) -> dict[str, Tensor]:
        """All that the device computes, so that a CUDA graph can record it."""
        learner, method, due = self.learner, self.active, self.due()
        with phase("augment"):  # weakly (``prepare``), then as every network sees it (``observe``)
            prepared = self._in_floats(method.prepare(batch))
            obs = self._observed(prepared.obs)
            with torch.no_grad():
                batch = prepared.replace(obs=obs, next_obs=method.observe(prepared.next_obs))
        with phase("targets"):  # one TD target for all views
            target = learner.targets(batch)
        with phase("critic"):  # TD losses of the views, and the method's own terms
            context = Context(learner, prepared, batch, self._views(prepared, batch), self.updates, sample)
            metrics = self._critic_step(context, target)
        if due.policy:
            with phase("actor"):
                metrics |= self._policy_step(context)
        if due.target:
            with phase("target networks"):
                learner.update_target_networks()
        with phase("auxiliary"):  # the method's step of its own
            metrics |= method.auxiliary(context)
        return metrics

    def _views(self, prepared: Batch, batch: Batch) -> list[EstimatedView]:
        """The method's views, each observed once, with the critic's estimates of them."""
        views = []
        for view in self.active.views(prepared):
            obs = batch.obs if view.obs is prepared.obs else self._observed(view.obs)
            views.append(EstimatedView(obs, view.weight, self.learner.estimate(obs, batch.action), view.obs))
        return views

    def _critic_step(self, context: Context, target: Tensor) -> dict[str, Tensor]:
        """One step of the critic's optimizer on the weighted TD losses of the views plus the method's terms."""
        learner, method = self.learner, self.active
        td_losses = [view.weight * learner.td_loss(view.estimate, target) for view in context.views]
        terms = method.critic_loss(context)
        loss = sum([*td_losses[1:], *terms.values()], td_losses[0])
        minimize(loss, self.critic_optimizer, [*learner.critic_parameters(), *method.critic_parameters()])
        # A trained ``observe`` has left its graph behind the pixels, and shows them differently from here on.
        context.critic_stepped(None if context.batch.obs.image.is_leaf else self._observed_again)
        return {
            "critic/loss": loss.detach(),
            "critic/td": td_losses[0].detach(),
            "critic/value": context.estimate.values.detach().mean(),
            **{f"critic/{name}": term.detach() for name, term in terms.items()},
        }

    def _policy_step(self, context: Context) -> dict[str, Tensor]:
        """The policy's step on the method's ``policy_views``, without gradients to what it sees."""
        views, extra_loss = self.active.policy_views(context), self.active.actor_loss(context)
        known = self._known_features(context)
        if len(views) == 1 and views[0].actor is views[0].critic:
            actor = views[0].actor
            features = next((features for obs, features in known if obs is actor), None)
            return self.learner.policy_step(actor._replace(image=actor.image.detach()), extra_loss, features)
        encoded = self._encoded([obs for view in views for obs in view], known)
        critic_input = CriticInput(torch.cat(encoded[1::2]), joined_vectors([view.critic for view in views]))
        actor = joined([view.actor for view in views])
        return self.learner.policy_step(actor, extra_loss, torch.cat(encoded[::2]), critic_input)

    def _known_features(self, context: Context) -> list[tuple[Observation, Tensor]]:
        """Observations whose features (B, F) the policy's step need not compute, and these."""
        if self.learner.keeps_features:
            return [(view.obs, view.estimate.features.detach()) for view in context.views]
        # Where saliency of the updated critic may be wanted after this, one pass serves both.
        return [(context.batch.obs, context.fresh.features.detach())] if self.pixel_gradient else []

    @torch.no_grad()
    def _encoded(self, observations: list[Observation], known: list[tuple[Observation, Tensor]]) -> list[Tensor]:
        """The features of each observation, (B, F), computed once where the same one comes again."""
        for wanted in observations:
            if all(wanted is not obs for obs, _ in known):
                known = [*known, (wanted, self.learner.features(wanted))]
        return [next(features for obs, features in known if obs is wanted) for wanted in observations]

    # --- what networks see ------------------------------------------------------------------------------------------

    def _in_floats(self, batch: Batch) -> Batch:
        dtype = self.learner.dtype
        return batch.replace(obs=batch.obs.float(dtype), next_obs=batch.next_obs.float(dtype))

    def _observed(self, obs: Observation) -> Observation:
        """The observation through the method's ``observe``, its pixels ready for saliency where that is taken."""
        obs = self.method.observe(obs)
        return obs._replace(image=differentiable(obs.image)) if self.pixel_gradient else obs

    @torch.no_grad()
    def _observed_again(self, obs: Observation) -> Observation:
        """The observation through an ``observe`` that the critic's step has trained, without its graph."""
        return self._observed(obs)


class Plain(Method):
    """What is left of a method where its views, losses and steps are left out: what it does to every batch.

    Its weak augmentation and what it shows to the networks stay, so that nothing is seen anew when the method begins.
    """

    def __init__(self, method: Method) -> None:
        nn.Module.__init__(self)
        self.method = method

    def due(self, number: int) -> Hashable:
        """Equal to no answer of the method's, so that a CUDA graph of the one is never replayed for the other."""
        return Plain

    def prepare(self, batch: Batch) -> Batch:
        """The method's."""
        return self.method.prepare(batch)

    def observe(self, obs: Observation) -> Observation:
        """The method's."""
        return self.method.observe(obs)

    def critic_parameters(self) -> list[nn.Parameter]:
        """The method's: the critic's loss trains what ``observe`` shows."""
        return self.method.critic_parameters()


def check_pair(learner: ValueLearner, method: Method) -> None:
    """Refuse a method that needs what the learner lacks.

    Raises:
        FovealError: the method adds to the loss of a policy that the learner does not have, or the learner has
            ``has_policy`` without a ``policy_step``.
    """
    if learner.has_policy and type(learner).policy_step is ValueLearner.policy_step:
        raise FovealError(
            f"the learner {type(learner).__name__} has no policy_step: define it, or set has_policy = False where "
            "there are values alone"
        )
    if method.needs_policy and not learner.has_policy:
        raise FovealError(
            f"the method {type(method).__name__} adds to the policy's loss, and the learner {type(learner).__name__} "
            "has no policy beside its values; choose a learner that has one, such as sac"
        )


def differentiable(image: Tensor) -> Tensor:
    """The same pixels as a leaf whose gradient is ``float32``, in their own dtype where PyTorch allows it.

    Pixels that a trained ``observe`` has given keep their graph and become ``float32``.
    """
    if image.requires_grad:
        return image.float()
    image = image.detach()  # the tensor that came in stays without a graph: views are made from it
    if not hasattr(image, "grad_dtype"):  # older versions of PyTorch want pixels and gradient of one dtype
        return image.float().requires_grad_()
    image.requires_grad_().grad_dtype = torch.float32
    return image
