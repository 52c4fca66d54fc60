"""Looking around: frames of an environment as it looks in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.envs import PixelEnv, make
from foveal.envs.making import EnvLike
from foveal.fovea.frames import FrameSet, in_random_order
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


def collect(
    env: EnvLike,
    options: Mapping[str, Any],
    count: int,
    seed: int,
    policy: Acts | None = None,
    *,
    with_masks: bool = True,
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
        with_masks: ask the environment which pixels are the task's own.
        progress: show a bar.

    Raises:
        FovealError: the environment was asked and can't tell.
    """
    made = make(env, **options)
    made.reset(seed=seed)
    nothing = np.zeros([made.spec_info.image_size] * 2, np.bool_)
    mask: Callable[[], NDArray[np.bool_]] = made.agent_mask if with_masks else lambda: nothing
    mask()  # fails now where nobody knows
    made.action_space.seed(seed)
    random = np.random.default_rng(seed)
    half = count // 2 if policy is not None else 0
    rest = count - half
    # How many frames, the longest episode, and what makes the actions of one.
    shares: list[tuple[int, int | None, Callable[[], Act]]] = [
        (rest - rest // 2, SHORT, lambda: lambda _: made.action_space.sample()),
        (rest // 2, SHORT, lambda: _holding(made, random)),
    ]
    if policy is not None:
        shares.append((half, None, lambda: lambda seen: policy.predict(seen, deterministic=True)[0]))
    pixels: list[NDArray[np.uint8]] = []
    masks: list[NDArray[np.bool_]] = []
    episodes: list[int] = []
    with Progress(0, count, visible=progress, what="frames", unit="frame") as bar:
        for share, longest, acting in shares:
            end = len(pixels) + share
            while len(pixels) < end:
                number, act = episodes[-1] + 1 if episodes else 0, acting()
                for frame in _episode(made, act, longest, end - len(pixels)):
                    pixels.append(frame)
                    masks.append(mask())
                    episodes.append(number)
                    bar.advance(len(pixels))
    if made is not env:
        made.close()
    seen, known = torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(masks))
    return in_random_order(seen, known, torch.tensor(episodes), seed)


def _episode(env: PixelEnv, act: Act, longest: int | None, most: int) -> Any:
    """Newest frame before every action of an episode, as many as are wanted."""
    observation, _ = env.reset()
    over, step = False, 0
    while not over and step < most and (longest is None or step < longest):
        image = observation["image"] if isinstance(observation, Mapping) else observation
        yield image[-3:].copy()
        observation, _, terminated, truncated, _ = env.step(act(observation))
        over, step = terminated or truncated, step + 1


def _holding(env: PixelEnv, random: np.random.Generator) -> Act:
    """Random actions, each held for a random number of steps."""
    held: dict[str, Any] = {"steps": 0}

    def act(_: Any) -> Any:
        if held["steps"] == 0:
            held.update(action=env.action_space.sample(), steps=int(random.integers(1, LONGEST_HOLD + 1)))
        held["steps"] -= 1
        return held["action"]

    return act
