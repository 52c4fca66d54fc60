"""Tables of settings: for every field of a configuration, where its value can be observed in what runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Room:
    """What an observation may use: a folder of its own, and a way to watch what the code calls."""

    folder: Path
    patch: pytest.MonkeyPatch

    def watch(self, owner: Any, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Arguments of every call of ``owner.name`` from now on; the calls go through."""
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        real = getattr(owner, name)

        def noted(*arguments: Any, **named: Any) -> Any:
            calls.append((arguments, named))
            return real(*arguments, **named)

        self.patch.setattr(owner, name, noted)
        return calls


class Wire:
    """A setting and what it changes.

    Args:
        values: to try. At least two, or else a constant would pass.
        observe: runs something with the setting at a value and says what came of it.
        expected: what should come of that value; by default the value itself.
    """

    def __init__(
        self, *values: Any, observe: Callable[[Room, Any], Any], expected: Callable[[Any], Any] = lambda value: value
    ) -> None:
        self.values, self.observe, self.expected = values, observe, expected

    def check(self, room: Room, value: Any) -> None:
        assert self.observe(room, value) == self.expected(value)


Wires = Mapping[str, Wire]


def cases(wires: Wires, quick: Callable[[str], bool] = lambda name: True) -> Any:
    """One test for every value of every setting: decorates ``test(room, wire, value)``.

    Args:
        wires: by the name of the setting.
        quick: of which settings they are no slow tests.
    """

    def marks(name: str, value: Any) -> list[pytest.MarkDecorator]:
        return [pytest.mark.bfloat16] * (value == "bfloat16") + [pytest.mark.slow] * (not quick(name))

    parameters = [
        pytest.param(wire, value, id=f"{name}={value}"[:60], marks=marks(name, value))
        for name, wire in wires.items()
        for value in wire.values
    ]
    return pytest.mark.parametrize(("wire", "value"), parameters)


def assert_complete(config: type, wires: Wires) -> None:
    """Every field of ``config`` has a wire with two values that differ, and nothing else has one."""
    fields = {field.name for field in dataclasses.fields(config)}
    assert set(wires) == fields, f"{config.__name__}: give every field an entry of the table, and no other"
    constant = [name for name, wire in wires.items() if len({str(wire.expected(value)) for value in wire.values}) < 2]
    assert not constant, f"{config.__name__}: these would pass with a constant instead of the setting: {constant}"
