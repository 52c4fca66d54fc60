"""Families of environments: what stands before the slash of an environment's id."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import gymnasium

from foveal.registry import Registry

QUALITIES = ("exact", "fast", "draft")


@dataclass(frozen=True)
class EnvOptions:
    """What a family is asked for; a family ignores what means nothing to it.

    Attributes:
        image_size: height and width of an observation, in pixels.
        action_repeat: simulator steps per agent step, or None for the family's own default.
        quality: one of ``"exact"``, ``"fast"``, ``"draft"``: how much care rendering takes.
        camera: index of the camera.
    """

    image_size: int = 84
    action_repeat: int | None = None
    quality: str = "exact"
    camera: int = 0


class Family(ABC):
    """Environments whose ids share a prefix; register a subclass with ``@FAMILIES.register("prefix")``.

    ``build`` returns any Gymnasium environment with an RGB image among its observations; ``foveal.envs.make`` resizes
    it, repeats actions and stacks frames. A family that repeats actions by itself, so as to render only once,
    gives its environments an integer attribute ``action_repeat``; one whose episodes can be saved gives them
    ``get_state() -> dict`` and ``set_state(state)``; one that can tell the agent's own pixels, ``agent_mask()``.
    """

    @abstractmethod
    def names(self) -> list[str]:
        """What may follow the slash. Cheap: called for error messages and when gymnasium ids are registered."""

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
