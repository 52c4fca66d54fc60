"""The wires to the controller: one that listens, and one that moves the arm and stops it whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.skills.real.limits import Limits
from foveal.skills.real.stops import ArmStopped, stop_program, ur_rtde

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
# Seconds for which the script on the controller keeps a velocity before it looks for another one. It then repeats the
# last one for ever: what ends a motion is the watchdog.
_HOLD = 0.008
_START = 5.0  # seconds to wait for the script to start
_STOP = 2.0  # seconds to wait until the arm has confirmed that it stands
_NO_TOOL = 0.01  # metres: a tool that reaches less far than this is none


class Reading(NamedTuple):
    """The arm's state.

    Attributes:
        clock: seconds, the controller's own.
        joints: (6,) radians.
        pose: (6,) of the tool in the base's frame: metres, then a rotation vector.
        mode: robot_mode.
        safety_bits: safety_status_bits.
        runtime: runtime_state, of the program on the controller.
    """

    clock: float
    joints: Array
    pose: Array
    mode: int
    safety_bits: int
    runtime: int


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
        self._clock = -1.0

    def read(self) -> Reading:
        """The state now.

        Raises:
            ArmStopped: the connection is lost, or there was no news since the last reading.
        """
        rtde = self._rtde
        clock = rtde.getTimestamp()
        if not rtde.isConnected() or clock == self._clock:
            raise ArmStopped("there is no news from the arm any more: the connection is lost")
        self._clock = clock
        pose, joints = np.array(rtde.getActualTCPPose()), np.array(rtde.getActualQ())
        mode, bits, runtime = rtde.getRobotMode(), rtde.getSafetyStatusBits(), rtde.getRuntimeState()
        return Reading(clock, joints, pose, mode, bits, runtime)

    def idle(self) -> bool:
        """Whether the controller says, and says it now, that no program runs or pauses."""
        before = self._rtde.getTimestamp()
        time.sleep(3.0 / FREQUENCY)
        fresh = self._rtde.isConnected() and self._rtde.getTimestamp() != before
        return bool(fresh and self._rtde.getRuntimeState() == STOPPED)

    def close(self) -> None:
        """Hang up."""
        self._rtde.disconnect()


class Mover(Protocol):
    """Moves the arm."""

    def move(self, twist: Array) -> None:
        """Take up this velocity (6,) of the tool in the base's frame: m/s, then rad/s."""

    def close(self) -> None:
        """Stop, and let go of the arm."""


class DryMover:
    """Moves nothing: there is no connection that could."""

    def move(self, twist: Array) -> None:
        """Send nothing."""

    def close(self) -> None:
        """There is nothing to stop."""


class ScriptMover:
    """Moves the arm by ur_rtde's script on the controller, which stops by itself when commands stay away.

    The script is uploaded here and not by ur_rtde's constructor: told to do it, ur_rtde would start the script again
    after a lost connection, without the watchdog.

    Args:
        host: address of the arm.
        listener: which tells whether the arm has stopped.
        limits: of the run.
        bare_flange: allow a controller that knows of no tool.

    Raises:
        FovealError: the controller refuses, is busy, or knows of no tool.
    """

    def __init__(self, host: str, listener: Listener, limits: Limits, bare_flange: bool = False) -> None:
        if not listener.idle():
            raise FovealError(f"a program is running or paused on the arm at {host}: end it first")
        interface = ur_rtde("rtde_control").RTDEControlInterface
        self._host, self._listener, self._limits = host, listener, limits
        try:
            self._control = interface(host, FREQUENCY, interface.FLAG_NO_WAIT | interface.FLAG_NO_EXT_FT)
        except RuntimeError as error:
            raise FovealError(f"can't take control of the arm at {host}: {error}") from error
        try:
            self._start(bare_flange)
        except BaseException:
            self.close()
            raise

    def move(self, twist: Array) -> None:
        try:
            taken = self._control.speedL(twist.tolist(), self._limits.acceleration, _HOLD)
        except RuntimeError as error:
            raise ArmStopped(f"the connection to the arm is lost: {error}") from error
        if not taken:
            raise ArmStopped("the arm took no command: its program has ended, by its watchdog or by somebody's hand")

    def close(self) -> None:
        """Stop the tool, then the program, if need be through the dashboard, then hang up.

        Raises:
            ArmStopped: the arm did not confirm that it stopped.
        """
        answered = _within(_STOP, self._halt)
        stopped = self._listener.idle() or stop_program(self._host) or self._ended(answered)
        if answered:  # else a thread is waiting in there still
            self._control.disconnect()
        if not stopped:
            raise ArmStopped(
                f"the arm at {self._host} did not confirm that it stopped. Its own watchdog stops it after "
                f"{self._limits.timeout:g} s; if it moves still, press the emergency stop"
            )

    def _start(self, bare_flange: bool) -> None:
        control = self._control
        try:
            control.reuploadScript()
            until = time.monotonic() + _START
            while not control.isProgramRunning():
                if time.monotonic() > until:
                    raise FovealError(f"the arm at {self._host} did not start the control script within {_START:g} s")
                time.sleep(0.01)
            reach = float(np.linalg.norm(control.getTCPOffset()[:3]))
            watched = control.setWatchdog(1.0 / self._limits.timeout)
        except RuntimeError as error:
            raise FovealError(f"the control script does not run on the arm at {self._host}: {error}") from error
        if reach < _NO_TOOL and not bare_flange:
            raise FovealError(
                "the controller knows of no tool, so the workspace would hold for the bare flange: set the tool centre "
                "point between the finger tips in the installation, or say --bare-flange"
            )
        if not watched:
            raise FovealError(f"the arm at {self._host} did not take the watchdog; nothing was moved")

    def _halt(self) -> None:
        try:
            self._control.speedStop(self._limits.acceleration)
            self._control.stopScript()
        except RuntimeError:  # the connection is lost: the dashboard is asked next, and the watchdog stops the arm
            return

    def _ended(self, answered: bool) -> bool:
        """Whether the connection that moves says so, for when the one that listens is lost."""
        return bool(answered and self._control.isConnected() and not self._control.isProgramRunning())


def _within(seconds: float, work: Callable[[], None]) -> bool:
    """Whether ``work`` was done in time. ur_rtde waits up to five minutes for an answer; it is then left waiting."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
