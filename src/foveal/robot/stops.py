"""Why an arm stands still, and how a person lets it go on."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from foveal.errors import FovealError
from foveal.robot.optional import optional

RTDE_PORT, DASHBOARD_PORT = 30004, 29999
# Bits of RTDE's safety_status_bits that mean that the arm must not move ("RTDE guide", Universal Robots).
SAFETY_BITS = {
    2: "is in protective stop",
    3: "is in recovery mode",
    4: "is in safeguard stop",
    5: "is in emergency stop, by the system",
    6: "is in emergency stop, by its own button",
    7: "is in emergency stop",
    8: "has violated a safety limit",
    9: "has a safety fault",
    10: "is stopped for safety",
}
RUNNING = 7  # robot_mode with power on and brakes released
_ANSWER = 2.0  # seconds to wait for an answer on the network
_RELEASE = 2.0  # seconds to wait until a protective stop is over


class ArmStopped(FovealError):
    """A run on the arm came to an early end, and the arm was stopped."""


def ur_rtde(module: str) -> Any:
    """A module of ur_rtde.

    Raises:
        FovealError: ur_rtde is not installed.
    """
    return optional(module, "ur", "a real arm")


def check_reachable(host: str, *ports: int) -> None:
    """Ask before ur_rtde does: its constructors wait for minutes, and can't be interrupted.

    Raises:
        FovealError: nothing answers.
    """
    for port in ports:
        try:
            socket.create_connection((host, port), timeout=_ANSWER).close()
        except OSError as error:
            raise FovealError(
                f"no arm answers at {host}, port {port} ({error}); check the address, the network, and the services "
                "in the controller's security settings"
            ) from error


def trouble(safety_bits: int, mode: int) -> str | None:
    """Why the arm may not move, as the rest of a sentence that begins with "the arm", or None."""
    for bit, meaning in SAFETY_BITS.items():
        if safety_bits >> bit & 1:
            return meaning
    if mode != RUNNING:
        return f"is not running (robot mode {mode}): switch it on and release its brakes"
    return None


def advice(safety_bits: int, host: str) -> str:
    """What to do about it: the end of an error message."""
    if safety_bits >> 2 & 1:
        return f"; find out why, clear the way, then: foveal arm unlock --host {host}"
    return ""


def stop_program(host: str) -> bool:
    """Ask the dashboard to stop whatever program runs or pauses; whether it says that none does any more."""
    dashboard = ur_rtde("dashboard_client").DashboardClient(host)
    try:
        dashboard.connect()
        dashboard.send("stop\n")  # its stop() takes it for an error if there is nothing to stop
        dashboard.receive()
        return str(dashboard.programState()).startswith("STOPPED")
    except RuntimeError:  # there is no dashboard
        return False
    finally:
        dashboard.disconnect()


def unlock(host: str, confirmed: Callable[[str], bool]) -> bool:
    """Release a protective stop, if a person confirms it. The program that ran is ended first: nothing moves on.

    Args:
        host: address of the arm.
        confirmed: is asked once with the controller's safety status; only True unlocks.

    Returns:
        Whether it was unlocked.

    Raises:
        FovealError: the arm does not answer, is not in protective stop, or refuses. It does so in the first 5 seconds.
    """
    check_reachable(host, DASHBOARD_PORT)
    dashboard = ur_rtde("dashboard_client").DashboardClient(host)
    try:
        dashboard.connect()
        status = dashboard.safetystatus()
        if "PROTECTIVE_STOP" not in status:
            raise FovealError(f"there is no protective stop to unlock ({status})")
        if not confirmed(status):
            return False
        stop_program(host)
        dashboard.closeSafetyPopup()
        dashboard.unlockProtectiveStop()
        return _released(dashboard)
    except RuntimeError as error:
        raise FovealError(f"the arm at {host} was not unlocked: {error}") from error
    finally:
        dashboard.disconnect()


def _released(dashboard: Any) -> bool:
    until = time.monotonic() + _RELEASE
    while "PROTECTIVE_STOP" in (status := dashboard.safetystatus()):
        if time.monotonic() > until:
            raise FovealError(f"the arm accepted to unlock, but did not ({status})")
        time.sleep(0.05)
    return True
