"""Grippers that tell no opening: none at all, and one that a digital output at the tool flange closes."""

from __future__ import annotations

from foveal.errors import FovealError
from foveal.robot.stops import ArmStopped, ur_rtde

TOOL_OUTPUTS = 2


class NoGripper:
    """Sends nothing; is as open as the last order said. Dry runs use it in place of any other."""

    measures = False

    def __init__(self) -> None:
        self._opening = 1.0

    def grip(self, close: bool) -> None:
        self._opening = 0.0 if close else 1.0

    def opening(self) -> float:
        return self._opening

    def disconnect(self) -> None:
        """There is nothing to do."""


class ToolOutput(NoGripper):
    """A gripper that closes while a digital output at the tool flange is high. It reports no opening of its own.

    Args:
        host: address of the arm.
        number: of the output, 0 or 1.

    Raises:
        FovealError: no such output, or the controller refuses.
    """

    def __init__(self, host: str, number: int) -> None:
        super().__init__()
        if number not in range(TOOL_OUTPUTS):
            raise FovealError(f"tool output {number} does not exist; there are 0 and 1")
        self._number = number
        try:
            self._outputs = ur_rtde("rtde_io").RTDEIOInterface(host)
        except RuntimeError as error:
            raise FovealError(f"can't set outputs of the arm at {host}: {error}") from error

    def grip(self, close: bool) -> None:
        try:
            done = self._outputs.setToolDigitalOut(self._number, close)
        except RuntimeError as error:
            raise ArmStopped(f"can't set tool output {self._number}: {error}") from error
        if not done:
            raise ArmStopped(f"the controller did not set tool output {self._number}")
        super().grip(close)

    def disconnect(self) -> None:
        self._outputs.disconnect()
