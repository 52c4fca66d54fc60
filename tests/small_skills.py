"""Small demonstrations and skills, for several test files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foveal.skills.config import clone_config
from foveal.skills.minari import Episode
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.view import View


def episode(steps=6, skill=(0, 0, 0, 1, 1, 1), **changes) -> Episode:
    advice = np.zeros((steps, 4), np.float32)
    advice[:, 0] = np.arange(steps)
    advice[:, 3] = np.where(np.arange(steps) >= 2, 1.0, -1.0)
    made = Episode(
        depth=np.arange(1, steps + 2, dtype=np.uint16)[:, None, None] * np.ones((1, 4, 4), np.uint16),
        vector=np.zeros((steps + 1, 14), np.float32),
        actions=np.clip(advice, -1, 1),
        rewards=np.zeros(steps),
        terminated=False,
        truncated=True,
        skill=np.array(skill, np.int64),
        advice=advice,
        things=None,
        seed=5,
    )
    return replace(made, **changes)


def small_policy(seed: int = 0, precision: str = "float32") -> SkillPolicy:
    config = clone_config("debug", {"precision": precision})
    return SkillPolicy(SkillSet("pick", ("a", "b", "c"), View(32, 32)), config, seed)
