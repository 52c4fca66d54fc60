"""Anybody's Gymnasium environment, brought to the shapes that agents see: one RGB frame, flat actions in [-1, 1]."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.envs.wrapper_state import Stateless
from foveal.errors import FovealError

_HINT = "; foveal needs a uint8 RGB image, (H, W, 3) or (3, H, W), alone or as the only image in a Dict"


def adapt(env: gymnasium.Env[Any, Any], size: int, name: str) -> gymnasium.Env[Any, Any]:
    """``env`` with a (3, size, size) image, any float vectors as one ``"vector"``, and actions as agents give them.

    Args:
        env: with a ``uint8`` RGB image among its observations and Box or Discrete actions.
        size: height and width of the image; another size is averaged over areas.
        name: of the environment, for error messages.

    Raises:
        FovealError: the environment has no such image, or actions that no learner here can choose.
    """
    image_key, vector_keys = _observation_entries(env.observation_space, name)
    image = env.observation_space if image_key is None else env.observation_space[image_key]  # type: ignore[index]
    if vector_keys or image_key is not None or image.shape != (3, size, size):
        env = ImageObservation(env, size, image_key, vector_keys, name)
    return _with_actions(env, name)


def _observation_entries(space: spaces.Space[Any], name: str) -> tuple[str | None, list[str]]:
    """The key of the image (None where it is the whole observation) and those of the vectors, sorted."""
    if not isinstance(space, spaces.Dict):
        _check_image(space, f"the observation of {name}")
        return None, []
    images = [key for key, entry in space.items() if _looks_like_image(entry)]
    if len(images) != 1:
        count = f"{len(images)} images ({', '.join(map(repr, images))})" if images else "no image"
        raise FovealError(f"{name} has {count} among its observations {list(space)}{_HINT}")
    _check_image(space[images[0]], f"the observation {images[0]!r} of {name}")
    vectors = sorted(key for key in space if key not in images)
    for key in vectors:
        entry = space[key]
        if not isinstance(entry, spaces.Box) or not np.issubdtype(entry.dtype, np.floating):
            raise FovealError(f"the observation {key!r} of {name} is {entry}: beside the image, float Boxes only")
    return images[0], vectors


def _looks_like_image(space: spaces.Space[Any]) -> bool:
    """Whether it must be meant as a picture, even if one of the wrong kind."""
    if not isinstance(space, spaces.Box):
        return False
    return len(space.shape) == 3 or (len(space.shape) == 2 and space.dtype == np.uint8)


def _check_image(space: spaces.Space[Any], what: str) -> None:
    if not isinstance(space, spaces.Box):
        raise FovealError(f"{what} is a {type(space).__name__}, not an image{_HINT}")
    shape = space.shape
    if len(shape) == 1:
        hint = "; gymnasium.wrappers.AddRenderObservation makes an image of what an environment renders"
        raise FovealError(f"{what} is a vector of {shape[0]} numbers, not an image{hint}")
    if np.issubdtype(space.dtype, np.floating):
        raise FovealError(f"{what} is an image of {space.dtype}: give it as uint8 in [0, 255]{_HINT}")
    if len(shape) == 2 or (len(shape) == 3 and 1 in (shape[0], shape[2])):
        raise FovealError(f"{what} has shape {shape}, a grayscale image: give the environment's colour picture{_HINT}")
    if space.dtype != np.uint8 or len(shape) != 3:
        raise FovealError(f"{what} has shape {shape} and type {space.dtype}{_HINT}")
    if 3 not in (shape[0], shape[2]):
        raise FovealError(f"{what} has shape {shape}: no axis is RGB{_HINT}, not yet stacked")
    if shape[0] == shape[2] == 3:
        raise FovealError(f"{what} has shape {shape}: which axis is RGB can't be told{_HINT}")


class ImageObservation(Stateless, gymnasium.ObservationWrapper[Any, Any, Any]):
    """(3, size, size) ``uint8`` from any RGB picture; float entries become one ``"vector"``, sorted by key."""

    def __init__(
        self, env: gymnasium.Env[Any, Any], size: int, image_key: str | None, vector_keys: list[str], name: str
    ) -> None:
        super().__init__(env)
        self._size, self._image_key, self._vector_keys, self._name = size, image_key, vector_keys, name
        space: Any = env.observation_space
        source = space if image_key is None else space[image_key]
        self._channels_last = source.shape[2] == 3
        image = spaces.Box(0, 255, (3, size, size), np.uint8)
        self.observation_space = image
        if vector_keys:
            low = np.concatenate([space[key].low.ravel() for key in vector_keys]).astype(np.float32)
            high = np.concatenate([space[key].high.ravel() for key in vector_keys]).astype(np.float32)
            self.observation_space = spaces.Dict({"image": image, "vector": spaces.Box(low, high, dtype=np.float32)})

    def observation(self, observation: Any) -> Any:
        picture = np.asarray(observation if self._image_key is None else observation[self._image_key])
        if picture.dtype != np.uint8:
            raise FovealError(f"{self._name} declares a uint8 image and returned one of {picture.dtype}")
        image = averaged(picture.transpose(2, 0, 1) if self._channels_last else picture, (self._size, self._size))
        if not self._vector_keys:
            return image
        parts = [np.asarray(observation[key], np.float32).ravel() for key in self._vector_keys]
        return {"image": image, "vector": np.concatenate(parts)}


def averaged(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(..., H, W) in another size, (..., *size): each pixel is the mean of the area that it covers."""
    if image.shape[-2:] == size:
        return np.array(image, order="C")
    rows, columns = (_single_weights(*sides) for sides in zip(image.shape[-2:], size, strict=True))
    return np.rint(rows @ image.astype(np.float32) @ columns.T).astype(np.uint8)  # (h, H) (..., H, W) (W, w)


