"""Observations through a shield: of stacked frames each is restored once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.envs.wrapper_state import Stateless
from foveal.errors import FovealError
from foveal.fovea.remembering import Remembering

KEPT = 16
"""Frames of each environment that are remembered, so that those of a stack are not restored again."""
CHANNELS = 3


class Restored(NamedTuple):
    """Frames behind a shield.

    Attributes:
        frames: (B, 3, H, W) ``uint8``, what the policy is given.
        masks: (B, H, W) in [0, 1], how likely each pixel is the task's own.
        doubt: (B,), how unsure the shield is of its own answer, in percent: see ``foveal.fovea.restoring``.
    """

    frames: NDArray[np.uint8]
    masks: NDArray[np.float32]
    doubt: NDArray[np.float32]


class RestoresFrames(Protocol):
    """What wrappers need of a shield: ``foveal.Shield`` has it.

    Attributes:
        image_size: side of its frames.
        limit: the doubt above which a frame is not to be trusted.
    """

    image_size: int
    limit: float

    def restore(self, frames: NDArray[np.uint8]) -> Restored:
        """Single frames, (B, 3, H, W) ``uint8``, as they looked in training."""


class Frame(NamedTuple):
    """One frame behind a shield.

    Attributes:
        given: (3, H, W).
        mask: (H, W).
        doubt: as in ``Restored``.
    """

    given: NDArray[np.uint8]
    mask: NDArray[np.float32]
    doubt: float


class Through:
    """Observations through a shield, the same for the same frames.

    Args:
        shield: the shield.
        cameras: keys of the pictures where observations are dicts; None for the only picture that there is.
        kept: frames that are remembered beside those of an observation.

    Attributes:
        doubt: the shield's, of the newest frame of the latest observation; of a batch the largest.
    """

    def __init__(self, shield: RestoresFrames, cameras: tuple[str, ...] | None = None, kept: int = KEPT) -> None:
        self.shield, self.cameras = shield, cameras
        self.doubt = 0.0
        self._restored = Remembering(lambda frames: map(Frame, *shield.restore(frames)), kept)

    def __call__(self, observation: Any) -> Any:
        """The observation with its pictures as they looked in training.

        Args:
            observation: (3 * frames, H, W) or (H, W, 3 * frames) ``uint8``, or a batch of such, or a dict that has some
                under the names of cameras.

        Raises:
            FovealError: pictures of another size, none of a camera that was named, or several where none was named.
        """
        self.doubt = 0.0
        if not isinstance(observation, Mapping):
            return self._pictures(observation)
        return {**observation, **{camera: self._pictures(observation[camera]) for camera in self._named(observation)}}

    def newest(self, observation: Any) -> Frame:
        """The newest frame of one observation; of several cameras the first one's."""
        image = observation[self._named(observation)[0]] if isinstance(observation, Mapping) else observation
        frames, _ = self._frames(np.asarray(image))
        return self._restored(frames[-1:])[0]

    def _named(self, observation: Mapping[str, Any]) -> tuple[str, ...]:
        """The cameras, checked. A second one that nobody thought of must not go on without a shield."""
        pictures = tuple(name for name, entry in observation.items() if _is_picture(entry))
        cameras = ("image",) if self.cameras is None and not pictures else self.cameras or pictures
        if missing := [camera for camera in cameras if camera not in observation]:
            raise FovealError(
                f"this observation has no picture {missing[0]!r} but {', '.join(map(repr, observation))}: name the "
                "cameras that the shield is for"
            )
        if self.cameras is None and len(cameras) > 1:
            raise FovealError(
                f"this observation has the pictures {' and '.join(map(repr, cameras))}: name those that the shield is "
                f"for, cameras={cameras}"
            )
        return cameras

    def _pictures(self, image: Any) -> NDArray[np.uint8]:
        image = np.asarray(image)
        frames, channels_last = self._frames(image)  # (B * frames, 3, H, W)
        done = self._restored(frames)
        count = len(image) if image.ndim > CHANNELS else 1  # B
        depth = len(frames) // count
        self.doubt = max(self.doubt, *(frame.doubt for frame in done[depth - 1 :: depth]))
        size = self.shield.image_size
        stacked = np.stack([frame.given for frame in done]).reshape(count, depth * CHANNELS, size, size)
        return (stacked.transpose(0, 2, 3, 1) if channels_last else stacked).reshape(image.shape)

    def _frames(self, image: NDArray[Any]) -> tuple[NDArray[np.uint8], bool]:
        """(B * frames, 3, H, W), and whether channels came last."""
        size = self.shield.image_size
        batch = image[None] if image.ndim == CHANNELS else image
        channels_last = batch.shape[1:3] == (size, size)
        if channels_last and batch.ndim == CHANNELS + 1:
            batch = batch.transpose(0, 3, 1, 2)
        fits = batch.ndim == CHANNELS + 1 and batch.shape[1] % CHANNELS == 0 and batch.shape[2:] == (size, size)
        if image.dtype != np.uint8 or not fits:
            raise FovealError(
                f"this shield is for uint8 RGB frames of {size} x {size} pixels, stacked or single, not for "
                f"{image.dtype} of shape {image.shape}: train one for these, or resize them"
            )
        return batch.reshape(-1, CHANNELS, size, size), channels_last


class ShieldedObservations(Stateless, gymnasium.ObservationWrapper[Any, Any, Any]):
    """An environment whose pictures look as in training; ``info["shield_doubt"]`` says how little to trust them.

    Args:
        env: whose observations are ``uint8`` RGB frames, stacked or single, channels first or last, alone or in a Dict.
        shield: the shield.
        cameras: see ``Through``.

    Raises:
        FovealError: there is no picture of that name, or one of another size, or several where none was named.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], shield: RestoresFrames, cameras: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(env)
        self.see = Through(shield, cameras)
        self.see(_blank(env.observation_space))  # fails now where pictures don't fit

    def observation(self, observation: Any) -> Any:
        return self.see(observation)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        return observation, {**info, "shield_doubt": self.see.doubt}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "shield_doubt": self.see.doubt}


def _is_picture(entry: Any) -> bool:
    return getattr(entry, "dtype", None) == np.uint8 and entry.ndim >= CHANNELS


def _blank(space: spaces.Space[Any]) -> Any:
    """An observation of zeros."""
    if isinstance(space, spaces.Dict):
        return {name: np.zeros(entry.shape, entry.dtype) for name, entry in space.items()}
    return np.zeros(space.shape or (), space.dtype)
