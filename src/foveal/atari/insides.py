"""What of an Atari agent can be explained: the state's value, the chance of its action, and its own attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.evaluation.insides import BUILT_IN, Insides, Scalar, configuration, summed
from foveal.saliency import ScalarFunction


def game_insides(agent: Any) -> Insides:
    """Scalars ``value`` and ``log_prob``, and the map ``attention`` where the network has that.

    Args:
        agent: ``foveal.atari.agent.AtariAgent``.
    """

    def value(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        fn: ScalarFunction = agent.values
        return fn

    def log_prob(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        acted = torch.as_tensor(np.asarray(actions), device=agent.device)

        def of_action(pixels: Tensor) -> Tensor:
            log_probs: Tensor = agent.policy.actor.evaluate(agent.policy.features(pixels), acted)[0]
            return log_probs

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
