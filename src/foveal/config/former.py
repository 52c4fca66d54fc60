"""Configurations as earlier versions wrote them, in today's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foveal.learners.ppo import PPOConfig


def in_todays_words(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of settings, those of Atari agents where they belong today.

    They had one name for the encoder and none for a method, games and lost lives were PPO's own, and where
    Stable-Baselines3 trained, value losses were called otherwise and had no factor 0.5.

    Args:
        settings: as in a checkpoint or in a file of settings, of any version.
    """
    settings = dict(settings)
    if "encoder" in settings and "method" not in settings:
        settings = {"learner": "ppo", "method": "none", **settings}
    if not isinstance(settings.get("ppo"), Mapping):
        return settings
    ppo = dict(settings["ppo"])
    for key, section in (("environments", "training"), ("life_loss", "environment")):
        if key in ppo:
            settings[section] = {**settings.get(section, {}), key: ppo.pop(key)}
    if "clip_values" in ppo and ppo.pop("clip_values"):
        ppo = {"value_loss": "clipped", **ppo}
    elif "clip_values" in settings["ppo"]:
        ppo = {"value_loss": "plain", **ppo, "value": 2 * ppo.get("value", PPOConfig.value)}
    return {**settings, "ppo": ppo}