@cache
def _single_weights(source: int, target: int) -> NDArray[np.float32]:
    return area_weights(source, target).astype(np.float32)


@cache
def area_weights(source: int, target: int) -> NDArray[np.float64]:
    """(target, source): how much each source pixel counts in each target pixel; every row sums to 1."""
    edges = np.linspace(0, source, target + 1)
    pixels = np.arange(source)
    start = np.maximum(edges[:-1, None], pixels)
    end = np.minimum(edges[1:, None], pixels + 1)
    overlap = np.clip(end - start, 0.0, None)  # (target, source)
    return np.asarray(overlap / (source / target))


def _with_actions(env: gymnasium.Env[Any, Any], name: str) -> gymnasium.Env[Any, Any]:
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        return env if space.start == 0 else DiscreteFromZero(env)
    if not isinstance(space, spaces.Box):
        kind = type(space).__name__
        raise FovealError(f"{name} takes {kind} actions; foveal's learners give Box or Discrete ones: wrap it so")
    if not np.issubdtype(space.dtype, np.floating):
        raise FovealError(f"{name} takes a Box of {space.dtype} as action; only float Boxes (or Discrete) are served")
    if not space.is_bounded():
        raise FovealError(f"{name} takes actions in an unbounded Box: wrap it so that they have limits")
    if space == spaces.Box(-1.0, 1.0, (space.low.size,), np.float32):
        return env
    return ScaledActions(env)


class DiscreteFromZero(Stateless, gymnasium.ActionWrapper[Any, Any, Any]):
    """Discrete actions counted from 0, whatever number the environment's first action has."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._start = int(env.action_space.start)  # type: ignore[attr-defined]
        self.action_space = spaces.Discrete(int(env.action_space.n))  # type: ignore[attr-defined]

    def action(self, action: Any) -> int:
        return int(action) + self._start


class ScaledActions(Stateless, gymnasium.ActionWrapper[Any, Any, Any]):
    """(A,) actions in [-1, 1] for an environment whose Box has other limits, another shape or another type."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._box = cast(spaces.Box, env.action_space)
        self.action_space = spaces.Box(-1.0, 1.0, (self._box.low.size,), np.float32)

    def action(self, action: NDArray[np.float32]) -> NDArray[Any]:
        low, high = self._box.low.astype(np.float64), self._box.high.astype(np.float64)
        unit = (np.clip(np.asarray(action, np.float64), -1.0, 1.0) + 1.0) / 2.0
        return np.asarray(low + unit.reshape(self._box.shape) * (high - low), self._box.dtype)


class ActionRepeat(Stateless, gymnasium.Wrapper[Any, Any, Any, Any]):
    """Takes each action ``times`` times, or until the episode ends, and sums the rewards."""

    def __init__(self, env: gymnasium.Env[Any, Any], times: int) -> None:
        super().__init__(env)
        self._times = times

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        total = 0.0
        for _ in range(self._times):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, info
