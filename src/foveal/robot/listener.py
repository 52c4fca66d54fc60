"""What the controller says of the arm: its state, 125 times a second."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.robot.stops import ArmStopped, ur_rtde

Array = NDArray[np.float64]

FREQUENCY = 125.0  # Hz, at which the controller sends its state
FIELDS = [
    "timestamp",
    "actual_q",
    "actual_TCP_pose",
    "robot_mode",
    "safety_status_bits",
    "runtime_state",
]
STOPPED = 1  # runtime_state with no program
_NEWS = 0.1  # seconds to wait for a new state


class Reading(NamedTuple):
    """The arm's state.

    Attributes:
        joints: (6,) radians.
        pose: (6,) of the tool in the base's frame: metres, then a rotation vector.
        mode: robot_mode.
        safety_bits: safety_status_bits.
    """

    joints: Array
    pose: Array
    mode: int
    safety_bits: int


class Listener:
    """Reads the arm's state, and sends nothing but the wish to.

    Args:
        host: address of the arm.

    Raises:
        FovealError: the controller refuses.
    """

    def __init__(self, host: str) -> None:
        module = ur_rtde("rtde_receive")
        try:
            self._rtde = module.RTDEReceiveInterface(host, FREQUENCY, FIELDS)
        except RuntimeError as error:
            raise FovealError(f"can't read the state of the arm at {host}: {error}") from error

    def read(self) -> Reading:
        """The next state that arrives.

        Raises:
            ArmStopped: none does.
        """
        if not self.alive():
            raise ArmStopped("there is no news from the arm any more: the connection is lost")
        rtde = self._rtde
        pose, joints = np.array(rtde.getActualTCPPose()), np.array(rtde.getActualQ())
        return Reading(joints, pose, rtde.getRobotMode(), rtde.getSafetyStatusBits())

    def alive(self) -> bool:
        """Waits for the next state; whether one arrived."""
        before, until = self._rtde.getTimestamp(), time.monotonic() + _NEWS
        while self._rtde.getTimestamp() == before:
            if time.monotonic() > until or not self._rtde.isConnected():
                return False
            time.sleep(0.001)
        return True

    def idle(self) -> bool:
        """Whether the controller says, and says it now, that no program runs or pauses."""
        return self.alive() and self._rtde.getRuntimeState() == STOPPED

    def close(self) -> None:
        """Hang up: the interface's destructor does, in half a second; disconnecting first would take another half."""
        del self._rtde
