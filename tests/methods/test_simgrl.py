"""SimGRL: SVEA on an encoder that sees each frame by itself, under pictures that move."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from foveal.augmentations.shifted_overlay import ShiftedOverlay
from foveal.config.tree import configure
from foveal.learners import LEARNERS, ValueLearner
from foveal.methods.base import Method
from foveal.methods.simgrl import SimGRL, SimGRLConfig
from foveal.methods.svea import SVEA
from foveal.networks.encoders.frame_stack import FrameStackConfig, FrameStackEncoder
from small_env import small_agent


def test_its_losses_are_sveas() -> None:
    hooks = ("views", "prepare", "observe", "critic_loss", "policy_views", "actor_loss", "auxiliary", "due")
    assert all(getattr(SimGRL, hook) is getattr(SVEA, hook) for hook in hooks)
    assert set(vars(SimGRL)) & set(vars(Method)) <= {"__module__", "__doc__", "run_presets"}
    assert SimGRLConfig() == SimGRLConfig(
        clean_weight=0.5, augmented_weight=0.5, augmentation="shifted-overlay", shift=4
    )


@pytest.mark.slow
def test_it_brings_its_encoder_and_its_augmentation() -> None:
    agent = small_agent(method="simgrl")
    learner: Any = agent.learner
    assert isinstance(learner.convolutions, FrameStackEncoder) and isinstance(
        learner.target_convolutions, FrameStackEncoder
    )
    assert isinstance(agent.method.augment.build(), ShiftedOverlay)  # type: ignore[union-attr]
    agent.method.close()


@pytest.mark.parametrize("learner", [n for n in LEARNERS.names() if issubclass(LEARNERS.get(n), ValueLearner)])
@pytest.mark.parametrize("preset", ["paper", "compact", "debug"])
def test_every_preset_of_every_learner_has_the_encoder(preset: str, learner: str) -> None:
    encoder = configure("dmc/walker-walk", "simgrl", learner, preset).learner_config.encoder
    assert isinstance(encoder, FrameStackConfig) and encoder.frame_layers < len(encoder.strides)
    if preset == "paper":
        assert (encoder.frame_layers, encoder.frame_filters) == (3, 16)


def test_another_encoder_may_be_chosen() -> None:
    config = configure("dmc/walker-walk", "simgrl", "sac", encoder="conv")
    assert config.learner_config.encoder.name == "conv"
    config = configure("dmc/walker-walk", "simgrl", "sac", overrides={"sac": {"encoder": {"frame_filters": 8}}})
    assert (config.learner_config.encoder.name, config.learner_config.encoder.frame_filters) == ("frame-stack", 8)


@pytest.mark.slow
def test_frames_are_covered_by_windows_that_move() -> None:
    """Three equal frames: what is left of an overlaid one, less the scene, differs from frame to frame."""
    agent = small_agent(method="simgrl", training={"precision": "float32", "overlay_count": 8})
    agent.method.get_ready()
    still = torch.full((6, 9, 36, 36), 100.0)
    augment: Any = agent.method.augment
    covers = (augment(still, agent.generator) - 50.0).unflatten(1, (3, 3))
    assert not torch.equal(covers[:, 0], covers[:, 1]) and not torch.equal(covers[:, 1], covers[:, 2])
    agent.method.close()
