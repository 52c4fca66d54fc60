"""Encoders by name: chosen in the configuration, with settings of their own, saved and loaded with the agent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from torch import Tensor, nn

import foveal
from foveal.config.bounds import at_least
from foveal.config.tree import config_from_dict, configure
from foveal.errors import FovealError
from foveal.networks.encoders import ENCODERS, ConvEncoder, Encoder, EncoderChoice, EncoderConfig, build_encoder
from small_env import SavedCounter, small_agent


@dataclass(frozen=True)
class PooledConfig(EncoderConfig):
    """Settings of ``Pooled``: one more than every encoder has."""

    cells: Annotated[int, at_least(1)] = 4


class Pooled(Encoder):
    """Means over a grid of cells, through one linear layer."""

    Config = PooledConfig

    def __init__(self, image_shape: tuple[int, int, int], config: PooledConfig, dtype: torch.dtype) -> None:
        super().__init__(image_shape, config, dtype)
        self.output_shape = (config.filters, config.cells, config.cells)
        self.output_size = config.filters * config.cells**2
        self.pool = nn.AdaptiveAvgPool2d(config.cells)
        self.mix = nn.Conv2d(image_shape[0], config.filters, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.mix(self.pool(image.float()) / 255.0).flatten(1)


@pytest.fixture(autouse=True)
def _pooled() -> Iterator[None]:
    ENCODERS.names()
    ENCODERS.register("pooled")(Pooled)
    yield
    del ENCODERS._entries["pooled"]


def pooled(**settings: Any) -> foveal.Agent:
    sac = {"encoder": {"name": "pooled", **settings}}
    return small_agent(method="sgqn", sac=sac, training={"precision": "float32"})


@pytest.mark.slow
def test_an_encoder_is_chosen_by_name_and_brings_settings_of_its_own(tmp_path: Path) -> None:
    agent = pooled(cells=3)
    learner: Any = agent.learner
    assert isinstance(learner.convolutions, Pooled) and isinstance(learner.target_convolutions, Pooled)
    assert agent.learner.feature_size == 8 * 3 * 3  # the debug preset's filters: what both encoders have is kept
    agent.learn(14, progress=False, evaluate_every=0)
    loaded = foveal.load(agent.save(tmp_path / "agent"), env=SavedCounter)
    assert loaded.config == agent.config
    assert loaded.config.learner_config.encoder == PooledConfig(  # type: ignore[union-attr]
        name="pooled", cells=3, strides=(2, 2, 1), filters=8, projection=8
    )
    for name, value in agent.learner.state_dict().items():
        assert torch.equal(loaded.learner.state_dict()[name], value)  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.bfloat16)])
@pytest.mark.parametrize("name", ["nature", "sparse-fls"])
def test_networks_for_atari_serve_value_learners_too(name: str, precision: str) -> None:
    agent = small_agent(method="sgqn", encoder=name, training={"precision": precision})
    assert agent.config.learner_config.encoder == EncoderChoice(name, projection=8)  # the debug preset's
    before = agent.learner.convolutions.linear.weight.clone()
    agent.learn(14, progress=False, evaluate_every=0)
    assert agent.has_attention == (name != "nature") and not agent.learner.convolutions.linear.weight.equal(before)


def test_settings_of_another_encoder_are_refused() -> None:
    with pytest.raises(FovealError, match=r"unknown setting sac\.encoder\.cells"):
        small_agent(sac={"encoder": {"cells": 3}})
    with pytest.raises(FovealError, match="unknown encoder 'poled': did you mean 'pooled'"):
        pooled(name="poled")


def test_a_name_alone_gives_the_encoders_own_defaults() -> None:
    """As from the command line, which knows the settings of the preset's encoder."""
    encoder = build_encoder((9, 36, 36), EncoderConfig(name="pooled", filters=5), torch.float32)
    assert isinstance(encoder, Pooled) and encoder.output_shape == (5, 4, 4)


def test_configurations_from_before_encoders_had_names_are_of_the_convolutions() -> None:
    config = configure("dmc/walker-walk", "sgqn", "sac")
    state = json.loads(json.dumps(config.as_dict()))
    assert state["sac"]["encoder"].pop("name") == "conv"
    assert config_from_dict(state) == config
    assert isinstance(build_encoder((9, 84, 84), config.learner_config.encoder, torch.float32), ConvEncoder)


@pytest.mark.parametrize("name", ["conv"])
def test_every_encoder_gives_float32_features_of_the_size_that_it_says(name: str) -> None:
    encoder = build_encoder((9, 40, 40), EncoderConfig(name=name, strides=(2, 1)), torch.float32)
    features = encoder(torch.full((2, 9, 40, 40), 128.0))
    assert features.shape == (2, encoder.output_size) and features.dtype == torch.float32
    assert encoder.output_size == torch.Size(encoder.output_shape).numel()
