"""What agents let others look at: every map of every kind of agent, and what it acts by."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import foveal
from foveal.errors import FovealError
from foveal.evaluation.insides import Decision, Insides, newest
from foveal.saliency import SALIENCY, needs_choices
from small_dqn import agent_on
from small_env import SavedCounter, small_agent

EVERY = SALIENCY.names()


def continuous() -> foveal.Agent:
    return small_agent(SavedCounter, training={"precision": "float32"})


def actor() -> foveal.Agent:
    env = partial(SavedCounter, discrete=True)
    settings: dict[str, Any] = {"encoder": {"strides": [2, 2], "filters": 4}}
    return foveal.Agent(env, learner="ppo", encoder="conv", ppo=settings, preset="debug", seed=1)


def seen(agent: foveal.Agent, count: int = 2) -> tuple[list[Any], list[Any]]:
    """Observations, and what it does on them."""
    shape = agent.shapes.image[0], agent.env_options["image_size"], agent.env_options["image_size"]
    frames = list(np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8))
    return frames, [agent.predict(frame, deterministic=True)[0] for frame in frames]


@pytest.mark.slow
@pytest.mark.parametrize("made", [continuous, partial(agent_on, "none"), actor])
def test_every_map_is_there_of_every_agent_and_every_scalar(made: Any) -> None:
    agent = made()
    insides, (frames, actions) = agent.insides(), seen(agent)
    assert insides.decision is not None
    for name in EVERY:
        if needs_choices(name) and not insides.decision.discrete:
            with pytest.raises(FovealError, match="sarfa explains the choice among discrete actions"):
                insides.check_map(name)
            continue
        insides.check_map(name)
        found = insides.look(name, frames, actions)
        assert found.shape == (2, *frames[0].shape[1:]) and found.isfinite().all() and found.min() >= 0
    for scalar in insides.scalars:
        assert insides.look("gradient", frames, actions, scalar).any()


@pytest.mark.slow
def test_scalars_of_continuous_actions_are_the_actions_numbers_and_the_least_value() -> None:
    agent = continuous()
    insides, (frames, actions) = agent.insides(), seen(agent, 3)
    assert list(insides.scalars) == ["q1", "q2", "min_q", "action1", "action2"]
    with torch.no_grad():
        told = {name: of.bind(frames, actions)(insides.pixels(frames)) for name, of in insides.scalars.items()}
    torch.testing.assert_close(told["min_q"], torch.minimum(told["q1"], told["q2"]))
    expected = torch.from_numpy(np.stack(actions))
    torch.testing.assert_close(torch.stack([told["action1"], told["action2"]], 1), expected)


@pytest.mark.slow
@pytest.mark.parametrize("made", [partial(agent_on, "none"), partial(agent_on, "none", learner="qrdqn"), actor])
def test_discrete_actions_are_the_largest_of_what_decides(made: Any) -> None:
    agent = made()
    insides, (frames, actions) = agent.insides(), seen(agent, 5)
    decide = insides.decision
    assert decide is not None and decide.discrete
    with torch.no_grad():
        numbers = decide.bind(frames, actions)(insides.pixels(frames))
    assert numbers.argmax(1).tolist() == [int(action) for action in actions]


def test_a_black_box_has_maps_that_need_no_gradient() -> None:
    def bind(observations: Any, actions: Any) -> Any:
        def decide(pixels: Tensor) -> Tensor:
            left, right = np.split(pixels.numpy(), 2, axis=3)
            return torch.from_numpy(np.stack([left.mean((1, 2, 3)), right.max((1, 2, 3)) * 0], 1))

        return decide

    frames = [np.full((3, 16, 16), 90, np.uint8), np.eye(16, dtype=np.uint8)[None].repeat(3, 0) * 200]
    insides = Insides({}, lambda seen: torch.from_numpy(np.stack(seen)).float(), newest, decision=Decision(bind, True))
    for name in ("occlusion", "rise", "sarfa"):
        insides.check_map(name)
    found = insides.look("occlusion", frames)[1]
    assert found[:, :8].sum() > 10 * found[:, 10:].sum()
    with pytest.raises(FovealError, match=r"gradient needs a gradient.*occlusion, rise, sarfa"):
        insides.check_map("gradient")
