"""Actor-critics on one encoder, and stochastic policies over discrete and over continuous actions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

ACTOR_GAIN, CRITIC_GAIN = 0.01, 1.0
"""Gains of the orthogonal initial weights, as in OpenAI Baselines: a new policy hardly prefers any action."""


class PolicyHead(nn.Module, ABC):
    """A distribution over actions, given features.

    Args:
        size: number of features, after ``body``.
        actions: number of discrete actions, or length of a continuous one.
        body: the actor's own layers before its last, features -> (B, size).

    Attributes:
        action_shape: the shape of an action: () where it is discrete, (A,) where it is a vector.
        action_dtype: the type of stored actions.
    """

    action_shape: tuple[int, ...]
    action_dtype: torch.dtype

    def __init__(self, size: int, actions: int, body: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Identity() if body is None else body
        self.linear = linear(size, actions, ACTOR_GAIN)

    @abstractmethod
    def sample(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Drawn actions (B, ...) and their log probabilities or densities (B,).

        Args:
            features: (B, F).
            generator: where draws come from, on the features' device.
        """

    @abstractmethod
    def mode(self, features: Tensor) -> Tensor:
        """The likeliest actions, (B, F) -> (B, ...); continuous ones are not bounded."""

    @abstractmethod
    def evaluate(self, features: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities or densities of given actions (B,), and the policy's entropy in nats (B,)."""


class CategoricalHead(PolicyHead):
    """A categorical distribution over discrete actions; see ``PolicyHead``."""

    action_shape, action_dtype = (), torch.int64

    def log_probabilities(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, actions)."""
        return torch.log_softmax(self.linear(self.body(features)), dim=1)

    def sample(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Indices (B,) and their log probabilities (B,)."""
        logs = self.log_probabilities(features)
        actions = torch.multinomial(logs.exp(), 1, generator=generator)  # (B, actions) -> (B, 1)
        return actions[:, 0], logs.gather(1, actions)[:, 0]

    def mode(self, features: Tensor) -> Tensor:
        """Indices (B,)."""
        return self.log_probabilities(features).argmax(1)

    def evaluate(self, features: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities of indices (B,), and the entropy (B,)."""
        logs = self.log_probabilities(features)
        return logs.gather(1, actions[:, None])[:, 0], -(logs.exp() * logs).sum(1)


class GaussianHead(PolicyHead):
    """Independent Gaussians whose standard deviations do not depend on the state; see ``PolicyHead``."""

    action_dtype = torch.float32

    def __init__(self, size: int, actions: int, body: nn.Module | None = None) -> None:
        super().__init__(size, actions, body)
        self.action_shape = (actions,)
        self.log_std = nn.Parameter(torch.zeros(actions))

    def mode(self, features: Tensor) -> Tensor:
        """Their means, (B, F) -> (B, A)."""
        return self.linear(self.body(features))

    def sample(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Actions (B, A), unbounded, and their log densities (B,)."""
        mean = self.mode(features)
        noise = torch.randn(mean.shape, device=mean.device, dtype=mean.dtype, generator=generator)
        return mean + self.log_std.exp() * noise, self._log_density(noise)  # (A,) * (B, A)

    def evaluate(self, features: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log densities of actions (B, A) -> (B,), and the entropy (B,)."""
        noise = (actions - self.mode(features)) * (-self.log_std).exp()  # (B, A) * (A,)
        entropy = (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum()
        return self._log_density(noise), entropy.expand(len(actions))

    def _log_density(self, noise: Tensor) -> Tensor:
        """The log density of mean + exp(log_std) * noise; (B, A) -> (B,)."""
        return (-0.5 * noise.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(1)


class ActorCritic(nn.Module):
    """A policy and the value of states, on features that they share.

    Args:
        encoder: observations (B, ...) -> features (B, F) or (B, ...), in any precision.
        actor: features -> a distribution over actions.
        critic: features -> (B, 1), values in units of return.
    """

    def __init__(self, encoder: nn.Module, actor: PolicyHead, critic: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.actor = actor
        self.critic = critic

    def features(self, obs: Tensor) -> Tensor:
        """The input of actor and critic, ``float32``."""
        return self.encoder(obs).float()

    def value(self, features: Tensor) -> Tensor:
        """Features -> (B,)."""
        return self.critic(features)[:, 0]

    def values(self, obs: Tensor) -> Tensor:
        """Observations -> (B,), with a graph back to them."""
        return self.value(self.features(obs))


def linear(size: int, outputs: int, gain: float) -> nn.Linear:
    """A linear layer with orthogonal weights and zero biases."""
    layer = nn.Linear(size, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
