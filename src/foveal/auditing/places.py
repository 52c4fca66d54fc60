"""Where a policy acts: an environment by id, of anybody's own, or the one that it brings along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from foveal.atari.single import GameMaker
from foveal.auditing.adapters import Adapter
from foveal.auditing.cameras import Camera, cameras_of
from foveal.auditing.changing import Mask
from foveal.envs import games, make
from foveal.envs.family import FAMILIES, known_ids
from foveal.envs.making import make_registered
from foveal.envs.perturbations import PERTURBATIONS, usual_perturbations
from foveal.errors import FovealError
from foveal.registry import nearest

USUAL_SIZE = 84
"""Pixels of a side, where the policy doesn't say which it sees."""


@dataclass(frozen=True)
class Place:
    """An environment that can be made again.

    Attributes:
        env: id, environment, or callable that makes one.
        options: of ``foveal.envs.make``; None where the environment is used as it is.
        data: folder of DMC-GB's colours and videos, or None.
        name: as results say it.
        own: whether ``env`` makes a world of the policy's own, which its name stands for.
    """

    env: Any
    options: Mapping[str, Any] | None
    data: str | Path | None = None
    name: str = field(default="")
    own: bool = False

    @property
    def possible(self) -> tuple[str, ...]:
        """Perturbations of ``foveal.envs`` that it may have; some of foveal's own environments refuse them."""
        if self.options is None or not isinstance(self.env, str):
            return ()
        return tuple(PERTURBATIONS.names())

    @property
    def usual(self) -> tuple[str, ...]:
        """Those that are usual there."""
        return usual_perturbations(self.env) if self.possible else ()

    @contextmanager
    def open(self, perturbation: str | None = None) -> Iterator[gymnasium.Env[Any, Any]]:
        """The environment, closed afterwards unless the user made it.

        Raises:
            FovealError: it can't be made.
        """
        env = self._made(perturbation)
        try:
            yield env
        finally:
            if env is not self.env:
                env.close()

    def _made(self, perturbation: str | None) -> gymnasium.Env[Any, Any]:
        if self.options is not None:
            return make(self.env, **self.options, perturbation=perturbation, data=self.data if perturbation else None)
        if isinstance(self.env, gymnasium.Env):
            return self.env
        made = self.env() if callable(self.env) else _registered(self.env)
        if not isinstance(made, gymnasium.Env):
            raise FovealError(f"{self.name} made a {type(made).__name__}, and no gymnasium.Env")
        return made


def place_for(adapter: Adapter, env: Any, data: str | Path | None = None) -> Place:
    """Where a policy is to act.

    Args:
        adapter: the policy; one of foveal's own brings its environment.
        env: id, environment, callable, or a vector environment of Stable-Baselines3's; None for the policy's own.
        data: see ``Place``.

    Raises:
        FovealError: nobody names an environment, or it is none.
    """
    if (made := _own_world(adapter, env)) is not None:
        return Place(made, None, data, getattr(made, "name", None) or _name(made), own=True)
    own = getattr(adapter, "env_options", None)
    if env is None and own is None:
        raise FovealError("name an environment to audit this policy in (--env ID), or frames to show it (--frames)")
    env = _single(getattr(adapter, "env", None) if env is None else env)
    if data is not None and not Path(data).expanduser().is_dir():
        raise FovealError(f"data is {str(data)!r}, which is no folder: name the one that holds DMC-GB's files")
    if not isinstance(env, (str, gymnasium.Env)) and not callable(env):
        raise FovealError(
            f"a {type(env).__module__}.{type(env).__qualname__} is no environment: give an id, a gymnasium.Env, or a "
            "callable that makes one"
        )
    name = env if isinstance(env, str) else _name(env)
    if own is not None:
        return Place(env, own, data, name)
    if isinstance(env, str) and _ours(env):
        return Place(env, {"frame_stack": 1, "image_size": _size(adapter.observation_space)}, data, name)
    return Place(env, None, data, name)


def _own_world(adapter: Adapter, env: Any) -> Any:
    """What makes a world of the policy's own, or a game for anybody's, as it is usually seen; None of all others."""
    made = adapter.world(env)
    if made is None and isinstance(env, str) and games.is_atari(env):
        name = games.env_id(env)
        return GameMaker(name, games.protocol_rules(name))
    return made


def mask_of(env: gymnasium.Env[Any, Any], cameras: Sequence[Camera]) -> Mask | None:
    """Which pixels of the newest frame are the task's own, where the environment tells it for these cameras."""
    if not env.has_wrapper_attr("agent_mask"):
        return None
    try:
        mask: Mask = np.asarray(env.get_wrapper_attr("agent_mask")(), bool)
    except FovealError:  # one of foveal's that can't
        return None
    return mask if all(mask.shape == (camera.height, camera.width) for camera in cameras) else None


def _ours(env: str) -> bool:
    spec = gymnasium.registry.get(env)
    if spec is not None and spec.entry_point == f"{make_registered.__module__}:{make_registered.__name__}":
        return True
    return env.partition("/")[0] in FAMILIES.names()


def _registered(env: str) -> gymnasium.Env[Any, Any]:
    try:
        return gymnasium.make(env, disable_env_checker=True)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        if env in gymnasium.registry:
            raise FovealError(f"gymnasium can't make {env!r}: {error}") from error
        known = [*known_ids(), *gymnasium.registry]
        raise FovealError(f"unknown environment {env!r}: {nearest(env, known)}") from error


def _single(env: Any) -> Any:
    """Of a vector environment of Stable-Baselines3's the first one: stacks are made anew by what the policy wants."""
    while hasattr(env, "venv"):
        env = env.venv
    inner = getattr(env, "envs", None)
    return inner[0] if isinstance(inner, list) and inner else env


def _name(env: Any) -> str:
    spec = env.spec if isinstance(env, gymnasium.Env) else None
    if spec is not None:
        return str(spec.id)
    if not isinstance(env, gymnasium.Env):
        return str(getattr(env, "__name__", "an environment"))
    return type(env.unwrapped).__name__


def _size(space: spaces.Space[Any] | None) -> int:
    cameras = () if space is None else cameras_of(space)
    return cameras[0].height if cameras else USUAL_SIZE
