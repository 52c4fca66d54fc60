"""From what an environment shows to what a policy was trained on: the order of channels, and stacks of frames."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from gymnasium import spaces

from foveal.auditing.cameras import Camera, Frames, cameras_of, described, plain, replaced
from foveal.errors import FovealError

ZEROS, FIRST = "zeros", "first"
"""What a stack is filled with at a reset: black frames, as by Stable-Baselines3's VecFrameStack, or the first one."""


class Fit:
    """Observations of an environment as a policy wants them.

    Args:
        given: the environment's observation space.
        wanted: the policy's; None where it does not say, and is given what there is.
        fill: ``"zeros"`` or ``"first"``.

    Raises:
        FovealError: they don't fit; both are named.
    """

    def __init__(self, given: spaces.Space[Any], wanted: spaces.Space[Any] | None, fill: str = FIRST) -> None:
        self._entries: list[Entry] = []
        if wanted is None:
            return
        if why := _difference(given, wanted):
            raise FovealError(
                f"this policy was trained on observations {described(wanted)}, and the environment gives "
                f"{described(given)}: {why}"
            )
        theirs = {camera.path: camera for camera in cameras_of(wanted)}
        for camera in cameras_of(given):
            if (other := theirs[camera.path]) != camera:
                self._entries.append(Entry(camera, other, fill))

    def reset(self) -> None:
        """A new episode."""
        for entry in self._entries:
            entry.reset()

    def __call__(self, observation: Any) -> Any:
        """One observation."""
        for entry in self._entries:
            observation = replaced(observation, entry.given.path, entry(observation))
        return observation


class Entry:
    """One picture in the policy's layout.

    Args:
        given, wanted: the same picture as the environment and as the policy knows it.
        fill: see ``Fit``.
    """

    def __init__(self, given: Camera, wanted: Camera, fill: str) -> None:
        self.given, self.wanted, self._fill = given, wanted, fill
        self._kept: deque[Frames] = deque(maxlen=wanted.frames)

    def reset(self) -> None:
        """Forget the frames."""
        self._kept.clear()

    def __call__(self, observation: Any) -> Any:
        """The array."""
        frames = self.given.read(observation)
        if self.given.frames == self.wanted.frames:
            return self.wanted.written(frames)
        if not self._kept:
            filling = np.zeros_like(frames) if self._fill == ZEROS else frames
            self._kept.extend([filling] * self.wanted.frames)
        self._kept.append(frames)
        return self.wanted.written(np.concatenate(self._kept))


def check_actions(given: spaces.Space[Any], wanted: spaces.Space[Any] | None) -> None:
    """Refuse a policy whose actions the environment does not take, and an environment that takes several at once.

    Raises:
        FovealError: so it is; both spaces are named.
    """
    if not isinstance(given, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        raise FovealError(f"this environment takes {given} actions: wrap it so that it takes Box or Discrete ones")
    if wanted is None or _same_kind(given, wanted):
        return
    raise FovealError(
        f"this policy gives actions {described(wanted)}, and the environment takes {described(given)}: name the "
        "environment that it was trained in"
    )


def as_action(output: Any, space: spaces.Space[Any]) -> Any:
    """What a policy gave, as the environment takes it.

    A batch of one is taken apart. Of as many numbers as there are discrete actions the largest counts. Those of a Box
    are clipped to its bounds.

    Args:
        output: an array, tensor or number.
        space: the environment's actions.

    Raises:
        FovealError: it is no action of this environment; both shapes are named.
    """
    array = plain(output)
    if isinstance(space, spaces.Discrete):
        return _choice(array, space)
    if array.size != int(np.prod(space.shape or ())):
        raise FovealError(
            f"this policy gave an action of shape {array.shape}, and the environment takes {described(space)}: name "
            "the environment that it was trained in"
        )
    action = array.reshape(space.shape or ()).astype(space.dtype)
    return np.clip(action, space.low, space.high) if isinstance(space, spaces.Box) else action


def _choice(array: Any, space: spaces.Discrete) -> int:
    if array.size == 1 and np.issubdtype(array.dtype, np.integer):
        action = int(array.reshape(()))
    elif array.size == space.n and space.n > 1:
        action = int(array.argmax()) + int(space.start)
    else:
        raise FovealError(
            f"this policy gave {array.dtype} of shape {array.shape}, and the environment takes {described(space)}: "
            "name the environment that it was trained in"
        )
    if not space.contains(action):
        raise FovealError(f"this policy chose action {action}, and the environment takes {described(space)}")
    return action


def _difference(given: spaces.Space[Any], wanted: spaces.Space[Any]) -> str:
    """Why one can't be made of the other; empty where it can."""
    ours, theirs = ({camera.path: camera for camera in cameras_of(space)} for space in (given, wanted))
    if set(ours) != set(theirs):
        names = ", ".join("/".join(path) or "a picture alone" for path in theirs) or "none"
        return f"the policy's pictures are {names}; wrap the environment so that it has the same"
    for path, camera in ours.items():
        if why := _difference_of(camera, theirs[path]):
            return why
    for path, shape in _others(wanted).items():
        if _others(given).get(path) != shape:
            return f"{'/'.join(path)} differs, or is not there"
    return ""


def _difference_of(given: Camera, wanted: Camera) -> str:
    if (given.height, given.width) != (wanted.height, wanted.width):
        return "pictures differ in size; gymnasium.wrappers.ResizeObservation changes it as training did"
    if given.colors != wanted.colors:
        return "one is grey and one is not; gymnasium.wrappers.GrayscaleObservation makes grey ones"
    if given.frames not in (1, wanted.frames):
        return f"frames are stacked {given.frames} deep, and the policy's {wanted.frames}; give single frames"
    return ""


def _others(space: spaces.Space[Any]) -> dict[tuple[str, ...], Any]:
    """Shapes of what is no picture, by path."""
    pictures = {camera.path for camera in cameras_of(space)}
    return {path: shape for path, shape in _leaves(space, ()).items() if path not in pictures}


def _leaves(space: Any, path: tuple[str, ...]) -> dict[tuple[str, ...], Any]:
    if not isinstance(space, spaces.Dict):
        return {path: space.shape}
    return {at: shape for name, entry in space.items() for at, shape in _leaves(entry, (*path, name)).items()}


def _same_kind(given: spaces.Space[Any], wanted: spaces.Space[Any]) -> bool:
    if isinstance(given, spaces.Discrete) and isinstance(wanted, spaces.Discrete):
        return bool(given.n == wanted.n)
    return type(given) is type(wanted) and given.shape == wanted.shape
