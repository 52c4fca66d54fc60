"""Objects with ``predict``: agents of Stable-Baselines3 and sb3-contrib, recurrent ones among them, and their like."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from gymnasium import spaces

from foveal.auditing.adapters.base import ADAPTERS, Adapter
from foveal.auditing.fitting import ZEROS
from foveal.errors import FovealError


@ADAPTERS.register("predict")
class PredictingPolicy(Adapter):
    """Anything with ``predict(observation, ...)`` -> action, or (action, state).

    Where ``predict`` takes ``state`` and ``episode_start``, as Stable-Baselines3's does, the state is kept from step to
    step and begun anew with each episode. Its ``observation_space`` says how pictures are to be laid out: channels
    first, where they went through VecTransposeImage, and as deep as VecFrameStack stacked them.
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
        origin = type(policy).__module__.partition(".")[0]
        self.kind = f"{type(policy).__name__} of {origin}"
        self._state: Any = None
        self._begins = True

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return callable(getattr(policy, "predict", None)) and not isinstance(policy, type)

    def reset(self) -> None:
        self._state, self._begins = None, True

    def act(self, observation: Any) -> Any:
        given = {"state": self._state, "episode_start": np.array([self._begins]), "deterministic": True}
        answer = self.policy.predict(observation, **{name: given[name] for name in self._takes})
        self._begins = False
        if not isinstance(answer, tuple):
            return answer
        action, self._state = answer
        return action


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
