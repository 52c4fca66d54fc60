"""SimGRL: a simple framework for generalization in visual RL under dynamic scenes (Song et al., NeurIPS 2024).

Its authors trace two failures of SVEA under videos to what it learns from. An encoder that stacks frames as channels
puts its attention on the newest frame alone, so SimGRL encodes each frame by itself before features are stacked (the
encoder "frame-stack"). And a picture that lies still over all frames teaches nothing about backgrounds that move, so
SimGRL lays pictures over that move from frame to frame (the augmentation "shifted-overlay"). The losses are SVEA's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foveal.augmentations import AUGMENTATIONS
from foveal.config.bounds import registered
from foveal.methods.base import METHODS
from foveal.methods.svea import SVEA, SVEAConfig


@dataclass(frozen=True)
class SimGRLConfig(SVEAConfig, section="simgrl"):
    """Hyperparameters of SimGRL, which are SVEA's; the defaults are the published code's."""

    augmentation: Annotated[str, registered(AUGMENTATIONS)] = "shifted-overlay"


@METHODS.register("simgrl")
class SimGRL(SVEA):
    """SVEA's losses on pictures that move over the scene, and an encoder that sees each frame by itself."""

    Config = SimGRLConfig
    run_presets = {
        "*": {"encoder": {"name": "frame-stack"}},
        "compact": {"encoder": {"frame_layers": 1}},
        "debug": {"encoder": {"frame_layers": 1, "frame_filters": 4}},
    }
