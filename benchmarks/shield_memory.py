"""A shield that remembers: the same network with a convolutional GRU at its coarsest level, learning from clips.

Of the ablation "recurrent or per frame": what is worth keeping of the frames before? It is trained as the shield is, on
as many frames, under the same corruptions, each of which goes on through a clip.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.corruptions import SEVERITIES, CorruptionOptions, corrupted
from foveal.fovea.config import FoveaConfig
from foveal.fovea.frames import FrameSet
from foveal.fovea.learning import losses
from foveal.fovea.mixture import LATEST, Mixture
from foveal.fovea.network import LEVELS, FoveaNetwork, Output
from foveal.fovea.restoring import Restoring
from foveal.networks.optimization import adam, half_cosine, minimize
from foveal.shield.shielded import Shielded
from foveal.shield.wrapping import Restored, Through

CLIP = 4
"""Frames in a clip; a batch has as many fewer clips, so that a step sees as many frames."""


class ConvGRU(nn.Module):
    """A gated recurrent unit whose products are convolutions (Ballas et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)
        self.candidate = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, seen: Tensor, memory: Tensor) -> Tensor:
        """(B, C, H, W) each -> the new memory."""
        update, reset = torch.sigmoid(self.gates(torch.cat([seen, memory], 1))).chunk(2, 1)
        candidate = torch.tanh(self.candidate(torch.cat([seen, reset * memory], 1)))
        return torch.lerp(memory, candidate, update)


class RememberingNetwork(FoveaNetwork):
    """The fovea's network; what it remembers is added to its coarsest features.

    Attributes:
        memory: (B, C, h, w), None before an episode's first frame.
    """

    def __init__(self, filters: int, depth: int) -> None:
        super().__init__(filters, depth)
        self.unit = ConvGRU(filters * 2**depth)
        self.memory: Tensor | None = None
        coarsest: Any = self.down[-1]
        coarsest.register_forward_hook(self._remember)

    def _remember(self, _: nn.Module, __: Any, features: Tensor) -> Tensor:
        before = torch.zeros_like(features) if self.memory is None else self.memory
        self.memory = self.unit(features, before)
        return features + self.memory


class Clips:
    """Training on clips of consecutive frames.

    Args:
        network: what learns.
        config: how.
        frames: of episodes, in order.
        seed: of everything random.
    """

    def __init__(self, network: RememberingNetwork, config: FoveaConfig, frames: FrameSet, seed: int) -> None:
        self.network, self.config, self.frames = network, config, frames
        options = CorruptionOptions(frames.pixels.shape[-1], config.pictures, config.picture_count, seed)
        self.mixture = Mixture(config.corruptions, options, config.clean, config.twice)
        self.generator = torch.Generator().manual_seed(seed)
        self.parameters = list(network.parameters())
        self.optimizer = adam(self.parameters, config.learning_rate)
        whole = frames.episodes[: -CLIP + 1] == frames.episodes[CLIP - 1 :]
        self.starts = whole.nonzero().squeeze(1)

    def step(self, number: int) -> None:
        """One step on a batch of clips."""
        config = self.config
        self.optimizer.param_groups[0]["lr"] = half_cosine(config.learning_rate, number, config.steps)
        count = config.batch_size // CLIP
        starts = self.starts[torch.randint(len(self.starts), (count,), generator=self.generator)]
        pixels, masks = (
            torch.stack([part[starts + t] for t in range(CLIP)]) for part in (self.frames.pixels, self.frames.masks)
        )  # (T, B, ...)
        shown = self._changed(pixels, masks).float() / LEVELS
        self.network.train().memory = None
        total = torch.zeros(())
        for t in range(CLIP):
            output: Output = self.network(shown[t])
            total = total + losses(output, shown[t], pixels[t].float() / LEVELS, masks[t], config)[0] / CLIP
        minimize(total, self.optimizer, self.parameters)

    def _changed(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """What ``Mixture`` does to frames, going on through each clip; (T, B, 3, H, W) ``uint8``."""
        changed, generator = pixels.clone(), self.generator
        suffered = self.mixture._suffered(pixels.shape[1], generator)
        for number, corruption in enumerate(self.mixture.corruptions):
            those = suffered[:, number].nonzero().squeeze(1)
            if not len(those):
                continue
            severity = torch.randint(1, len(SEVERITIES) + 1, (len(those),), generator=generator)
            since = torch.randint(LATEST, (len(those),), generator=generator)
            drawn = corruption.draw(len(those), generator)
            for t in range(CLIP):
                frames, own = changed[t, those], masks[t, those]
                changed[t, those] = corrupted(corruption, frames, severity, drawn, generator, since + t, own)
        return changed


class RememberingShield:
    """What ``foveal.Shield`` is to a policy, for one environment at a time; without a score of doubt.

    Args:
        network: trained.
        image_size: side of the frames.
    """

    limit = float("inf")

    def __init__(self, network: RememberingNetwork, image_size: int) -> None:
        self.network, self.image_size = network.eval(), image_size
        self.restoring = Restoring(network)

    @torch.no_grad()
    def restore(self, frames: NDArray[np.uint8]) -> Restored:
        """(B, 3, H, W), one after the other."""
        given, masks = [], []
        for frame in torch.as_tensor(frames):
            levels, _, mask = self.restoring._at_work(frame[None])
            given.append(levels[0])
            masks.append(mask[0, 0])
        doubt = np.zeros(len(frames), np.float32)
        return Restored(torch.stack(given).to(torch.uint8).numpy(), torch.stack(masks).numpy(), doubt)

    def wrap(self, policy: Any) -> Shielded:
        """A policy behind it."""
        shielded = Shielded(self, policy)
        shielded.see = ThroughMemory(self)
        return shielded


class ThroughMemory(Through):
    """An episode begins where all frames of a stack are the same."""

    shield: RememberingShield

    def __call__(self, observation: Any) -> Any:
        """See ``Through``."""
        frames = np.asarray(observation).reshape(-1, 3, self.shield.image_size, self.shield.image_size)
        if (frames == frames[0]).all():
            self.shield.network.memory = None
        return super().__call__(observation)


def trained_with_memory(frames: FrameSet, config: FoveaConfig, seed: int) -> tuple[RememberingShield, dict[str, Any]]:
    """A shield, and what is known of it."""
    torch.manual_seed(seed)
    network = RememberingNetwork(config.filters, config.depth)
    clips, start = Clips(network, config, frames, seed), time.monotonic()
    for number in range(config.steps):
        clips.step(number)
    parameters = sum(weight.numel() for weight in network.parameters())
    shield = RememberingShield(network, frames.pixels.shape[-1])
    error = F.l1_loss(_clean(shield, frames), frames.pixels[:200].float())
    about = {"seconds": round(time.monotonic() - start), "privileged": True, "parameters": parameters}
    return shield, {**about, "error_on_training_frames": float(error)}


def _clean(shield: RememberingShield, frames: FrameSet) -> Tensor:
    shield.network.memory = None
    return torch.from_numpy(shield.restore(frames.pixels[:200].numpy()).frames).float()
