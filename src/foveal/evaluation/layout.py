"""Plain-text tables for a terminal, and numbers and lists in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def laid_out(title: str, rows: Sequence[Sequence[str]]) -> str:
    """A title, and rows below it in columns: the first and the last to the left, numbers between to the right.

    Args:
        title: a line.
        rows: the head first; all of one length.
    """
    head, *body = _lines(rows, to_the_left=(0, len(rows[0]) - 1))
    return "\n".join([title, "", head, "-" * len(head), *body])


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns: the first to the left, the others to the right."""
    head, *body = lines = _lines(rows, to_the_left=(0,))
    return "\n".join([head, "-" * max(map(len, lines)), *body])


def _lines(rows: Sequence[Sequence[str]], to_the_left: Collection[int]) -> list[str]:
    """Rows with their cells below each other; those of the columns that are not named stand to the right."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in to_the_left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def number(value: float) -> str:
    """To three digits or the whole number, thousands apart: ``"0.123"``, ``"12.3"``, ``"1,234"``."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def signed(value: float) -> str:
    """The same of a difference: ``"+12.3"``."""
    return f"+{number(value)}" if value >= 0 else number(value)


def listed(names: Sequence[str]) -> str:
    """``"a, b and c"``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def duration(seconds: float) -> str:
    """Rounded as one would say it: ``"42 seconds"``, ``"14 minutes"``, ``"3 h 20 min"``."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
