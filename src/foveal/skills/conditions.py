"""The conditions under which policies of the arm are evaluated: how scenes differ, what is seen, what happens."""

from __future__ import annotations

from dataclasses import dataclass, replace

from foveal.envs.ur5e.randomization import Randomization
from foveal.skills.arms import ArmSettings
from foveal.skills.events import CameraCovered, CubeKnocked, CubeMoved, Event, GoalMoved, ObjectAdded
from foveal.skills.noise import DepthNoise, Sensor, StructuredLight


@dataclass(frozen=True)
class Circumstances:
    """Of an episode.

    Attributes:
        randomization: ranges of what changes between episodes, or their name.
        noise: what the depth camera adds, or None.
        event: what happens in the middle of it, or None.
    """

    randomization: str | Randomization = "training"
    noise: Sensor | None = None
    event: Event | None = None

    def of(self, settings: ArmSettings) -> ArmSettings:
        """The same arms under these circumstances.

        Raises:
            FovealError: the event can't happen in their task.
        """
        if self.event is not None:
            self.event.check(settings.task)
        return replace(settings, randomization=self.randomization, noise=self.noise, event=self.event)


CONDITIONS = {
    "training": Circumstances(),
    "far_starts": Circumstances("far_starts"),
    "moved_camera": Circumstances("moved_camera"),
    "noisy_depth": Circumstances(noise=DepthNoise()),
    "structured_light": Circumstances(noise=StructuredLight()),
    "cube_moved": Circumstances(event=CubeMoved()),
    "cube_knocked": Circumstances(event=CubeKnocked()),
    "goal_moved": Circumstances(event=GoalMoved()),
    "camera_covered": Circumstances(event=CameraCovered()),
    "object_added": Circumstances(event=ObjectAdded()),
}
"""By name."""
USUAL = ("training", "far_starts", "moved_camera", "noisy_depth")
"""Those that an evaluation has where none is named."""
EVENTS = tuple(name for name, circumstances in CONDITIONS.items() if circumstances.event is not None)
"""Those in which the world changes during the episode."""
