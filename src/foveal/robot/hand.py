"""The process that holds the connection which moves the arm. ``mover`` starts it by its path; it imports no foveal.

ur_rtde's control interface is kept apart from the policy because of what it does when its connection is lost: it
connects again and again, each time writing to the register that the controller's watchdog looks at, and can't be made
to give up. A process can be killed; then the register falls silent and the watchdog stops the arm. For the same reason
the control script is uploaded here and not by ur_rtde's constructor, which would make it start the script anew after a
lost connection, without the watchdog.

Orders come as lines of JSON, and each is answered by one; where they end, the arm is stopped.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

# Seconds for which the script on the controller keeps a velocity before it looks for another one. It then repeats the
# last one for ever: what ends a motion is the watchdog.
HOLD = 0.008
START = 5.0  # seconds to wait for the script to start


class Hand:
    """ur_rtde's control interface.

    Args:
        host: address of the arm.
        frequency: Hz, at which the controller sends its state.
        acceleration: m/s^2, of all motions.
        timeout: seconds, of the controller's watchdog.
    """

    def __init__(self, host: str, frequency: float, acceleration: float, timeout: float) -> None:
        from rtde_control import RTDEControlInterface as Control

        self._acceleration = acceleration
        self._control = Control(host, frequency, Control.FLAG_NO_WAIT | Control.FLAG_NO_EXT_FT)
        self._control.reuploadScript()
        until = time.monotonic() + START
        while not self._control.isProgramRunning():
            if time.monotonic() > until:
                raise RuntimeError(f"the control script did not start within {START:g} s")
            time.sleep(0.01)
        self.tool = self._control.getTCPOffset()
        if not self._control.setWatchdog(1.0 / timeout):
            raise RuntimeError("the controller did not take the watchdog")

    def move(self, twist: list[float]) -> bool:
        """Whether the controller took this velocity of the tool (6,): m/s, then rad/s."""
        return bool(self._control.speedL(twist, self._acceleration, HOLD))

    def stop(self) -> bool:
        """Slow down, then end the program; whether it has ended."""
        self._control.speedStop(self._acceleration)
        self._control.stopScript()
        return bool(self._control.isConnected() and not self._control.isProgramRunning())


def answered(hand: Hand | None, order: dict[str, Any]) -> tuple[Hand | None, dict[str, Any]]:
    """The hand and its answer to one order."""
    try:
        if order["do"] == "start":
            hand = Hand(**order["settings"])
            return hand, {"done": True, "tool": hand.tool}
        if hand is None:
            return None, {"done": True}
        done = hand.move(order["twist"]) if order["do"] == "move" else hand.stop()
        return hand, {"done": done}
    except RuntimeError as error:
        return hand, {"done": False, "error": str(error)}


def main() -> None:
    """Obey until the orders end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives the orders
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # ur_rtde's own messages
    hand = None
    for line in sys.stdin:
        hand, answer = answered(hand, json.loads(line))
        print(json.dumps(answer), file=answers, flush=True)
    if hand is not None:
        answered(hand, {"do": "stop"})
    os._exit(0)  # the interface's destructor would wait for its threads


if __name__ == "__main__":
    main()
