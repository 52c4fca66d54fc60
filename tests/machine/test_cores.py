"""How many cores a process counts as its own."""

from __future__ import annotations

import os

import pytest

from foveal.machine.cores import available


def test_cores_are_those_that_the_process_is_confined_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert available() == 2


def test_where_the_system_does_not_confine_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert available() == 7


def test_where_nothing_is_known_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available() == 1
