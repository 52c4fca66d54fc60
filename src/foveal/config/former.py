"""Configurations as earlier versions wrote them, in today's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foveal.envs import games
from foveal.learners.ppo import PPOConfig

FORMER_FRAME_LIMIT = 108_000
"""Of every Atari game, before there were protocols."""


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


def as_trained(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A whole configuration of a game from before there were protocols, with the limit of frames that it had then."""
    environment = settings.get("environment", {})
    if not games.is_atari(str(settings.get("env"))) or "protocol" in environment:
        return dict(settings)
    return {**settings, "environment": {"frame_limit": FORMER_FRAME_LIMIT, **environment}}
