"""Gymnasium's Car Racing: ``box2d/car-racing`` with a wheel and pedals, ``box2d/car-racing-discrete`` with buttons."""

from __future__ import annotations

import os
import warnings
from typing import Any

import gymnasium

from foveal.envs.family import FAMILIES, EnvOptions, Family
from foveal.errors import require

EXTRA = 'box2d/ environments need the extra that brings them: pip install "foveal[box2d]"'
NAMES = {"car-racing": False, "car-racing-discrete": True}
"""What may follow the slash, and whether actions are discrete."""
ACTION_REPEAT = 4
"""Simulator steps of 20 ms per agent step, so that an episode has 250."""


@FAMILIES.register("box2d")
class Box2D(Family):
    """Gymnasium's Car Racing, a track seen from above, with a wheel and pedals or with buttons; an extra."""

    def names(self) -> list[str]:
        return list(NAMES)

    def discrete(self, name: str) -> bool:
        return NAMES[name]

    def build(self, name: str, options: EnvOptions) -> gymnasium.Env[Any, Any]:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        require("pygame", EXTRA)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as in ``car_racing``
            require("Box2D", EXTRA)
        from foveal.envs.box2d.car_racing import CarRacingEnv

        return CarRacingEnv(discrete=NAMES[name], action_repeat=options.action_repeat or ACTION_REPEAT)
