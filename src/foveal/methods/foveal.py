"""foveal: a policy that is trained behind its fovea.

Before the first step a small network looks around: from frames of the environment as it looks in training, and from
corruptions alone, it learns to give changed frames back and to tell the task's own pixels (``foveal.fovea``). It never
changes again. Each frame passes through it once, on its way from the environment to the policy and to replay, black
outside the task:

1. learn to see, before anything else: ``look_around``;
2. remember the foreground of what comes in, and act on it: ``perceive``;
3. sample (s, a, r, s') and shift both at random: DrQ's ``prepare``. An update costs what DrQ's does.

Joined to others, such as ``foveal+svea`` or ``foveal+sgqn``, it stands before all that they do.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor

from foveal.config.bounds import one_of
from foveal.errors import FovealError
from foveal.fovea.config import FoveaConfig
from foveal.fovea.learning import Learning
from foveal.fovea.network import FoveaNetwork
from foveal.fovea.restoring import FOREGROUND, OUTPUTS, Restoring
from foveal.methods.base import METHODS, Look, Setup
from foveal.methods.drq import DrQ, DrQConfig
from foveal.networks.frames import COLOURS
from foveal.progress import watched


@dataclass(frozen=True)
class FovealConfig(DrQConfig, section="foveal"):
    """Settings of a policy's fovea, beside DrQ's.

    Attributes:
        fovea: the network and its training.
        output: what passes: the "foreground" of the restored frame, all of the "restored" one, or the frame as it came
            but "masked".
    """

    fovea: FoveaConfig = field(default_factory=FoveaConfig)
    output: Annotated[str, one_of(*OUTPUTS)] = FOREGROUND


@METHODS.register("foveal")
class Foveal(DrQ):
    """DrQ that sees everything through a network which learnt, before anything else, to give changed frames back."""

    Config = FovealConfig
    config: FovealConfig
    learned: Tensor
    privileged = True
    presets = {
        **DrQ.presets,
        "debug": {"fovea": {"filters": 4, "depth": 1, "frames": 60, "steps": 4, "batch_size": 8, "picture_count": 16}},
    }

    def __init__(self, config: FovealConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        if setup.frame_channels != COLOURS:
            raise FovealError("the method 'foveal' looks at colours, and these frames are grey: choose another one")
        network = FoveaNetwork(config.fovea.filters, config.fovea.depth)
        self.fovea = Restoring(network, config.output).eval().requires_grad_(False)
        self.register_buffer("learned", torch.zeros((), dtype=torch.bool))

    def look_around(self, look: Look, *, visible: bool) -> None:
        """Learn to see, from frames with the simulator's masks."""
        if self.learned:
            return
        config, device = self.config.fovea, self.learned.device
        frames = look(config.frames, with_masks=True)
        network = deepcopy(self.fovea.network).cpu().requires_grad_(True)
        seed = int(torch.randint(2**31, (), generator=self.generator, device=device))
        learning = Learning(network, config, frames.pixels.shape[-1], seed)
        for _ in watched(range(config.steps), config.steps, "fovea", visible=visible, unit="step"):
            learning.step(frames)
        self.fovea.network.load_state_dict(network.state_dict())
        self.learned.fill_(True)

    def perceive(self, image: Tensor) -> Tensor:
        """Every frame of (B, 3 * F, H, W) through the fovea."""
        frames = image.reshape(-1, COLOURS, *image.shape[2:])
        return self.fovea.frames(frames).reshape(image.shape)

    def maps(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """How likely each pixel of the newest frame is the task's own."""
        return {"fovea": self._newest}

    @torch.no_grad()
    def _newest(self, image: Tensor) -> Tensor:
        return self.fovea.masks(image[:, -COLOURS:])
