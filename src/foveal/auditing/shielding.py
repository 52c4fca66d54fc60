"""A shield between the environment's pictures and the policy, which counts how often it doubts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foveal.auditing.cameras import Camera, replaced, within
from foveal.errors import FovealError
from foveal.shield.shielded import Alarms
from foveal.shield.wrapping import RestoresFrames, Through


class Shielding:
    """Observations through a shield.

    Args:
        shield: ``foveal.Shield``.
        cameras: of the observations, all of which it restores.

    Attributes:
        alarms: how often it doubted.

    Raises:
        FovealError: a picture is not of its size.
    """

    def __init__(self, shield: RestoresFrames, cameras: Sequence[Camera]) -> None:
        size = shield.image_size
        for camera in cameras:
            if camera.colors != 3 or camera.dtype != "uint8" or (camera.height, camera.width) != (size, size):
                raise FovealError(
                    f"this shield is for uint8 RGB frames of {size} x {size} pixels, and {camera.name} is "
                    f"{camera.dtype} {camera.shape}: train one for it, foveal shield train --frames FOLDER"
                )
        self.shield, self.cameras = shield, cameras
        self.alarms = Alarms()
        self._through = {camera.path: Through(shield) for camera in cameras}

    def __call__(self, observation: Any) -> Any:
        """What the policy is given; an alarm of any camera counts."""
        given = self.see(observation)
        self.alarms.count(max(through.doubt for through in self._through.values()) > self.shield.limit)
        return given

    def see(self, observation: Any) -> Any:
        """The same, not counted."""
        for path, through in self._through.items():
            observation = replaced(observation, path, through(within(observation, path)))
        return observation
