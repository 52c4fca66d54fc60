"""Objects with ``predict``: agents of Stable-Baselines3 and sb3-contrib, recurrent ones among them, and their like."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.distributions import Normal

from foveal.auditing.adapters.base import ADAPTERS, Adapter
from foveal.auditing.adapters.differentiable import Network, network_insides
from foveal.auditing.adapters.sb3_networks import Rebuilt
from foveal.auditing.cameras import Camera
from foveal.auditing.fitting import ZEROS
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides


@ADAPTERS.register("predict")
class PredictingPolicy(Adapter):
    """Anything with ``predict(observation, ...)`` -> action, or (action, state).

    Where ``predict`` takes ``state`` and ``episode_start``, as Stable-Baselines3's does, the state is kept from step to
    step and begun anew with each episode. Its ``observation_space`` says how pictures are to be laid out: channels
    first, where they went through VecTransposeImage, and as deep as VecFrameStack stacked them.

    One that is to draw its actions gets the same draws of PyTorch's generator whenever an episode is played, so that an
    episode under a change differs by what was seen alone; what others draw from that generator is not disturbed.
    """

    rank = 40
    fill = ZEROS  # as VecFrameStack does at a reset

    def __init__(self, policy: Any, options: Any = None) -> None:
        super().__init__(policy, options)
        _refuse_normalized(policy)
        takes = inspect.signature(policy.predict).parameters
        anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values())
        self._takes = {name for name in ("state", "episode_start", "deterministic") if anything or name in takes}
        self.observation_space = _space(policy, "observation_space")
        self.action_space = _space(policy, "action_space")
        self.draws = "deterministic" in self._takes and getattr(policy, "draws", True)
        if self.options.drawn:
            self.remarks = ("Its actions are drawn, in an episode alike under all conditions.",)
        origin = type(policy).__module__.partition(".")[0]
        self.kind = f"{type(policy).__name__} of {origin}"
        self._state: Any = None
        self._begins = True
        self._dice = _dice(0)

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return callable(getattr(policy, "predict", None)) and not isinstance(policy, type)

    def reset(self) -> None:
        self._state, self._begins = None, True

    def begin_draws(self, number: int) -> None:
        self._dice = _dice(number)

    def act(self, observation: Any) -> Any:
        given = {
            "state": self._state,
            "episode_start": np.array([self._begins]),
            "deterministic": not self.options.drawn,
        }
        with self._own_draws():
            answer = self.policy.predict(observation, **{name: given[name] for name in self._takes})
        self._begins = False
        if not isinstance(answer, tuple):
            return answer
        action, self._state = answer
        return action

    @contextmanager
    def _own_draws(self) -> Iterator[None]:
        """PyTorch's generator where this episode left it, if the policy draws; afterwards it is as it was."""
        if not self.options.drawn:
            yield
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._dice)
            yield
            self._dice = torch.get_rng_state()

    def insides(self, camera: Camera, *, discrete: bool) -> Insides | None:
        network = _network(self.policy)
        return None if network is None else network_insides(network, camera, discrete=discrete)


def _dice(number: int) -> Tensor:
    """The generator's state at an episode's beginning."""
    return torch.Generator().manual_seed(number).get_state()


def _network(policy: Any) -> Network | None:
    """Pixels -> what it decides by, of foveal's own networks and of Stable-Baselines3's; None of others."""
    if isinstance(policy, Rebuilt):
        return policy.numbers
    parts = getattr(policy, "policy", None)
    if not isinstance(parts, nn.Module) or hasattr(parts, "lstm_actor"):
        return None
    if isinstance(getattr(parts, "q_net", None), nn.Module):  # DQN's
        return cast(Network, parts.q_net)
    if isinstance(getattr(parts, "actor", None), nn.Module):  # SAC's and TD3's
        return lambda pixels: _mean(parts.actor, pixels)
    return (lambda pixels: _preferred(parts, pixels)) if hasattr(parts, "get_distribution") else None


def _mean(actor: Any, pixels: Tensor) -> Tensor:
    """Of the squashed Gaussian, or the action itself where the actor draws none."""
    found: Tensor = (
        actor.get_action_dist_params(pixels)[0].tanh() if hasattr(actor, "get_action_dist_params") else actor(pixels)
    )
    return found


def _preferred(parts: Any, pixels: Tensor) -> Tensor:
    """Logits of discrete actions, or a Gaussian's mean."""
    distribution = parts.get_distribution(pixels).distribution
    found: Tensor = distribution.mean if isinstance(distribution, Normal) else distribution.logits
    return found


def _space(policy: Any, name: str) -> spaces.Space[Any] | None:
    space = getattr(policy, name, None)
    return space if isinstance(space, spaces.Space) else None


def _refuse_normalized(policy: Any) -> None:
    """An agent behind VecNormalize acts on other numbers than its environment's."""
    ask = getattr(policy, "get_vec_normalize_env", None)
    normalized = None if ask is None else ask()
    if normalized is not None and getattr(normalized, "norm_obs", False):
        raise FovealError(
            "this policy was trained on observations that VecNormalize normalised: give "
            "lambda obs: model.predict(vec_normalize.normalize_obs(obs), deterministic=True)[0]"
        )
