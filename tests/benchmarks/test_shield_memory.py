"""The ablation's shield that remembers: what it keeps, when it forgets, and that clips teach it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from shield_memory import CLIP, Clips, RememberingNetwork, RememberingShield

from foveal.corruptions import CORRUPTIONS
from foveal.fovea.config import FoveaConfig
from foveal.fovea.frames import FrameSet

CONFIG = replace(FoveaConfig(), filters=4, depth=1, batch_size=8, steps=20, picture_count=8, corruptions=("overlay",))


class Standing:
    """A policy that keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, None]:
        self.given.append(observation.copy())
        return np.zeros(1), None


def frames(count: int = 24, size: int = 16) -> FrameSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    return FrameSet(pixels, pixels[:, 0] > 128, torch.arange(count) // 12)


@pytest.fixture
def shield() -> RememberingShield:
    torch.manual_seed(0)
    return RememberingShield(RememberingNetwork(4, 1), 16)


def test_what_came_before_changes_what_it_gives(shield: RememberingShield) -> None:
    first, second = frames().pixels[:2].numpy()[:, None]
    alone = shield.restore(second).masks
    shield.network.memory = None
    shield.restore(first)
    assert not np.array_equal(shield.restore(second).masks, alone)


def test_an_episode_begins_without_memory(shield: RememberingShield) -> None:
    policy = Standing()
    behind = shield.wrap(policy)
    a, b = frames().pixels[:2].numpy()
    for observation in (np.concatenate([a, a, a]), np.concatenate([a, a, b])):
        behind.predict(observation)
    for frame in frames().pixels[2:24].numpy():  # so many that the first is not remembered as a frame that is known
        behind.predict(np.concatenate([a, b, frame]))
    behind.see._restored.forget()
    behind.predict(np.concatenate([a, a, a]))
    assert np.array_equal(policy.given[-1], policy.given[0])


def test_clips_lie_within_episodes_and_suffer_one_corruption_throughout() -> None:
    torch.manual_seed(0)
    clips = Clips(RememberingNetwork(4, 1), CONFIG, frames(), seed=0)
    assert clips.starts.tolist() == [*range(12 - CLIP + 1), *range(12, 24 - CLIP + 1)]
    clips.mixture.clean = 0.0
    black = torch.zeros(CLIP, 4, 3, 16, 16, dtype=torch.uint8)
    changed = clips._changed(black, torch.ones(CLIP, 4, 16, 16, dtype=torch.bool)).float()
    assert "overlay" in CORRUPTIONS.names() and (changed.amax((2, 3, 4)) > 0).all()
    assert (changed[1:] - changed[:-1]).abs().mean() < 0.2 * changed.mean()  # the same picture, drifting at most


def test_it_learns() -> None:
    torch.manual_seed(0)
    network = RememberingNetwork(4, 1)
    clips = Clips(network, CONFIG, frames(), seed=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    clips.step(0)
    after = network.state_dict()
    assert not torch.equal(after["unit.gates.weight"], before["unit.gates.weight"])
    assert not torch.equal(after["draw.weight"], before["draw.weight"])
