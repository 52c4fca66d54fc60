"""What of an Atari agent can be explained: the state's value, the chance of its action, and its own attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.evaluation.insides import BUILT_IN, Insides, Scalar, configuration, summed
from foveal.saliency import ScalarFunction


class Attentive(Protocol):
    """An agent that may have attention inside.

    Attributes:
        device: of its network.
        policy: encoder, actor and critic.
    """

    device: torch.device
    policy: Any

    @property
    def has_attention(self) -> bool:
        """Whether its network has attention."""

    def even_attention(self) -> NDArray[np.float32]:
        """(84, 84): what ``attention`` makes of a map that is the same everywhere."""

    def attention(self, obs: NDArray[np.uint8]) -> Any:
        """(N, 4, 84, 84) -> (N, 84, 84), not negative."""

    def values(self, obs: Tensor) -> Tensor:
        """(N, 4, 84, 84) in [0, 255] -> (N,) state values with their graph."""


def game_insides(agent: Attentive) -> Insides:
    """Scalars ``value`` and ``log_prob``, and the map ``attention`` where the network has that."""

    def value(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        return agent.values

    def log_prob(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        acted = torch.as_tensor(np.asarray(actions), device=agent.device)

        def of_action(pixels: Tensor) -> Tensor:
            found: Tensor = agent.policy.actor.evaluate(agent.policy.features(pixels), acted)[0]
            return found

        return of_action

    def attention(pixels: Tensor) -> Tensor:
        return torch.as_tensor(agent.attention(pixels.to(torch.uint8).cpu().numpy()))

    attentive = agent.has_attention
    return Insides(
        scalars={
            "value": Scalar(value, "V", "value of the state", "the state's value"),
            "log_prob": Scalar(log_prob, "log p", "log-probability of the action", "the action's log-probability"),
        },
        pixels=lambda observations: torch.as_tensor(np.stack(observations), device=agent.device).float(),
        strength=summed,
        maps={BUILT_IN: attention} if attentive else {},
        usual=(BUILT_IN, "gradient") if attentive else ("gradient",),
        quantile=None,
        same_scale=True,
        summed="the four pictures that the agent sees",
        remark="" if attentive else "This network has no attention inside, so there is no map of its own.",
        even=agent.even_attention if attentive else None,
        config=configuration(agent),
    )
