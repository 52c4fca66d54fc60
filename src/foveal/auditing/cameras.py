"""Where the pictures are in anybody's observations, and how they are laid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.errors import FovealError

RGB, GREY = 3, 1
SMALLEST = 8
"""Side in pixels of what can be a picture."""
MOST_CHANNELS = 64
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601."""

Frames = NDArray[np.uint8]
"""(K, 3, H, W) RGB, oldest first."""


@dataclass(frozen=True)
class Camera:
    """A picture among an observation's entries: K frames of H x W pixels, in colour or grey.

    Attributes:
        path: keys to it, none where the picture is the whole observation.
        shape, dtype: of the array.
        frames: K.
        colors: 3 or 1.
        height, width: in pixels.
        axes: of the array, in the order (frames and colours ..., rows, columns) after ``np.transpose``.
        black, white: values of the darkest and the brightest pixel.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    frames: int
    colors: int
    height: int
    width: int
    axes: tuple[int, ...]
    black: float
    white: float

    @property
    def name(self) -> str:
        """As messages say it."""
        return "/".join(self.path) or "the picture"

    def read(self, observation: Any) -> Frames:
        """The frames in an observation; grey ones have three equal colours."""
        array = np.asarray(within(observation, self.path)).transpose(self.axes)
        array = array.reshape(self.frames, self.colors, self.height, self.width)
        if self.dtype != np.uint8:
            array = (array.astype(np.float32) - self.black) / (self.white - self.black) * 255.0
            array = np.clip(np.rint(array), 0, 255).astype(np.uint8)
        return np.array(np.broadcast_to(array, (self.frames, RGB, self.height, self.width)))

    def picture(self, observation: Any) -> NDArray[np.uint8]:
        """(H, W, 3), the newest frame in an observation."""
        return self.read(observation)[-1].transpose(1, 2, 0).copy()

    def written(self, frames: Frames) -> NDArray[Any]:
        """The array that has these frames: the inverse of ``read``, of floats within a level of 255."""
        array = frames.astype(np.float32)
        if self.colors == GREY:
            array = np.tensordot(array, LUMA, (1, 0))[:, None]  # (K, 1, H, W)
        if self.dtype == np.uint8:
            array = np.rint(array)
        else:
            array = array / 255.0 * (self.white - self.black) + self.black
        moved = tuple(self.shape[axis] for axis in self.axes)
        return array.reshape(moved).transpose(np.argsort(self.axes)).astype(self.dtype)


def cameras_of(space: spaces.Space[Any]) -> tuple[Camera, ...]:
    """All pictures of an observation space."""
    return tuple(_found(space, ()))


def check_sees(space: spaces.Space[Any], name: str) -> tuple[Camera, ...]:
    """The same, of an environment that must have some.

    Raises:
        FovealError: it has none.
    """
    cameras = cameras_of(space)
    if not cameras:
        raise FovealError(
            f"{name} has no picture among its observations, {described(space)}, so there is none to change; "
            "gymnasium.wrappers.AddRenderObservation makes an image of what an environment renders"
        )
    return cameras


def described(space: spaces.Space[Any] | None) -> str:
    """A space as messages say it."""
    if space is None:
        return "unknown"
    if isinstance(space, spaces.Dict):
        return "{" + ", ".join(f"{name}: {described(entry)}" for name, entry in space.items()) + "}"
    if isinstance(space, spaces.Box):
        return f"{space.dtype} {tuple(space.shape)}"
    return str(space)


def within(observation: Any, path: tuple[str, ...]) -> Any:
    """The entry at a path."""
    for key in path:
        observation = observation[key]
    return observation


def replaced(observation: Any, path: tuple[str, ...], entry: Any) -> Any:
    """A copy of an observation with another entry at a path."""
    if not path:
        return entry
    return {**observation, path[0]: replaced(observation[path[0]], path[1:], entry)}


def _found(space: Any, path: tuple[str, ...]) -> list[Camera]:
    if isinstance(space, (spaces.Dict, Mapping)):
        return [camera for name, entry in space.items() for camera in _found(entry, (*path, str(name)))]
    camera = _camera(space, path) if isinstance(space, spaces.Box) else None
    return [] if camera is None else [camera]


def _camera(space: spaces.Box, path: tuple[str, ...]) -> Camera | None:
    """A Box as a picture; None where it is none."""
    limits = _limits(space)
    axes = _axes(space.shape)
    if limits is None or axes is None:
        return None
    *first, height, width = (space.shape[axis] for axis in axes)
    channels = int(np.prod(first)) if first else 1
    colors = RGB if first and first[-1] % RGB == 0 else GREY
    if min(height, width) < SMALLEST or channels > MOST_CHANNELS:
        return None
    frames = channels // colors
    return Camera(path, tuple(space.shape), np.dtype(space.dtype), frames, colors, height, width, axes, *limits)


def plain(output: Any) -> NDArray[Any]:
    """A tensor, an array or a number as an array."""
    return np.asarray(output.detach().cpu() if hasattr(output, "detach") else output)


def _axes(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Axes in the order of ``Camera``: where channels are, the smallest side says, as in Stable-Baselines3."""
    if len(shape) == 2:
        return (0, 1)
    if len(shape) == 3:
        return (0, 1, 2) if shape[0] < shape[2] else (2, 0, 1)
    if len(shape) == 4:
        return (0, 1, 2, 3) if shape[1] in (RGB, GREY) else (0, 3, 1, 2) if shape[3] in (RGB, GREY) else None
    return None


def _limits(space: spaces.Box) -> tuple[float, float] | None:
    """Black and white: 0 and 255 of bytes, the bounds of floats where these are the same for all pixels."""
    if space.dtype == np.uint8:
        return 0.0, 255.0
    if not np.issubdtype(space.dtype, np.floating):
        return None
    black, white = float(space.low.min()), float(space.high.max())
    same = float(space.low.max()) == black and float(space.high.min()) == white
    return (black, white) if same and np.isfinite([black, white]).all() and len(space.shape) > 2 else None
