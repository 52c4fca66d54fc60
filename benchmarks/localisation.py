"""Where is the cube? The task that stands in for a skill when augmentations are compared: small and quick.

As in Pashevich et al. (2019): a network learns from perfect frames where the first thing of the task is, and is asked
on frames of another sensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.networks.film_resnet import FilmResNet
from foveal.networks.precision import convolution_dtype
from foveal.skills.augmentation import Augmentation, AugmentationPolicy
from foveal.skills.config import clone_config
from foveal.skills.minari import Episode
from foveal.skills.noise import DepthNoise
from foveal.skills.policy import depth_input

NEAR, FAR = 0.5, 2.0
_CENTIMETRES = 100.0


@dataclass(frozen=True)
class Scenes:
    """N single frames, and the answer.

    Attributes:
        depth: (N, H, W) ``uint16`` millimetres.
        places: (N, 2) x and y of the first thing, metres.
    """

    depth: NDArray[np.uint16]
    places: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.depth)

    def noisy(self, noise: DepthNoise, seed: int) -> Scenes:
        """As another sensor sees them."""
        random = np.random.default_rng([5, seed])
        return Scenes(np.stack([noise.apply(frame, random) for frame in self.depth]), self.places)


def scenes(episodes: Sequence[Episode], each: int) -> Scenes:
    """``each`` frames of every episode, evenly spread.

    Raises:
        FovealError: the demonstrations do not tell where things are.
    """
    depth, places = [], []
    for episode in episodes:
        if episode.things is None:
            raise FovealError("these demonstrations do not tell where things are (infos/things), so none can be sought")
        chosen = np.linspace(0, len(episode.depth) - 1, each).round().astype(int)
        depth.append(episode.depth[chosen])
        places.append(episode.things[chosen, 0, :2])
    return Scenes(np.concatenate(depth), np.concatenate(places))


class Locator(nn.Module):
    """A narrow network of the skills' kind: a depth frame in, x and y out, decimetres from the data's mean.

    It sees depth and its relief, and looks for places, as the ``compact`` skills do.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.network = FilmResNet(
            (1, size, size),
            conditions=1,
            outputs=2,
            stem=16,
            widths=(16, 32),
            blocks=(1, 1),
            strides=(1, 2),
            pooling="points",
            relief=clone_config("compact").relief_height,
            dtype=convolution_dtype("auto", "cpu"),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, 2)."""
        found: Tensor = self.network(image, image.new_ones(len(image), 1))
        return found


def train_locator(
    training: Scenes, policy: AugmentationPolicy, *, updates: int, batch: int = 64, seed: int = 0
) -> Locator:
    """A locator that learned under an augmentation policy."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Locator(training.depth.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    augment = Augmentation(policy)
    for _ in range(updates):
        chosen = torch.randint(len(training), (batch,), generator=generator).numpy()
        image = augment(depth_input(training.depth[chosen], NEAR, FAR)[:, None], generator)
        loss = (network(image) - _answers(training, chosen)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def error(network: Locator, asked: Scenes) -> float:
    """Mean distance between answer and truth, centimetres."""
    everything = np.arange(len(asked))
    with torch.inference_mode():
        found = torch.cat(
            [network(depth_input(asked.depth[part], NEAR, FAR)[:, None]) for part in np.array_split(everything, 8)]
        )
        missed = (found - _answers(asked, everything)).norm(dim=1) / 10.0  # metres
    return float(missed.mean()) * _CENTIMETRES


_MIDDLE = np.array([0.49, 0.0], np.float32)  # metres: of where things are put


def _answers(asked: Scenes, chosen: NDArray[np.int64]) -> Tensor:
    """(B, 2) decimetres."""
    return torch.from_numpy(10.0 * (asked.places[chosen] - _MIDDLE))
