"""Plain-text tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def laid_out(title: str, rows: Sequence[Sequence[str]]) -> str:
    """A title, and rows below it in columns: the first and the last to the left, numbers between to the right.

    Args:
        title: a line.
        rows: the head first; all of one length.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(_align(row, widths)).rstrip() for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join([title, "", *lines])


def _align(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    last = len(row) - 1
    return [
        cell.ljust(width) if column in (0, last) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
