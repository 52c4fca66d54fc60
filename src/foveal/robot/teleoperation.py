"""A person moves the tool: from a terminal's keyboard, or with a gamepad. Both are policies, so all limits hold."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.robot.interfaces import Observation
from foveal.robot.optional import optional

SUCCESS, FAILURE, DISCARD, QUIT = "success", "failure", "discarded", "quit"
KEYS: Mapping[str, tuple[int, float]] = {
    "w": (0, 1.0),
    "s": (0, -1.0),
    "a": (1, 1.0),
    "d": (1, -1.0),
    "r": (2, 1.0),
    "f": (2, -1.0),
}
"""Key -> axis of the task's frame, and direction."""
ENDS = {"\n": SUCCESS, "\r": SUCCESS, "n": FAILURE, "x": DISCARD, "q": QUIT}
STOP, GRIP = " ", "g"
HELP = (
    "w s away and back, a d left and right, r f up and down, space stops, g closes and opens the gripper, 1 to 9 name "
    "the skill that follows, Enter ends an episode that succeeded, n one that did not, x throws it away, q quits"
)
# Seconds that a motion lasts after a key's first press, which terminals repeat late, and after later ones.
_FIRST, _REPEAT = 0.6, 0.2
_DEAD = 0.1  # of a stick's way, in which it means nothing


class Teleoperation:
    """What both have in common; an episode goes from ``begin`` to a reason in ``ended``.

    Attributes:
        ended: why the episode is over, or empty.
        skill: number of the skill that is being shown, from 0.
    """

    def __init__(self) -> None:
        self.ended, self.skill, self._close = "", 0, False

    def begin(self) -> None:
        """A new episode: nothing moves, the gripper opens."""
        self.ended, self.skill, self._close = "", 0, False

    def __call__(self, observation: Observation, /) -> NDArray[np.float32]:
        velocity = np.zeros(3) if self.ended else self.velocity()
        return np.array([*velocity, 1.0 if self._close else -1.0], np.float32)

    def velocity(self) -> NDArray[np.float64]:
        """(3,) in [-1, 1], after all that was pressed since it was asked last."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the device back."""


class Keyboard(Teleoperation):
    """Keys of the terminal: one that is held moves the tool, one that is let go stops it within a fifth of a second.

    Args:
        pressed: all characters typed since it was called last.
        clock: seconds.
    """

    def __init__(self, pressed: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._pressed, self._clock = pressed, clock
        self._until = np.zeros(3)
        self._before: dict[str, float] = {}
        self._direction = np.zeros(3)

    def begin(self) -> None:
        super().begin()
        self._pressed()
        self._direction[:] = 0.0

    def velocity(self) -> NDArray[np.float64]:
        now = self._clock()
        for key in self._pressed():
            self._heed(key.lower(), now)
        return np.where(self._until > now, self._direction, 0.0)

    def _heed(self, key: str, now: float) -> None:
        if key in KEYS:
            axis, direction = KEYS[key]
            repeated = now - self._before.get(key, -np.inf) < _FIRST and self._direction[axis] == direction
            self._direction[axis], self._until[axis] = direction, now + (_REPEAT if repeated else _FIRST)
            self._before[key] = now
        elif key == STOP:
            self._direction[:] = 0.0
        elif key == GRIP:
            self._close = not self._close
        elif key in "123456789":
            self.skill = int(key) - 1
        elif key in ENDS:
            self.ended, self._direction[:] = ENDS[key], 0.0


class Gamepad(Teleoperation):
    """The first gamepad, laid out as an Xbox controller.

    The left stick moves in the plane, the right one up and down; A closes and opens the gripper, the shoulder buttons
    go to the skill before and the next, Start ends an episode that succeeded, B one that did not, Y throws it away,
    Back quits.

    Raises:
        FovealError: the extra is missing, or there is no gamepad.
    """

    BUTTONS: Mapping[int, str] = {7: SUCCESS, 1: FAILURE, 3: DISCARD, 6: QUIT}
    A, LEFT, RIGHT = 0, 4, 5
    STICKS = (1, 0, 4)  # axes for x, y, z; all are up and left at -1

    def __init__(self) -> None:
        super().__init__()
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # joysticks need no window
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        self._pygame: Any = optional("pygame", "gamepad", "a gamepad")
        self._pygame.init()
        if not self._pygame.joystick.get_count():
            self._pygame.quit()
            raise FovealError("there is no gamepad: plug one in, or use the keyboard")
        self._stick = self._pygame.joystick.Joystick(0)

    def velocity(self) -> NDArray[np.float64]:
        for event in self._pygame.event.get():
            if event.type == self._pygame.JOYBUTTONDOWN:
                self._heed(event.button)
            if event.type == self._pygame.JOYDEVICEREMOVED:
                self.ended = FAILURE  # nobody holds the arm any more
        axes = -np.array([self._stick.get_axis(axis) for axis in self.STICKS], np.float64)
        return np.where(self.ended or np.abs(axes) < _DEAD, 0.0, axes)

    def close(self) -> None:
        self._pygame.quit()

    def _heed(self, button: int) -> None:
        if button == self.A:
            self._close = not self._close
        elif button in (self.LEFT, self.RIGHT):
            self.skill = max(0, self.skill + (1 if button == self.RIGHT else -1))
        elif button in self.BUTTONS:
            self.ended = self.BUTTONS[button]


class Terminal:
    """Single characters from the terminal, as they are typed, without waiting for any.

    Raises:
        FovealError: there is no terminal, or this system has none that can do it.
    """

    def __init__(self) -> None:
        if not sys.stdin.isatty() or os.name != "posix":
            raise FovealError("the keyboard needs a terminal of Linux or macOS: use a gamepad, or MODULE:NAME")
        import termios
        import tty

        self._file = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._file)
        tty.setcbreak(self._file)  # Ctrl-C stays what it is

    def __call__(self) -> str:
        typed = b""
        while select.select([self._file], [], [], 0.0)[0]:
            chunk = os.read(self._file, 1024)
            typed += chunk
            if not chunk:
                break
        return typed.decode("ascii", "ignore")

    def close(self) -> None:
        """As it was before."""
        import termios

        termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)
