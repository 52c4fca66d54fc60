"""Families of environments: those whose ids have the same prefix before the slash."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.registry import Registry

QUALITIES = ("exact", "fast", "draft")


@dataclass(frozen=True)
class EnvOptions:
    """Options of an environment; a family ignores those that mean nothing to it.

    Attributes:
        image_size: height and width of an observation, in pixels.
        action_repeat: simulator steps per agent step, or None for the family's own default.
        quality: of rendering: ``"exact"``, ``"fast"`` or ``"draft"``.
        camera: index of the camera.
        meshes: show a robot's own meshes instead of simple shapes.

    Raises:
        FovealError: a number is out of range, or the quality is unknown.
    """

    image_size: int = 84
    action_repeat: int | None = None
    quality: str = "exact"
    camera: int = 0
    meshes: bool = False

    def __post_init__(self) -> None:
        check_whole("image_size", self.image_size, least=1)
        check_whole("camera", self.camera, least=0)
        if self.action_repeat is not None:
            check_whole("action_repeat", self.action_repeat, least=1)
        check_quality(self.quality)


def check_whole(name: str, value: Any, *, least: int) -> None:
    """Raise a FovealError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise FovealError(f"{name} is {value!r}; it must be a whole number of at least {least}")


def checked_action(action: Any, shape: tuple[int, ...], env: str) -> NDArray[np.float64]:
    """An action, clipped to [-1, 1]; a FovealError if it has another shape than ``shape`` or is not finite."""
    command = np.asarray(action, np.float64)
    if command.shape != shape:
        raise FovealError(f"action of shape {command.shape} given to {env}, which takes {shape}")
    if not np.isfinite(command).all():
        raise FovealError(f"action {command} holds a value that is not finite")
    return np.clip(command, -1.0, 1.0)


def check_quality(quality: str) -> None:
    """Raise a FovealError unless ``quality`` is one of ``QUALITIES``."""
    if quality not in QUALITIES:
        raise FovealError(f"quality is {quality!r}; choose one of {', '.join(QUALITIES)}")


class Family(ABC):
    """Environments whose ids share a prefix; register a subclass with ``@FAMILIES.register("prefix")``.

    ``build`` returns any Gymnasium environment with an RGB image among its observations; ``foveal.envs.make`` resizes
    the image, repeats actions and stacks frames. Environments may have more: an integer ``action_repeat`` if they
    repeat actions themselves, so as to render only once; ``get_state() -> dict`` and ``set_state(state)`` if their
    episodes can be saved; ``agent_mask()`` if they know which pixels are the agent's.
    """

    @abstractmethod
    def names(self) -> list[str]:
        """What may follow the slash. Must be cheap: it is called whenever ``foveal.envs`` is imported."""

    def discrete(self, name: str) -> bool:
        """Whether the actions of ``prefix/name`` are discrete, without making it."""
        return False

    @abstractmethod
    def build(self, name: str, options: EnvOptions) -> gymnasium.Env[Any, Any]:
        """The environment ``prefix/name``; ``name`` is one of ``names()``."""


FAMILIES: Registry[type[Family]] = Registry("environment", "foveal.envs")


def known_ids() -> list[str]:
    """Every id that ``foveal.envs.make`` accepts beside Gymnasium's own, sorted."""
    return sorted(f"{prefix}/{name}" for prefix in FAMILIES.names() for name in FAMILIES.get(prefix)().names())


def gymnasium_id(known: str) -> str:
    """The name of one of ``known_ids()`` in Gymnasium's registry: ``foveal/dmc-walker-walk-v0``."""
    return f"foveal/{known.replace('/', '-')}-v0"
