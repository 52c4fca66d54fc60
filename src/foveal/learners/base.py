"""What a generalization method may ask of a learner, and the registry of learners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.distributions import Distribution

from foveal.errors import FovealError
from foveal.registry import Registry
from foveal.types import Batch, Observation


@dataclass(frozen=True)
class Estimate:
    """One pass of the critic over a batch, with its graph.

    Attributes:
        features: (B, F), the flattened convolutions.
        latent: (B, D), after the critic's projection.
        values: (heads, B), in units of return.
        prediction: what ``td_loss`` regresses: the values themselves, or quantiles.
    """

    features: Tensor
    latent: Tensor
    values: Tensor
    prediction: Tensor


class PolicyView(NamedTuple):
    """What the policy's step learns from.

    Attributes:
        actor: the observation on which the policy acts.
        critic: the observation on which the critic values its action.
    """

    actor: Observation
    critic: Observation


class CriticInput(NamedTuple):
    """The observations on which the critic values the policy's actions, without a graph.

    Attributes:
        features: (B, F), the critic's flattened convolutions.
        vector: (B, V) beside the image, or None.
    """

    features: Tensor
    vector: Tensor | None


@dataclass(frozen=True)
class Shapes:
    """The shapes of observations and actions.

    Attributes:
        image: (C, H, W) of the observation that the encoder sees.
        vector: length of the vector beside the image, 0 without one.
        action: the environment's action space, already rescaled to [-1, 1] where it is continuous.
    """

    image: tuple[int, int, int]
    vector: int
    action: spaces.Space[Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        if isinstance(self.action, spaces.Discrete):
            action: dict[str, Any] = {"discrete": int(self.action.n)}
        else:
            action = {"continuous": list(self.action.shape or ())}
        return {"image": list(self.image), "vector": self.vector, "action": action}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Shapes:
        """The inverse of ``as_dict``."""
        channels, height, width = state["image"]
        action: spaces.Space[Any]
        if "discrete" in state["action"]:
            action = spaces.Discrete(state["action"]["discrete"])
        else:
            action = spaces.Box(-1.0, 1.0, tuple(state["action"]["continuous"]), np.float32)
        return cls((channels, height, width), state["vector"], action)


class Learner(nn.Module, ABC):
    """What every agent has: networks that act on pixels, and say what they expect. It knows no method.

    Attributes:
        config: an instance of ``Config``.
        dtype: the type that convolutions compute in.
        generator: of its random draws in training.
        presets: preset -> its own settings.
        run_presets: preset, or "*" for every one -> section -> the settings of the run that its source trains with, in
            ``environment`` and ``training``. They go over the preset's and under the user's.
        heads: how many values it has for an observation and an action.
        on_policy: whether it learns from what its own policy just did, and not from replay.
        agent_step: () ``int64`` on its device, the argument of the latest ``set_step``. Schedules are computed from
            it, so that a CUDA graph reads the present value. It is not saved: the agent sets it again.
    """

    Config: ClassVar[type]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    run_presets: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {}
    heads: ClassVar[int] = 1
    on_policy: ClassVar[bool] = False

    def __init__(
        self, config: Any, shapes: Shapes, dtype: torch.dtype, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.dtype = dtype
        self.generator = generator
        self.agent_step: Tensor
        self.register_buffer("agent_step", torch.zeros((), dtype=torch.int64), persistent=False)

    def set_step(self, step: int) -> None:
        """The agent calls this after every agent step, random actions included; nothing waits for the device."""
        self.agent_step.fill_(step)

    @classmethod
    def task_settings(cls, env: str) -> Mapping[str, Any]:
        """Settings that the learner's source gives for this task alone."""
        return {}

    @classmethod
    def task_run_presets(cls, env: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """``run_presets`` that the learner's source has for this task alone, and which go over these."""
        return {}

    @classmethod
    def check(cls, config: Any, environments: int) -> None:
        """Refuse its settings where they do not go with so many environments.

        Raises:
            FovealError: they do not.
        """

    @abstractmethod
    def act(self, obs: Observation, deterministic: bool, generator: torch.Generator) -> Tensor:
        """Actions for a batch of observations, (B, A) or (B,)."""

    @abstractmethod
    def best_action(self, obs: Observation) -> Tensor:
        """Deterministic actions for a batch, (B, A) or (B,): what an exported policy computes."""

    def decision(self, obs: Observation) -> Tensor:
        """What the deterministic action is chosen by, with a graph back to the observation.

        Returns:
            (B, A): the action itself, or a number for each discrete one, of which the largest is chosen.
        """
        return self.best_action(obs)

    @abstractmethod
    def values(self, obs: Observation, action: Tensor | None) -> Tensor:
        """What it expects, with a graph back to the observation: (heads, B) in units of return.

        Args:
            obs: a batch of observations.
            action: (B, A) or (B,); None where values are those of states.
        """

    @abstractmethod
    def encoder(self) -> nn.Module:
        """The network that sees, with an attention module inside or without."""

    @property
    def has_attention(self) -> bool:
        """Whether there is an attention module inside the encoder, whose map can be shown."""
        return getattr(self.encoder(), "rendering", None) is not None

    @torch.no_grad()
    def attention(self, obs: Observation, *, even: bool = False) -> Tensor:
        """The map of the attention module inside the encoder, drawn on the observation's pixels.

        Args:
            obs: a batch of observations.
            even: draw a map that is 1 at every position instead: what every drawing has, whatever was learnt.

        Returns:
            (B, H, W), not negative, in the module's own unit.

        Raises:
            FovealError: there is no such module.
        """
        encoder: Any = self.encoder()
        if not self.has_attention:
            raise FovealError(
                f"the encoder {self.config.encoder.name!r} has no attention module inside: explain the agent by "
                "gradients, or train one with --encoder fls or, for ppo, sparse-fls"
            )
        encoder(obs.image)
        positions = torch.ones_like(encoder.attention) if even else encoder.attention
        drawn: Tensor = encoder.rendering.render(positions, obs.image.shape[-2:])
        return drawn


class ValueLearner(Learner):
    """Value learning from pixels: its networks, its TD targets and losses. Methods are composed onto it.

    The convolutions are trained by the critic's loss (and by methods' own steps), never by the actor's.

    Attributes:
        capturable: whether a CUDA graph can record its part of an update: it draws from ``generator`` alone and never
            reads the value of a tensor.
        has_policy: whether there is a policy beside the values, which ``policy_step`` improves.
        keeps_features: whether the policy's step takes the features that the critic's loss was computed on, from before
            that step, as some sources do, and not those of the convolutions as they are then.
    """

    capturable: ClassVar[bool] = False
    has_policy: ClassVar[bool] = True
    keeps_features: ClassVar[bool] = False

    convolutions: nn.Module
    projection: nn.Module
    feature_size: int
    latent_size: int
    action_size: int

    def encoder(self) -> nn.Module:
        return self.convolutions

    def values(self, obs: Observation, action: Tensor | None) -> Tensor:
        """The critic's, of the action: (heads, B)."""
        if action is None:
            raise FovealError("the values of this learner are of actions: give one for every observation")
        return self.estimate(obs, action).values

    def features(self, obs: Observation) -> Tensor:
        """The critic's flattened convolutions, (B, F)."""
        return self.convolutions(obs.image)

    def latent(self, obs: Observation) -> Tensor:
        """The critic's encoder, after its projection, (B, D)."""
        return self.projection(self.features(obs))

    def target_latent(self, obs: Observation) -> Tensor:
        """The target network's latent, (B, D), without a graph.

        Raises:
            FovealError: the learner has no target network before its latent.
        """
        raise FovealError(f"the learner {type(self).__name__} has no target network that gives a latent")

    def distribution(self, obs: Observation) -> Distribution:
        """The policy's distribution of actions, a batch of B, with a graph to the policy but not to the convolutions.

        Raises:
            FovealError: the learner has no policy with a distribution.
        """
        raise FovealError(f"the learner {type(self).__name__} has no policy with a distribution over actions")

    @abstractmethod
    def estimate(self, obs: Observation, action: Tensor) -> Estimate:
        """The critic's estimate of (obs, action), with its graph."""

    @abstractmethod
    def targets(self, batch: Batch) -> Tensor:
        """TD targets of a batch, without a graph. Called once per update."""

    @abstractmethod
    def td_loss(self, estimate: Estimate, target: Tensor) -> Tensor:
        """The critic's loss against ``target``, a scalar."""

    @abstractmethod
    def action_features(self, action: Tensor) -> Tensor:
        """Actions as the input of a network, (B, A): one-hot where they are discrete."""

    @abstractmethod
    def critic_parameters(self) -> list[nn.Parameter]:
        """Everything that the critic's optimizer trains, convolutions included."""

    @abstractmethod
    def critic_optimizer(self, extra: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The critic's optimizer over its own and a method's extra parameters."""

    def policy_step(
        self,
        obs: Observation,
        extra_loss: Callable[[], Tensor] | None = None,
        features: Tensor | None = None,
        critic_input: CriticInput | None = None,
    ) -> dict[str, Tensor]:
        """Improve the policy on a batch without training the convolutions; returns metrics.

        Learners with ``has_policy`` override it; it is never called for others.

        Args:
            obs: the observations on which the policy acts.
            extra_loss: a method's term.
            features: ``features(obs)`` without a graph, where the update has them already.
            critic_input: the observations on which the critic values its actions; None for ``obs`` itself.
        """
        raise NotImplementedError(f"{type(self).__name__} has no policy to improve")

    @abstractmethod
    def update_target_networks(self) -> None:
        """Move the target networks towards the trained ones."""

    @abstractmethod
    def policy_periods(self) -> tuple[int, int]:
        """Every how many updates the policy and the target networks move."""

    @abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The learner's own optimizers by name, without the critic's, which the updater owns."""

    @property
    def encoder_parameters(self) -> list[nn.Parameter]:
        """Convolutions and the critic's projection: what auxiliary losses on the latent train."""
        return [*self.convolutions.parameters(), *self.projection.parameters()]


def linear(step: Tensor, initial: float, final: float, steps: int) -> Tensor:
    """A schedule: ``initial`` at step 0, ``final`` from ``steps`` on, in the shape and on the device of ``step``."""
    passed = (step / steps).clamp(max=1.0)
    return initial + (final - initial) * passed


LEARNERS: Registry[type[Learner]] = Registry("learner", "foveal.learners")


def check_action_space(name: str, space: spaces.Space[Any], *, discrete: bool) -> None:
    """Refuse an action space that a learner can't serve.

    Raises:
        FovealError: with the kind of space that is wanted.
    """
    wanted = spaces.Discrete if discrete else spaces.Box
    if not isinstance(space, wanted):
        raise FovealError(
            f"learner {name!r} needs {wanted.__name__} actions, and this environment has {type(space).__name__}; "
            f"choose a learner for {'continuous' if discrete else 'discrete'} actions"
        )
