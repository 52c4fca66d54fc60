"""One gradient update: a learner and a method, composed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.learners.base import Judged, ValueLearner
from foveal.methods.base import Context, EstimatedView, Method
from foveal.networks.optimization import minimize
from foveal.timing import phase
from foveal.types import Batch, Observation


class Due(NamedTuple):
    """What an update has beside the critic's step.

    Attributes:
        policy: the policy's step.
        target: a step of the target networks.
        method: what the method says of its own.
    """

    policy: bool
    target: bool
    method: Hashable


class Updater:
    """Owns the order of things within an update; the learner and the method own the mathematics.

    Args:
        learner: on its device already.
        method: built for that learner, on the same device.
        pixel_gradient: whether the method takes saliency from the graphs of the views' values.

    Raises:
        FovealError: the method adds to the loss of a policy that the learner does not have.
    """

    def __init__(self, learner: ValueLearner, method: Method, *, pixel_gradient: bool) -> None:
        check_pair(learner, method)
        self.learner = learner
        self.method = method
        self.pixel_gradient = pixel_gradient
        self.count = 0
        self.critic_optimizer = learner.critic_optimizer(method.critic_parameters())

    def update(self, batch: Batch, sample: Callable[[int], Batch]) -> dict[str, Tensor]:
        """One update of everything that is due.

        Args:
            batch: sampled transitions, images ``uint8``, on the learner's device.
            sample: draws a further batch of a given size, for auxiliary losses.

        Returns:
            Metrics as tensors on the device; nothing here waits for their values.
        """
        with phase("augment"):
            self.method.begin_update(self.count)
        metrics = self._computed(batch, sample)
        self.count += 1
        return metrics

    def update_eagerly(self, batch: Batch, sample: Callable[[int], Batch]) -> dict[str, Tensor]:
        """``update``, for whoever looks into it: operation by operation, whatever ``update`` may do to be faster."""
        return Updater.update(self, batch, sample)

    def due(self) -> Due:
        """What the next update has beside the critic's step."""
        policy, target = self.learner.policy_periods()
        return Due(
            self.learner.has_policy and self.count % policy == 0,
            self.count % target == 0,
            self.method.due(self.count),
        )

    def restart(self) -> None:
        """Called when weights, optimizers or counters were replaced by others."""

    def _computed(self, batch: Batch, sample: Callable[[int], Batch]) -> dict[str, Tensor]:
        """What the device computes: all of an update but what the method does on the host before it."""
        learner, method = self.learner, self.method
        with phase("augment"):
            prepared = self._prepared(batch)
            batch = self._observed(prepared)
        with phase("targets"):
            target = learner.targets(batch)
        with phase("critic"):
            context, metrics = self._critic_step(prepared, batch, target, sample)
        due = self.due()
        if due.policy:
            with phase("actor"):
                metrics |= self._policy_step(context)
        if due.target:
            with phase("target networks"):
                learner.update_target_networks()
        with phase("auxiliary"):
            metrics |= method.auxiliary(context)
        return metrics

    def _critic_step(
        self, prepared: Batch, batch: Batch, target: Tensor, sample: Callable[[int], Batch]
    ) -> tuple[Context, dict[str, Tensor]]:
        """TD loss over the method's views, plus the method's own terms; one step of the critic's optimizer."""
        learner, method = self.learner, self.method
        views, losses = [], []
        for view in method.views(prepared):
            # What was observed for the batch is not observed a second time.
            obs = batch.obs if view.obs is prepared.obs else self._seen(view.obs)
            views.append(EstimatedView(obs, view.weight, learner.estimate(obs, batch.action), view.obs))
            losses.append(view.weight * learner.td_loss(views[-1].estimate, target))
        context = Context(learner, prepared, batch, views, self.count, sample)
        terms = method.critic_loss(context)
        total = sum([*losses[1:], *terms.values()], losses[0])
        minimize(total, self.critic_optimizer, [*learner.critic_parameters(), *method.critic_parameters()])
        # A trained ``observe`` left its graph behind the pixels, and shows them otherwise from here on.
        context.critic_stepped(None if batch.obs.image.is_leaf else self._observe_again)
        metrics = {
            "critic/loss": total.detach(),
            "critic/td": losses[0].detach(),
            "critic/value": context.estimate.values.detach().mean(),
        }
        return context, metrics | {f"critic/{name}": term.detach() for name, term in terms.items()}

    def _policy_step(self, context: Context) -> dict[str, Tensor]:
        """On what the method's ``policy_views`` say; no gradient goes back into what is seen."""
        views, extra_loss = self.method.policy_views(context), self.method.actor_loss(context)
        obs = context.batch.obs
        # Where saliency of the updated critic may be wanted after this, one pass serves both.
        known = [(obs, context.fresh.features.detach())] if self.pixel_gradient else []
        if len(views) == 1 and views[0].acts is views[0].judged:
            acts = views[0].acts
            features = next((found for image, found in known if image is acts), None)
            return self.learner.policy_step(acts._replace(image=acts.image.detach()), extra_loss, features)
        encoded = self._encoded([view for pair in views for view in pair], known)
        acts = joined([view.acts for view in views])
        judged = Judged(torch.cat(encoded[1::2]), joined([view.judged for view in views]).vector)
        return self.learner.policy_step(acts, extra_loss, torch.cat(encoded[::2]), judged)

    @torch.no_grad()
    def _encoded(self, views: list[Observation], known: list[tuple[Observation, Tensor]]) -> list[Tensor]:
        """The features of each view, (B, F), computed once where the same observation comes again."""
        for view in views:
            if all(view is not obs for obs, _ in known):
                known = [*known, (view, self.learner.features(view))]
        return [next(features for obs, features in known if obs is view) for view in views]

    def _prepared(self, batch: Batch) -> Batch:
        """What views are made of: prepared, in floating point, not observed."""
        batch, dtype = self.method.prepare(batch), self.learner.dtype
        return batch.replace(obs=batch.obs.float(dtype), next_obs=batch.next_obs.float(dtype))

    def _observed(self, prepared: Batch) -> Batch:
        """Images as the networks see them; the observation's is ready for saliency where that is taken."""
        obs = self._seen(prepared.obs)
        with torch.no_grad():
            next_obs = self.method.observe(prepared.next_obs)
        return prepared.replace(obs=obs, next_obs=next_obs)

    def _seen(self, obs: Observation) -> Observation:
        """One observation through ``observe``; its pixels can be differentiated by where saliency is taken."""
        return self._ready(self.method.observe(obs))

    def _ready(self, obs: Observation) -> Observation:
        return obs._replace(image=differentiable(obs.image)) if self.pixel_gradient else obs

    @torch.no_grad()
    def _observe_again(self, obs: Observation) -> Observation:
        """An observation as the critic's step has taught ``observe`` to show it, without a graph to there."""
        return self._ready(self.method.observe(obs))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimizer by name: the critic's, the learner's and the method's."""
        return {"critic": self.critic_optimizer, **self.learner.optimizers(), **self.method.optimizers()}


