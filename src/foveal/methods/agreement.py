"""A policy that acts alike on two views of one scene: what SCPL and TSTM share."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, TransformedDistribution, kl_divergence

from foveal.learners.base import ValueLearner
from foveal.methods.base import Context, Method, StrongAugmentation, View, clean_and_changed
from foveal.types import Batch


class Agreeing(Method):
    """A method with a clean and a changed view, and the divergence of policies on them by ``config.agreement_weight``.

    Where there is no policy, or one without a distribution, it does without that term.
    """

    augment: StrongAugmentation
    needs_policy = False

    def views(self, batch: Batch) -> list[View]:
        """The observation and the same under the strong augmentation, of equal weight."""
        return clean_and_changed(self, batch.obs, 0.5, 0.5)

    def actor_loss(self, context: Context) -> Callable[[], Tensor] | None:
        """KL(pi(s) || pi(changed s)), averaged over the batch."""
        learner, clean, strong = context.learner, context.batch.obs, context.seen(1)
        if type(learner).distribution is ValueLearner.distribution:
            return None
        weight = self.config.agreement_weight
        return lambda: weight * divergence(learner.distribution(clean), learner.distribution(strong)).mean()


def divergence(clean: Distribution, strong: Distribution) -> Tensor:
    """KL(clean || strong), (B,): of Gaussians with a gradient to both means, and to the second's spread alone.

    A change of variables that two distributions share, such as tanh, leaves their divergence as it is, so it is that of
    the Gaussians before it.
    """
    first, second = _gaussian(clean), _gaussian(strong)
    if first is None or second is None:
        return kl_divergence(clean, strong)
    fixed = Normal(first.loc, first.scale.detach(), validate_args=False)
    return kl_divergence(fixed, second).sum(1)  # (B, A) -> (B,)


def _gaussian(distribution: Distribution) -> Normal | None:
    """The Gaussian (B, A) inside, if that is what the distribution is made of."""
    while isinstance(distribution, TransformedDistribution | Independent):
        distribution = distribution.base_dist
    return distribution if isinstance(distribution, Normal) else None
