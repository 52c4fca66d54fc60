"""What an audit was asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from foveal.auditing.conditions import Condition


@dataclass(frozen=True)
class Asked:
    """What an audit was asked for, beside the policy and its world; arguments of ``audit``."""

    changes: tuple[str, ...] | None
    severities: tuple[int, ...]
    episodes: int
    seed: int
    longest: int | None
    shield_name: str | None
    shield: Any
    progress: bool
    maps: tuple[str, ...] | None = None
    of: str | None = None

    def both(self, tried: Sequence[Condition]) -> list[Condition]:
        """Conditions without the shield, and again behind it where there is one."""
        return [*tried, *([] if self.shield is None else [replace(one, shielded=True) for one in tried])]


def tell(count: int, each: str, seconds: float) -> None:
    """How long it will take, before it begins.

    Args:
        count: conditions.
        each: what of each, in words.
        seconds: of all that are left.
    """
    minutes = round(seconds / 60)
    told = "less than a minute" if minutes < 1 else f"about {minutes} minute{'s' if minutes > 1 else ''}"
    print(f"{count} conditions of {each}: {told}", file=sys.stderr)
