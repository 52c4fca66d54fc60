"""The bar that long work shows, with the time left."""

from __future__ import annotations

from types import TracebackType

from tqdm import tqdm


class Progress:
    """Agent steps done out of the target, and the latest returns.

    Args:
        start: agent steps done before.
        target: agent steps at the end.
        visible: show it; on standard error.
    """

    def __init__(self, start: int, target: int, *, visible: bool) -> None:
        self._bar = tqdm(
            total=target,
            initial=start,
            disable=not visible,
            desc="train",
            unit="step",
            dynamic_ncols=True,
            smoothing=0.05,
        )
        self._facts: dict[str, str] = {}

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def advance(self, steps: int) -> None:
        """Move to ``steps``."""
        self._bar.update(steps - self._bar.n)

    def refresh(self) -> None:
        """Keep the clock going while many updates follow one step."""
        self._bar.update(0)

    def told(self, **returns: float) -> None:
        """Show a return beside the bar."""
        self._facts |= {name: f"{value:.0f}" for name, value in returns.items()}
        self._bar.set_postfix(self._facts, refresh=False)
