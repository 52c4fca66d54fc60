"""Robotiq's 2F-85, 2F-140 and Hand-E, through their URCap on the arm's controller.

The URCap answers lines of ASCII on port 63352: ``SET NAME VALUE [NAME VALUE ...]`` with ``ack``, ``GET NAME`` with
``NAME VALUE``; the names are those of the registers in the gripper's manual without their first letter (ACT and STA for
activation, GTO to go, POS, SPE, FOR for position, speed and force from 0 to 255, FLT for faults).
"""

from __future__ import annotations

import socket
import time

from foveal.errors import FovealError
from foveal.robot.stops import ArmStopped

PORT = 63352
CLOSED = 255  # of POS; 0 is open
ACTIVE = 3  # of STA
_ANSWER = 0.2  # seconds to wait for a line
_ACTIVATION = 10.0  # seconds


class Robotiq:
    """A gripper of Robotiq's.

    One that has not been activated since power came on is activated: it then opens and closes once, fully.

    Args:
        host: address of the arm, whose controller has the URCap.
        speed, force: 0 to 255, as in the manual.
        port: of the URCap.

    Raises:
        FovealError: the URCap does not answer, the gripper has a fault, or it does not become active.
    """

    measures = True

    def __init__(self, host: str, speed: int = 255, force: int = 50, port: int = PORT) -> None:
        self._speed, self._force = speed, force
        try:
            self._socket = socket.create_connection((host, port), timeout=_ANSWER)
        except OSError as error:
            raise FovealError(
                f"no Robotiq gripper answers at {host}, port {port} ({error}): its URCap must be installed and set up"
            ) from error
        self._lines = self._socket.makefile("rb")
        try:
            self._activate()
        except (ArmStopped, FovealError) as error:
            self.disconnect()
            raise FovealError(str(error)) from error

    def grip(self, close: bool) -> None:
        self._set(POS=CLOSED if close else 0, SPE=self._speed, FOR=self._force, GTO=1)

    def opening(self) -> float:
        return 1.0 - self._get("POS") / CLOSED

    def disconnect(self) -> None:
        self._lines.close()
        self._socket.close()

    def _activate(self) -> None:
        if self._get("STA") != ACTIVE:
            self._set(ACT=0)
            self._set(ACT=1)
        until = time.monotonic() + _ACTIVATION
        while self._get("STA") != ACTIVE:
            if time.monotonic() > until:
                raise FovealError(f"the Robotiq gripper did not become active (fault {self._get('FLT')})")
            time.sleep(0.02)

    def _set(self, **values: int) -> None:
        answer = self._ask("SET " + " ".join(f"{name} {value}" for name, value in values.items()))
        if answer != "ack":
            raise ArmStopped(f"the Robotiq gripper answered {answer!r} to an order")

    def _get(self, name: str) -> int:
        answer = self._ask(f"GET {name}").split()
        if len(answer) != 2 or answer[0] != name or not answer[1].isdecimal():
            raise ArmStopped(f"the Robotiq gripper answered {' '.join(answer)!r} to a question for {name}")
        return int(answer[1])

    def _ask(self, line: str) -> str:
        try:
            self._socket.sendall(line.encode() + b"\n")
            answer = self._lines.readline()
        except OSError as error:
            raise ArmStopped(f"the Robotiq gripper does not answer: {error}") from error
        if not answer:
            raise ArmStopped("the Robotiq gripper hung up")
        return answer.decode("ascii", "replace").strip()