def check_pair(learner: ValueLearner, method: Method) -> None:
    """Refuse a method that needs what the learner lacks.

    Raises:
        FovealError: the method adds to the loss of a policy that the learner does not have, or the learner says that it
            has one and can't improve it.
    """
    if learner.has_policy and type(learner).policy_step is ValueLearner.policy_step:
        raise FovealError(
            f"the learner {type(learner).__name__} has no policy_step: define it, or set has_policy = False where "
            "there are values alone"
        )
    if type(method).actor_loss is not Method.actor_loss and not learner.has_policy:
        raise FovealError(
            f"the method {type(method).__name__} adds to the policy's loss, and the learner {type(learner).__name__} "
            "has no policy beside its values; choose a learner that has one, such as sac"
        )


def joined(observations: list[Observation]) -> Observation:
    """One batch of all of them, one after the other, without a graph."""
    vectors = [obs.vector for obs in observations if obs.vector is not None]
    return Observation(torch.cat([obs.image.detach() for obs in observations]), torch.cat(vectors) if vectors else None)


def differentiable(image: Tensor) -> Tensor:
    """Pixels of any floating dtype, in the same one where possible, whose gradient is ``float32``.

    A leaf of its own, except where they have a graph already. Older versions of PyTorch want pixels and gradient of one
    dtype.
    """
    if image.requires_grad:
        return image.float()
    image = image.detach()  # what came in stays without a graph: views are made from it
    if not hasattr(image, "grad_dtype"):
        return image.float().requires_grad_()
    image.requires_grad_().grad_dtype = torch.float32
    return image
