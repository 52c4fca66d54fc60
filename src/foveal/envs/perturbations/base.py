"""The interface of perturbations, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import gymnasium

from foveal.envs.dmc import ControlSuiteEnv
from foveal.errors import FovealError
from foveal.registry import Registry


class Perturbation(ABC):
    """A visual change that ``foveal.envs.make(..., perturbation=name)`` applies to single frames.

    Args:
        data: folder of files that the user gave, or None.

    Attributes:
        source: ``"dmc-gb"`` for the benchmark's own files, ``"generated"`` for imitations of them, else None.
        items: how many colours or videos there are to choose from, or None.
        benchmark_items: how many the benchmark has, or None.
        complete: whether there are at least as many as in the benchmark, or None.
        usual_for: families of environments, such as ``"dmc"``, that are evaluated under it where no condition is named.
    """

    source: str | None = None
    items: int | None = None
    benchmark_items: int | None = None
    complete: bool | None = None
    usual_for: ClassVar[tuple[str, ...]] = ()

    def __init__(self, data: Path | None = None) -> None:
        self.data = data

    @abstractmethod
    def apply(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        """``env`` with this change, whose random draws come from the seed given to ``reset``.

        Raises:
            FovealError: the change is impossible for this environment.
        """


PERTURBATIONS: Registry[type[Perturbation]] = Registry("perturbation", "foveal.envs.perturbations")


def usual_perturbations(env: str) -> tuple[str, ...]:
    """Under which an environment is evaluated where none is named, by its id; none of a user's own."""
    family = env.partition("/")[0]
    return tuple(name for name in PERTURBATIONS.names() if family in PERTURBATIONS.get(name).usual_for)


def control_suite(env: gymnasium.Env[Any, Any], what: str) -> ControlSuiteEnv:
    """The Control Suite's environment inside ``env``.

    Raises:
        FovealError: there is none, so that ``what`` can't be changed.
    """
    base = env.unwrapped
    if not isinstance(base, ControlSuiteEnv):
        raise FovealError(
            f"this perturbation changes {what} of dmc/ environments, and {type(base).__name__} is none; "
            "write a perturbation of your own for it (foveal.envs.perturbations says how)"
        )
    return base
