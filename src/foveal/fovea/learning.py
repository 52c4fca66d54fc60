"""Learning to give frames back: changed by corruptions, to these frames as they were."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.corruptions import CorruptionOptions
from foveal.fovea.config import FoveaConfig
from foveal.fovea.frames import FrameSet
from foveal.fovea.mixture import Mixture
from foveal.fovea.network import LEAST_CHANGE, LEVELS, FoveaNetwork, Output
from foveal.networks.optimization import adam, half_cosine, minimize


class Learning:
    """The training of a network, step by step.

    Args:
        network: what learns; in evaluation mode between steps.
        config: how.
        image_size: side of its frames.
        seed: of everything random.

    Attributes:
        steps: taken so far.
        mixture: what frames suffer.
        generator: of all draws.
        optimizer: of the network.
    """

    def __init__(self, network: FoveaNetwork, config: FoveaConfig, image_size: int, seed: int) -> None:
        self.network, self.config, self.steps = network, config, 0
        options = CorruptionOptions(image_size, config.pictures, config.picture_count, seed)
        self.mixture = Mixture(config.corruptions, options, config.clean, config.twice)
        self.generator = torch.Generator().manual_seed(seed)
        self._parameters = list(network.parameters())
        self.optimizer = adam(self._parameters, config.learning_rate)

    def step(self, frames: FrameSet) -> dict[str, Tensor]:
        """One step on some of the frames; its losses by name."""
        config = self.config
        self.optimizer.param_groups[0]["lr"] = half_cosine(config.learning_rate, self.steps, config.steps)
        chosen = torch.randint(len(frames), (config.batch_size,), generator=self.generator)
        pixels, masks = frames.pixels[chosen], frames.masks[chosen]
        shown = self.mixture(pixels, masks, self.generator).float() / LEVELS
        loss, parts = losses(self.network.train()(shown), shown, pixels.float() / LEVELS, masks, config)
        minimize(loss, self.optimizer, self._parameters)
        self.network.eval()
        self.steps += 1
        return parts


def losses(
    output: Output, shown: Tensor, pixels: Tensor, masks: Tensor, config: FoveaConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the losses, and each of them.

    Args:
        output: of the network for changed frames.
        shown: (B, 3, H, W) in [0, 1], these changed frames.
        pixels: (B, 3, H, W) in [0, 1], the frames as they were.
        masks: (B, H, W) bool.
        config: the weights.
    """
    task = masks[:, None].float()  # (B, 1, H, W)
    error, before = ((image - pixels).abs().mean(1, keepdim=True) for image in (output.restored, shown))  # (B, 1, H, W)
    on_task = (error * task).sum() / task.sum().clamp_min(1.0)
    mask = F.binary_cross_entropy_with_logits(output.mask, task)
    change = (output.change - before.mean((1, 2, 3)).clamp_min(LEAST_CHANGE).log()).square().mean()
    parts = {"error": error.mean(), "error_on_task": on_task, "mask": mask, "change": change}
    total = parts["error"] + config.task_weight * on_task + config.mask_weight * mask + config.change_weight * change
    return total, {name: value.detach() for name, value in parts.items()}
