"""Bounds of settings, declared in their annotations and checked whenever a configuration is made.

    @dataclass(frozen=True)
    class MyConfig(Bounded, section="mine"):
        period: Annotated[int, at_least(1)] = 2
        mode: Annotated[str, one_of("fast", "slow")] = "fast"

Floating point settings must be finite whatever their bounds. A dataclass that is not ``Bounded``, such as a plug-in's,
is not checked.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from foveal.errors import FovealError
from foveal.registry import Registry, nearest


@dataclass(frozen=True)
class Interval:
    """Numbers between two ends.

    Attributes:
        low, high: the ends; infinite where there is none.
        open_low, open_high: whether the end itself is excluded.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __str__(self) -> str:
        if self.low == -math.inf and self.high == math.inf:
            return "a finite number"
        if self.high == math.inf:
            return f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        return f"in {'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return math.isfinite(value) and above and (value < self.high if self.open_high else value <= self.high)


@dataclass(frozen=True)
class Names:
    """One of some names.

    Attributes:
        known: gives the names; it is called late, because registries fill themselves on first use.
    """

    known: Callable[[], Iterable[str]]


@dataclass(frozen=True)
class Matching:
    """Text of a certain form.

    Attributes:
        pattern: regular expression that all of the text must match.
        words: the pattern in words.
    """

    pattern: str
    words: str


@dataclass(frozen=True)
class Anything:
    """No bound, because the value is checked elsewhere.

    Attributes:
        why: where, for readers of the code.
    """

    why: str


Bound = Interval | Names | Matching | Anything

FINITE = Interval()
POSITIVE = Interval(0.0, open_low=True)
SHARE = Interval(0.0, 1.0)
"""[0, 1]."""
PART = Interval(0.0, 1.0, open_high=True)
"""[0, 1): a share that is never all."""
STEP = Interval(0.0, 1.0, open_low=True)
"""(0, 1]: a share that is never nothing, such as that of a moving average."""

DEVICE = Matching(r"auto|cpu|cuda(:\d+)?", "'auto', 'cpu' or 'cuda'")


def at_least(low: float) -> Interval:
    """Numbers from ``low`` on."""
    return Interval(low)


def one_of(*names: str) -> Names:
    """One of these names."""
    return Names(lambda: names)


def registered(registry: Registry[Any]) -> Names:
    """A name that is registered when the configuration is made."""
    return Names(registry.names)


class Bounded:
    """A dataclass whose settings are checked against their annotations when it is made.

    Subclasses name their section, with which messages begin: ``class SACConfig(Bounded, section="sac")``. A
    ``__post_init__`` of a subclass calls this one first.

    Raises:
        FovealError: a setting is out of its bounds.
    """

    section: ClassVar[str] = ""

    def __init_subclass__(cls, section: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if section is not None:
            cls.section = section

    def __post_init__(self) -> None:
        check(self, self.section)


def check(settings: Any, section: str = "") -> None:
    """Compare every setting with the bounds in its annotation.

    Raises:
        FovealError: one is out of its bounds; the message names setting, value and what is allowed.
    """
    for name, bounds in bounds_of(settings.__class__).items():
        _check(getattr(settings, name), bounds, f"{section}.{name}" if section else name)


@functools.lru_cache(maxsize=1024)  # annotations take as long to read as a small configuration takes to make
def bounds_of(kind: type) -> dict[str, tuple[Bound, ...]]:
    """The bounds of each setting of a dataclass. Those of a tuple are for its entries."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: tuple(_declared(hints[field.name])) for field in dataclasses.fields(kind)}


def _declared(hint: Any) -> list[Bound]:
    """The bounds in an annotation, and in the parts of a union or a tuple."""
    if typing.get_origin(hint) is typing.Annotated:
        return [m for m in hint.__metadata__ if isinstance(m, Bound)] + _declared(hint.__origin__)
    if typing.get_origin(hint) in {types.UnionType, typing.Union, tuple}:
        return [bound for part in dict.fromkeys(typing.get_args(hint)) for bound in _declared(part)]
    return []


def _check(value: Any, bounds: tuple[Bound, ...], name: str) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, tuple):
        for entry in value:
            _check(entry, bounds, name)
    elif isinstance(value, int | float):
        for allowed in [b for b in bounds if isinstance(b, Interval)] or [FINITE] * isinstance(value, float):
            if value not in allowed:
                raise FovealError(f"{name} must be {allowed}, not {value!r}")
    elif isinstance(value, str):
        _check_text(value, bounds, name)


def _check_text(value: str, bounds: tuple[Bound, ...], name: str) -> None:
    for bound in bounds:
        if isinstance(bound, Names) and value not in (known := list(bound.known())):
            raise FovealError(f"{name} is {value!r}: {nearest(value, known)}")
        if isinstance(bound, Matching) and re.fullmatch(bound.pattern, value) is None:
            raise FovealError(f"{name} is {value!r}; use {bound.words}")
