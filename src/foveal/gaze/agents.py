"""An Atari agent's saliency as a function of observations: built-in attention, or the gradient of its value."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.envs.games import is_atari
from foveal.errors import FovealError
from foveal.gaze.maps import Look
from foveal.gaze.screens import SIDE, STACK
from foveal.registry import nearest
from foveal.saliency import SALIENCY

ATTENTION = "attention"


@runtime_checkable
class Looker(Protocol):
    """What a comparison with gaze needs of an agent.

    Attributes:
        device: of its network.
    """

    device: torch.device

    @property
    def env_id(self) -> str:
        """Such as ``atari/breakout``."""

    @property
    def encoder_name(self) -> str:
        """Of its network."""

    @property
    def has_attention(self) -> bool:
        """Whether its network has attention."""

    def even_attention(self) -> Any:
        """(84, 84): what ``attention`` makes of a map that is the same everywhere."""

    def attention(self, obs: Any) -> Any:
        """(N, 4, 84, 84) bytes -> (N, 84, 84) maps, or a FovealError where there is no attention in the network."""

    def values(self, obs: Tensor) -> Tensor:
        """(N, 4, 84, 84) floating point in [0, 255] -> (1, N) state values with their graph."""


def attention_look(agent: Looker) -> Look:
    """The map that the network makes in its forward pass.

    Raises:
        FovealError: it makes none.
    """
    agent.attention(np.zeros((1, STACK, SIDE, SIDE), np.uint8))  # fails now, and not after an hour of reading
    return agent.attention


def post_hoc_look(agent: Looker, name: str = "gradient") -> Look:
    """Magnitude of a map of ``foveal.saliency`` of the state's value, summed over the four pictures of an observation.

    Raises:
        FovealError: there is no such map.
    """
    saliency = SALIENCY.get(name)

    def look(obs: NDArray[np.uint8]) -> Tensor:
        maps = saliency(lambda pixels: agent.values(pixels)[0], torch.from_numpy(obs).to(agent.device))
        return maps.abs().sum(1)  # (N, 4, H, W) -> (N, H, W)

    return look


def even_look(agent: Looker) -> Look:
    """The picture that attention makes where it weighs every position alike: the part of a score that is no merit.

    Raises:
        FovealError: the agent has no attention.
    """
    even = agent.even_attention()

    def look(obs: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.broadcast_to(even, (len(obs), SIDE, SIDE))

    return look


def looks_of(agent: object, name: str, kinds: tuple[str, ...] = ()) -> dict[str, Look]:
    """Named maps of an agent.

    Args:
        agent: whose.
        name: of the agent.
        kinds: "attention" for that of its network, and names of maps in ``foveal.saliency``. By default "attention", or
            "gradient" for an agent without. Beside other kinds, "attention" is left out for such an agent.

    Returns:
        "NAME (KIND)" -> map.

    Raises:
        FovealError: it is no Atari agent, a kind is unknown, or it has none of them.
    """
    if not (isinstance(agent, Looker) and is_atari(agent.env_id)):
        raise FovealError(f"{name} is no Atari agent; gaze was recorded on Atari games")
    known = [ATTENTION, *SALIENCY.names()]
    unknown = [kind for kind in kinds if kind not in known]
    if unknown:
        raise FovealError(f"unknown saliency {unknown[0]!r}: {nearest(unknown[0], known)}")
    wanted = kinds or ((ATTENTION,) if agent.has_attention else ("gradient",))
    if not agent.has_attention and set(wanted) != {ATTENTION}:
        wanted = tuple(kind for kind in wanted if kind != ATTENTION)
    return {
        f"{name} ({kind})": attention_look(agent) if kind == ATTENTION else post_hoc_look(agent, kind)
        for kind in wanted
    }
