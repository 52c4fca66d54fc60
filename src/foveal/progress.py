"""The progress bar of long work, and Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0  # where the bar can't overwrite itself, as in a log file


def seconds_between_draws() -> float:
    """How often a bar is drawn."""
    return 0.1 if sys.stderr.isatty() else SECONDS_BETWEEN_LINES


def watched(items: Iterable[T], total: int, what: str, *, visible: bool, unit: str = "step") -> Iterator[T]:
    """The items as they come, with a bar.

    Args:
        items: anything.
        total: how many there will be.
        what: a word for what is being done.
        visible: whether to show the bar, on standard error.
        unit: a noun for an item.
    """
    interval = seconds_between_draws()
    bar = tqdm(items, what, total, unit=unit, disable=not visible, dynamic_ncols=True, mininterval=interval)
    return iter(bar)


class Progress:
    """A bar of the agent steps taken, with the latest returns.

    Args:
        start: agent steps taken before.
        target: agent steps at the end.
        visible: whether to show the bar, on standard error.
        what: a word for what is being done.
        unit: a noun for a step.
    """

    def __init__(self, start: int, target: int, *, visible: bool, what: str = "train", unit: str = "step") -> None:
        self._bar = tqdm(
            total=target,
            initial=start,
            disable=not visible,
            desc=what,
            unit=unit,
            dynamic_ncols=True,
            smoothing=0.05,
            mininterval=seconds_between_draws(),
        )
        self._facts: dict[str, str] = {}

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()

    def advance(self, steps: int) -> None:
        """Move to ``steps``."""
        self._bar.update(steps - self._bar.n)

    def refresh(self) -> None:
        """Update the clock while many updates follow one step."""
        self._bar.update(0)

    def show(self, **numbers: float) -> None:
        """Show a return or other numbers after the bar."""
        self._facts |= {name: f"{value:.4g}" for name, value in numbers.items()}
        self._bar.set_postfix(self._facts, refresh=False)


class Interruption:
    """Delays Ctrl-C within ``with``, because a step that is cut in two could not be saved. A second one stops at once.

    It works in the main thread, unless something else handles the signal.

    Attributes:
        asked: whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._installed = False

    def __enter__(self) -> Interruption:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                signal.signal(signal.SIGINT, self._note)
                self._installed = True
            except ValueError:  # not the main thread, which alone gets the signal
                pass
        return self

    def __exit__(self, *_: Any) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def raise_if_asked(self) -> None:
        """Raise the delayed interrupt, now that the work is safe.

        Raises:
            KeyboardInterrupt: if Ctrl-C was pressed.
        """
        if self.asked:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            signal.default_int_handler(number, frame)
        self.asked = True
        print("\nstopping after this step; press Ctrl-C once more to stop at once", file=sys.stderr)
