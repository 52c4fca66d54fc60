"""A policy that acts alike on two views of one scene: a term of its loss which SCPL and TSTM share."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, TransformedDistribution, kl_divergence

from foveal.learners.base import ValueLearner
from foveal.types import Observation


def policy_agreement(
    learner: ValueLearner, clean: Observation, strong: Observation, weight: float
) -> Callable[[], Tensor] | None:
    """``weight`` times the mean divergence of the policies on two views, a term of the policy's loss.

    Returns:
        The term, or None where the learner's policy has no distribution.
    """
    if type(learner).distribution is ValueLearner.distribution:
        return None
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
