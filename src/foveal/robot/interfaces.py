"""What a user brings to the arm, as types: a policy, a camera, a gripper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

Observation = Mapping[str, NDArray[Any]]


class PolicyFunction(Protocol):
    """Anything that can be called: an observation as of ``foveal.envs.ur5e`` in, an action (4,) in [-1, 1] out.

    One that has an attribute ``ended``, a text that is not empty, ends the run, for that reason.
    """

    def __call__(self, observation: Observation, /) -> Any:
        """Tool velocity along the task's x, y, z as a share of ``Limits.scale``; above 0 the gripper closes."""


class Camera(Protocol):
    """Looks at the scene."""

    def read(self) -> Observation:
        """The newest pictures.

        ``"depth"``, (H, W) floats in metres, 5 where nothing is near enough and 0 where nothing was measured;
        ``"rgb"``, (H, W, 3) ``uint8``; or both. ``"timestamp"``, seconds on a clock of the camera's own, if it has one.
        """

    def close(self) -> None:
        """The run is over."""


class Gripper(Protocol):
    """Opens and closes. One whose attribute ``measures`` is False does not know how open it is."""

    def grip(self, close: bool) -> None:
        """Begin to close, or to open; called when this changes. Returns at once."""

    def opening(self) -> float:
        """0 (closed) to 1."""

    def disconnect(self) -> None:
        """The run is over; the fingers stay as they are."""
