"""Conditions such as ``noise:3``: a change of ``foveal.corruptions`` at a severity, for any environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.corruptions import SEVERITIES, CorruptionOptions
from foveal.corruptions.streams import change_names, knows_the_task, stream
from foveal.envs.perturbations.base import Perturbation
from foveal.errors import FovealError

SEPARATOR = ":"


def corruption_names() -> list[str]:
    """All of them at every severity, ``"blur:1"`` first."""
    return [f"{name}{SEPARATOR}{severity}" for name in change_names() for severity in SEVERITIES]


class CorruptedPicture(Perturbation):
    """Frames as a camera would give them under a corruption; of the generated pictures, where it needs some.

    Args:
        name: one of ``corruption_names()``.
        data: unused.
    """

    def __init__(self, name: str, data: Path | None = None) -> None:
        super().__init__(data)
        self.name, _, severity = name.partition(SEPARATOR)
        self.severity = int(severity)

    def apply(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        """The environment with the corruption behind its camera.

        Raises:
            FovealError: the corruption needs to know which pixels are the task's, and the environment can't tell.
        """
        if knows_the_task(self.name) and not env.has_wrapper_attr("agent_mask"):
            possible = [name for name in change_names() if not knows_the_task(name)]
            raise FovealError(
                f"{self.name} must know which pixels are the task's own, and {type(env.unwrapped).__name__} has no "
                f"agent_mask(): give it one, or choose among {', '.join(possible)}"
            )
        return CorruptedFrames(env, self.name, self.severity)


class CorruptedFrames(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Single frames, (3, H, W) ``uint8`` alone or as ``"image"``, changed; drawn anew at each reset."""

    def __init__(self, env: gymnasium.Env[Any, Any], name: str, severity: int) -> None:
        super().__init__(env)
        space = env.observation_space
        self._in_dict = isinstance(space, spaces.Dict)
        size = (space["image"] if isinstance(space, spaces.Dict) else space).shape[1]  # type: ignore[index]
        self._stream = stream(name, severity, CorruptionOptions(size))
        self._needs_mask = knows_the_task(name)
        self._generator = torch.Generator()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._generator.manual_seed(seed)
        observation, info = self.env.reset(seed=seed, options=options)
        self._stream.begin(self._generator)
        return self._changed(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._changed(observation), reward, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state().numpy(), **self._stream.state()}

    def set_state(self, state: dict[str, Any]) -> None:
        self._generator.set_state(torch.from_numpy(np.array(state["generator"], np.uint8)))
        self._stream.load_state(state, self._generator)

    def _changed(self, observation: Any) -> Any:
        image: NDArray[np.uint8] = observation["image"] if self._in_dict else observation
        mask = None
        if self._needs_mask:
            mask = torch.from_numpy(np.array(self.env.get_wrapper_attr("agent_mask")()))
        changed = self._stream.next(torch.from_numpy(np.array(image)), mask).numpy().copy()
        return {**observation, "image": changed} if self._in_dict else changed
