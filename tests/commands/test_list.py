"""``foveal list``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from foveal.cli import main
from foveal.commands.list import KINDS
from foveal.envs.family import FAMILIES
from foveal.learners import LEARNERS
from foveal.methods import METHODS, Method
from foveal.networks.encoders import ENCODERS
from foveal.registry import Registry


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["list", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "environments"])
def test_every_name_has_a_line_of_its_own(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    entries = KINDS[kind]()
    assert all(len(about) > 10 for about in entries.values()), entries
    assert len(set(entries.values())) == len(entries)
    shown = listed(capsys, kind)
    assert re.findall(r"^  (\S+)  ", shown, re.MULTILINE) == list(entries)
    assert shown.startswith(f"{kind}\n")


@pytest.mark.parametrize("registry", [LEARNERS, METHODS], ids=lambda registry: registry.kind)
def test_learners_and_methods_name_their_paper(registry: Registry[Any]) -> None:
    without = [name for name in registry.names() if not re.search(r"(19|20)\d\d\b", registry.about(name))]
    assert set(without) <= {"none", "foveal"}  # the latter is ours


def test_environments_are_listed_with_their_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(listed(capsys, "environments").split())
    for family in FAMILIES.names():
        assert f"{family}/ " in shown
    assert "walker-walk" in shown
    assert "breakfast" in shown
    assert "kung_fu_master" in shown


def test_everything_fits_the_terminal_and_long_entries_say_where_the_rest_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = listed(capsys)
    assert max(map(len, shown.splitlines())) <= 60
    assert "(all: foveal list environments)" in shown
    assert [line for line in shown.splitlines() if line in KINDS] == list(KINDS)


def test_an_unknown_kind_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "method"]) == 2
    assert "'methods'" in capsys.readouterr().err


def test_a_plug_in_is_listed_by_its_own_docstring(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Settings:
        """None."""

    class Mine(Method):
        """What I made
        (Me 2026).

        Not this.
        """

        Config = Settings

    class Other(Method):
        """Beside it."""

        Config = Settings

    METHODS.names()
    monkeypatch.setattr(METHODS, "_entries", METHODS._entries | {"mine": Mine, "other": Other})
    assert METHODS.about("mine") == "What I made (Me 2026)."
    assert ENCODERS.about("nature") != ENCODERS.about("sparse-fls")
