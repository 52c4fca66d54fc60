"""What of an agent that plays Atari games can be explained, and how maps of grey frames are read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.envs.games import is_atari
from foveal.evaluation.insides import (
    BUILT_IN,
    Insides,
    View,
    action_scalars,
    critic_scalars,
    decision_of,
    pixel_insides,
    policy_scalars,
    summed,
)
from foveal.saliency import CHANNELS


def agent_insides(agent: Any) -> Insides:
    """Of ``foveal.Agent``: scalars are its critic's, or of PPO the state's value and the action's log-probability.

    Of continuous actions each number is one too.
    """
    scalars = policy_scalars(agent) if agent.learner.on_policy else critic_scalars(agent)
    actions = agent.shapes.action
    decision = decision_of(agent, actions)
    if not decision.discrete:
        names = [f"action{number + 1}" for number in range(int(np.prod(actions.shape)))]
        scalars = {**scalars, **action_scalars(decision, names)}
    insides = pixel_insides(agent, scalars, decision)
    if not agent.method.sees_all:
        insides = replace(insides, views={"perceived": _perceived(agent, insides)})
    return of_games(insides, agent) if is_atari(agent.env_id) else insides


def _perceived(agent: Any, insides: Insides) -> View:
    def draw(observation: Any) -> NDArray[np.uint8]:
        frame = agent.perceive(insides.pixels([observation]))[0, -CHANNELS:]
        picture: NDArray[np.uint8] = frame.permute(1, 2, 0).to("cpu", torch.uint8).numpy()
        return picture

    return View(draw, "what its method lets through, which is all that its networks see", beneath=True)


def of_games(insides: Insides, agent: Any) -> Insides:
    """For four grey frames, maps of which are summed up, and without masks.

    Args:
        insides: of the agent.
        agent: ``foveal.Agent``.
    """
    attentive = BUILT_IN in insides.maps
    return replace(
        insides,
        strength=summed,
        usual=(BUILT_IN, "gradient") if attentive else ("gradient",),
        quantile=None,
        same_scale=True,
        summed="the four pictures that the agent sees",
        remark="" if attentive else "This network has no attention inside, so there is no map of its own.",
        even=agent.even_attention if attentive else None,
    )
