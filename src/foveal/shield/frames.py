"""Frames of the trained look, and which of their pixels are the task's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.envs import PixelEnv, make
from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.progress import Progress

SHORT = 60
"""Agent steps after which an episode of random or held actions begins anew, so that many beginnings are seen."""
LONGEST_HOLD = 30
"""Agent steps that an action is held at most."""

Act = Callable[[Any], Any]


class Acts(Protocol):
    """A policy."""

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, Any]:
        """The action for one observation."""


@dataclass(frozen=True)
class FrameSet:
    """Frames of episodes, one after the other.

    Attributes:
        pixels: (N, 3, H, W) ``uint8``.
        masks: (N, H, W) bool, the task's own pixels.
        episodes: (N,) the number of each frame's episode.
    """

    pixels: Tensor
    masks: Tensor
    episodes: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def divided(self, share: float) -> tuple[FrameSet, FrameSet]:
        """All but the last episodes, and these: about ``share`` of the frames, at least one episode."""
        first = int(self.episodes[round((1.0 - share) * (len(self) - 1))])
        kept = self.episodes >= max(first, int(self.episodes[0]) + 1)
        return self._where(~kept), self._where(kept)

    def _where(self, chosen: Tensor) -> FrameSet:
        return FrameSet(self.pixels[chosen], self.masks[chosen], self.episodes[chosen])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As NumPy's."""
        return {name: tensor.numpy() for name, tensor in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> FrameSet:
        """The inverse of ``arrays``."""
        return cls(*(torch.from_numpy(np.array(arrays[name])) for name in ("pixels", "masks", "episodes")))


def collect(
    env: EnvLike,
    options: Mapping[str, Any],
    count: int,
    seed: int,
    policy: Acts | None = None,
    *,
    progress: bool = False,
) -> FrameSet:
    """Frames of an environment as it looked in training.

    A quarter comes from random actions, a quarter from actions that are held for a while, half from the policy; without
    one it is half and half.

    Args:
        env: id, environment or callable.
        options: keyword arguments of ``foveal.envs.make``.
        count: how many.
        seed: of environment and actions.
        policy: the one that is to be protected.
        progress: show a bar.

    Raises:
        FovealError: the environment can't tell which pixels are the task's own.
    """
    made = make(env, **options)
    made.reset(seed=seed)
    made.agent_mask()  # fails now where nobody knows
    made.action_space.seed(seed)
    random = np.random.default_rng(seed)
    half = count // 2 if policy is not None else 0
    rest = count - half
    shares: list[tuple[int, int | None, Callable[[], Act]]] = [
        (rest - rest // 2, SHORT, lambda: _anyhow(made)),
        (rest // 2, SHORT, lambda: _holding(made, random)),
        (half, None, lambda: _following(policy)),
    ]
    pixels: list[NDArray[np.uint8]] = []
    masks: list[NDArray[np.bool_]] = []
    episodes: list[int] = []
    with Progress(0, count, visible=progress, what="frames", unit="frame") as bar:
        for share, longest, acting in shares:
            end = len(pixels) + share
            while len(pixels) < end:
                number, act = episodes[-1] + 1 if episodes else 0, acting()
                for frame, mask in _episode(made, act, longest, end - len(pixels)):
                    pixels.append(frame)
                    masks.append(mask)
                    episodes.append(number)
                    bar.advance(len(pixels))
    if made is not env:
        made.close()
    order = np.random.default_rng(seed).permutation(episodes[-1] + 1)[
        episodes
    ]  # so that any part has some of each kind
    found = np.argsort(order, kind="stable")
    return FrameSet(
        torch.from_numpy(np.stack(pixels)[found]),
        torch.from_numpy(np.stack(masks)[found]),
        torch.from_numpy(order[found].astype(np.int64)),
    )


def _episode(env: PixelEnv, act: Act, longest: int | None, most: int) -> Any:
    """Newest frame and mask before every action of an episode, as many as are wanted."""
    observation, _ = env.reset()
    over, step = False, 0
    while not over and step < most and (longest is None or step < longest):
        image = observation["image"] if isinstance(observation, Mapping) else observation
        yield image[-3:].copy(), env.agent_mask()
        observation, _, terminated, truncated, _ = env.step(act(observation))
        over, step = terminated or truncated, step + 1


def _anyhow(env: PixelEnv) -> Act:
    return lambda _: env.action_space.sample()


def _holding(env: PixelEnv, random: np.random.Generator) -> Act:
    """Random actions, each held for a random number of steps."""
    held: dict[str, Any] = {"steps": 0}

    def act(_: Any) -> Any:
        if held["steps"] == 0:
            held.update(action=env.action_space.sample(), steps=int(random.integers(1, LONGEST_HOLD + 1)))
        held["steps"] -= 1
        return held["action"]

    return act


def _following(policy: Acts | None) -> Act:
    if policy is None:
        raise FovealError("there is no policy to follow")
    return lambda observation: policy.predict(observation, deterministic=True)[0]
