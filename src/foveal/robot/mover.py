"""What moves the arm, and stops it whatever happens."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.robot import hand
from foveal.robot.limits import Limits
from foveal.robot.listener import FREQUENCY, Listener
from foveal.robot.stops import ArmStopped, stop_program, ur_rtde

Array = NDArray[np.float64]

_START = 15.0  # seconds to wait for the control script
_STOP = 1.0  # seconds to wait for the end of the program, once the tool stands
_NO_TOOL = 0.01  # metres: a tool that reaches less far than this is none


class DryMover:
    """Moves nothing: there is no connection that could."""

    def move(self, twist: Array) -> None:
        """Send nothing."""

    def close(self) -> None:
        """There is nothing to stop."""


class ScriptMover:
    """Moves the arm by ur_rtde's script on the controller, which ends by itself when commands stay away.

    Args:
        host: address of the arm.
        listener: says whether the arm has stopped.
        limits: of the run.
        bare_flange: allow a controller that knows of no tool.

    Raises:
        FovealError: the controller refuses, is busy, or knows of no tool.
    """

    def __init__(self, host: str, listener: Listener, limits: Limits, bare_flange: bool = False) -> None:
        ur_rtde("rtde_control")
        if not listener.idle():
            raise FovealError(f"a program is running or paused on the arm at {host}: end it first")
        self._host, self._listener, self._limits = host, listener, limits
        self._hand = _Orders()
        try:
            self._start(bare_flange)
        except BaseException:
            self.close()
            raise

    def move(self, twist: Array) -> None:
        """Take up this velocity (6,) of the tool in the base's frame: m/s, then rad/s.

        Raises:
            ArmStopped: the arm did not take it.
        """
        answer = self._hand.order({"do": "move", "twist": twist.tolist()}, self._limits.timeout)
        if not answer["done"]:
            raise ArmStopped(
                "the arm took no command: its program has ended, by its watchdog, a stop or somebody's hand"
                + _because(answer)
            )

    def close(self) -> None:
        """Stop the tool, then the program, then hang up; where no answer comes, cut the line and ask the dashboard.

        Raises:
            ArmStopped: the arm did not confirm that it stopped.
        """
        said = False
        if self._listener.alive():  # else ur_rtde may be busy connecting again, which keeps the arm moving
            slowing = self._limits.speed / self._limits.acceleration
            said = self._hand.order({"do": "stop"}, slowing + _STOP)["done"]
        self._hand.kill()
        if not (self._listener.idle() or stop_program(self._host) or said):
            raise ArmStopped(
                f"the arm at {self._host} did not confirm that it stopped. Its own watchdog stops it after "
                f"{self._limits.timeout:g} s; if it moves still, press the emergency stop"
            )

    def _start(self, bare_flange: bool) -> None:
        limits = self._limits
        settings = {"host": self._host, "frequency": FREQUENCY}
        settings |= {"acceleration": limits.acceleration, "timeout": limits.timeout}
        answer = self._hand.order({"do": "start", "settings": settings}, _START)
        if not answer["done"]:
            raise FovealError(f"can't take control of the arm at {self._host}{_because(answer)}")
        if float(np.linalg.norm(answer["tool"][:3])) < _NO_TOOL and not bare_flange:
            raise FovealError(
                "the controller knows of no tool, so the workspace would hold for the bare flange: set the tool centre "
                "point between the finger tips in the installation, or say --bare-flange"
            )


class _Orders:
    """The other end of ``hand``: its process, and a thread that waits for its answers."""

    def __init__(self) -> None:
        program = [sys.executable, "-P", str(Path(hand.__file__))]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def order(self, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to an order; where none comes in time, one that says so, and the process is killed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return self._answers.get(timeout=seconds)
        except (OSError, ValueError, queue.Empty):
            self.kill()
            return {"done": False, "error": "the connection that moves it does not answer"}

    def kill(self) -> None:
        """Cut the line: nothing more is sent from here on."""
        assert self._process.stdin is not None
        self._process.kill()
        self._process.wait()
        try:
            self._process.stdin.close()
        except OSError:  # there was something left to write
            return

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(json.loads(line))
        self._answers.put({"done": False, "error": "the connection that moves it has ended"})


def _because(answer: dict[str, Any]) -> str:
    return f": {answer['error']}" if "error" in answer else ""
