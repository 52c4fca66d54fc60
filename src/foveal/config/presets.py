"""Named starting points: the environment's and the loop's parts. Learners and methods hold theirs in ``presets``.

They are of settings that most have, and not of on-policy learners' loops; Atari games have some of their own.
What their own sources say of environment and loop is in their ``run_presets``, and goes over what is here.
``paper`` changes nothing: every default in the code is the published one. ``compact`` is for a CPU, ``debug``
finishes in seconds and learns nothing.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {},
    "compact": {
        "environment": {"image_size": 40, "quality": "draft"},
        "training": {
            "batch_size": 64,
            "discount": 0.98,
            "n_step": 3,
            "updates_per_step": 0.5,
            "replay_capacity": 100_000,
            "initial_random_steps": 500,
            "catch_up_updates": 0,
        },
    },
    "debug": {
        "environment": {"image_size": 36, "quality": "draft"},
        "training": {
            "batch_size": 8,
            "replay_capacity": 2000,
            "initial_random_steps": 40,
            "catch_up_updates": 4,
            "overlay_count": 64,
            "overlay_refresh": 0.0,
        },
    },
}
PRESETS_OF_GAMES: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {"encoder": {"name": "nature"}, "training": {"replay_capacity": 1_000_000}},
    "compact": {
        "encoder": {"strides": (5, 5), "first_kernel": 5, "kernel": 5, "projection": 128},
        "training": {
            "batch_size": 32,
            "n_step": 3,
            "updates_per_step": 0.25,
            "replay_capacity": 100_000,
            "initial_random_steps": 2000,
            "catch_up_updates": 0,
        },
    },
    "debug": {"encoder": {"strides": (8, 2), "first_kernel": 8}, "training": PRESETS["debug"]["training"]},
}
"""The same of Atari games for value learners: the protocol fixes the environment, and four grey frames of 84x84 pixels
ask for another encoder. ``paper`` has that of Mnih et al. (2015), and as many frames in memory."""
EVERY_PRESET = "*"
"""In ``run_presets``: what a learner or a method needs whatever the preset is."""
STEPS = {"paper": 500_000, "compact": 500_000, "debug": 200}
"""Agent steps of training where none are asked for: DMC-GB's, and of ``debug`` enough for everything to happen once."""
STEPS_OF_GAMES = {"paper": 50_000_000, "compact": 1_000_000, "debug": 128}
"""The same of Atari games, summed over all that are played side by side."""
REPLAY_STEPS_OF_GAMES = {"paper": 50_000_000, "compact": 400_000, "debug": 200}
"""The same for value learners; ``paper`` is Mnih et al.'s 200 million frames."""
