"""A shield before a policy on a real arm, and its doubt as a reason to stop."""

from __future__ import annotations

from typing import Any

from foveal.errors import FovealError
from foveal.robot.interfaces import Observation, PolicyFunction
from foveal.robot.stops import ArmStopped
from foveal.shield.wrapping import RestoresFrames, Through

FRAMES = 5
"""Frames in a row that may be doubted: half a second."""


class ShieldedPolicy:
    """Shows a policy frames as they looked in training, and stops the arm where they can't be trusted.

    Args:
        policy: acts on what the shield gives.
        shield: with its ``limit``.
        frames: the arm is stopped with this one in a row of which the doubt is above the limit.

    Raises:
        FovealError: the number of frames is none.
    """

    def __init__(self, policy: PolicyFunction, shield: RestoresFrames, frames: int = FRAMES) -> None:
        if frames < 1:
            raise FovealError(f"doubt-frames is {frames}; give at least 1")
        self.policy, self._frames, self._doubted = policy, frames, 0
        self._limit = shield.limit
        self._see = Through(shield, ("rgb",))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)

    def __call__(self, observation: Observation, /) -> Any:
        """The policy's answer.

        Raises:
            FovealError: there is no RGB picture of the shield's size.
            ArmStopped: the shield has doubted too many frames in a row.
        """
        given = self._see(observation)
        self._doubted = self._doubted + 1 if self._see.doubt > self._limit else 0
        if self._doubted >= self._frames:
            raise ArmStopped(
                f"the shield doubts what the camera shows: {self._see.doubt:.1f} %, above its limit of "
                f"{self._limit:.1f} %, for {self._doubted} frames in a row: light, background or camera differ from "
                "training"
            )
        return self.policy(given)
