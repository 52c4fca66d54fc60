"""Commands of two words, such as ``foveal arm run``: subcommands of tyro's, and one line for an unknown word."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.errors import FovealError
from foveal.registry import nearest

RESUME: Any = ("resume", Annotated[Path | None, tyro.conf.arg(help="run folder to continue")], None)
"""Field of the options of commands that train."""


def parse(command: str, verbs: Mapping[str, type], arguments: Sequence[str]) -> Any:
    """The options of the verb that was asked for.

    Args:
        command: the first word.
        verbs: second word -> a dataclass of its options, whose docstring is the help.
        arguments: what follows the command; nothing asks for help.

    Returns:
        An instance of one of the dataclasses.

    Raises:
        FovealError: another verb.
        SystemExit: after help that was asked for, or after tyro's message about an option.
    """
    arguments = arguments or ["--help"]
    first = arguments[0]
    if first not in {*verbs, "-h", "--help"}:
        raise FovealError(f"unknown command '{command} {first}': {nearest(first, list(verbs))}")
    return tyro.extras.subcommand_cli_from_dict(dict(verbs), args=arguments, prog=f"foveal {command}")


def options_class(name: str, text: str, fields: Sequence[Any]) -> type:
    """A dataclass of options whose defaults depend on a preset.

    Args:
        name: of the class.
        text: help of the command.
        fields: as ``dataclasses.make_dataclass`` takes them.
    """
    hint = "Presets bring defaults of their own: name one before --help."
    return dataclasses.make_dataclass(name, fields, namespace={"__doc__": f"{text}\n\n{hint}"})
