"""A shield that was trained: frames and observations through it, before any policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal import checkpoint
from foveal.config.tree import changed
from foveal.errors import FovealError
from foveal.fovea.network import FoveaNetwork, folded
from foveal.fovea.restoring import Restoring
from foveal.shield.config import SIMULATOR, ShieldConfig
from foveal.shield.shielded import Shielded
from foveal.shield.wrapping import Restored, ShieldedObservations
from foveal.training.run_folder import stored

KIND = "foveal.shield"
SHIPPED = "shields"
"""The folder, within that of all that ships with foveal, where shields are."""


@dataclass
class Shield:
    """A network that gives frames back as they looked in training.

    Attributes:
        config: how it was built and trained.
        env_id: of the environment whose look it knows.
        image_size: side of the frames.
        seed: of its training.
        network: its weights.
        limit: the doubt above which a frame is not to be trusted: that of the worst tenth of frames under the
            corruptions of its training, or the largest of any frame as it looked there, of episodes kept back.
        about: how it was trained and what was measured then, JSON values.
        rendered_size: side of the environment's frames before they were averaged to ``image_size``; None where they
            were not, or where nobody knows.
    """

    config: ShieldConfig
    env_id: str
    image_size: int
    seed: int = 0
    network: FoveaNetwork = field(init=False)
    limit: float = float("inf")
    about: dict[str, Any] = field(default_factory=dict)
    rendered_size: int | None = None
    _made: tuple[int, Restoring] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = FoveaNetwork(self.config.filters, self.config.depth)
        self.network.eval()

    @property
    def privileged(self) -> bool:
        """Whether it was trained with a simulator's masks, which know more than a camera shows."""
        return self.config.masks == SIMULATOR

    @torch.no_grad()
    def restore(self, frames: NDArray[np.uint8] | Tensor) -> Restored:
        """Single frames as they looked in training.

        Args:
            frames: (B, 3, H, W) ``uint8``.

        Raises:
            FovealError: they have another size.
        """
        pixels = torch.as_tensor(frames)
        if pixels.dim() != 4 or tuple(pixels.shape[1:]) != (3, self.image_size, self.image_size):
            raise FovealError(
                f"this shield knows frames of 3 x {self.image_size} x {self.image_size}, not "
                f"{' x '.join(map(str, pixels.shape[1:]))}: train one for that size"
            )
        given, masks, doubt = self._restoring()(pixels)
        return Restored(given.to(torch.uint8).numpy(), masks.numpy(), doubt.numpy())

    def _restoring(self) -> Restoring:
        """``module``, made anew where the weights have changed since."""
        version = sum(tensor._version for tensor in self.network.state_dict(keep_vars=True).values())
        if self._made is None or self._made[0] != version:
            self._made = version, self.module()
        return self._made[1]

    def module(self) -> Restoring:
        """All of it as one network, with the weights as they are now."""
        return Restoring(folded(self.network), self.config.output)

    def wrap(self, policy: Any, cameras: tuple[str, ...] | None = None) -> Shielded:
        """A policy behind this shield: anything with ``predict``; see ``Shielded``."""
        return Shielded(self, policy, cameras)

    def wrap_env(self, env: gymnasium.Env[Any, Any], cameras: tuple[str, ...] | None = None) -> ShieldedObservations:
        """An environment behind this shield, for policies that are trained or run elsewhere; see there."""
        return ShieldedObservations(env, self, cameras)

    # --- state ----------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by name, and JSON: what ``checkpoint.save`` takes."""
        return {f"network/{name}": value for name, value in self.network.state_dict().items()}, {
            "config": self.config.as_dict(),
            "env": self.env_id,
            "image_size": self.image_size,
            "rendered_size": self.rendered_size,
            "seed": self.seed,
            "limit": self.limit if np.isfinite(self.limit) else None,
            "about": self.about,
        }

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Shield:
        """Undo of ``state``.

        Raises:
            FovealError: the weights are those of another network.
        """
        config = changed(ShieldConfig(), state["config"], "shield")
        limit = float("inf") if state["limit"] is None else state["limit"]
        own = state["env"], state["image_size"], state["seed"]
        shield = cls(config, *own, limit, dict(state["about"]), state.get("rendered_size"))
        try:
            shield.network.load_state_dict(checkpoint.under("network/", tensors))
        except RuntimeError as error:
            raise FovealError(f"these weights do not fit the shield of their configuration: {error}") from error
        return shield

    def save(self, folder: str | Path) -> Path:
        """Write everything; atomically, and nothing pickled.

        Raises:
            FovealError: the folder holds something else, or can't be written.
        """
        return checkpoint.save(folder, *self.state(), kind=KIND)

    @classmethod
    def load(cls, folder: str | Path) -> Shield:
        """What ``save`` wrote, what a run's newest checkpoint holds, or the one that ships as ``"pretrained:NAME"``.

        Raises:
            FovealError: there is none, or it is damaged.
        """
        held = stored(checkpoint.place_of(folder, "shield", SHIPPED), KIND)
        return cls.from_state(held.tensors, held.state)
