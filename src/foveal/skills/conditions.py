"""The conditions under which policies of the arm are evaluated: how scenes differ, and what the depth camera adds."""

from __future__ import annotations

from foveal.skills.noise import DepthNoise

CONDITIONS = {
    "training": ("training", None),
    "far_starts": ("far_starts", None),
    "moved_camera": ("moved_camera", None),
    "noisy_depth": ("training", DepthNoise()),
}
"""Name -> ranges of what changes between episodes, and what the depth camera adds."""
