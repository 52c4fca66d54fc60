"""Commands of two words, such as ``foveal arm run``: subcommands of tyro's, and one line for an unknown word."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias, Union

import tyro

from foveal.errors import FovealError
from foveal.registry import nearest

Verbs: TypeAlias = Mapping[str, tuple[type, Callable[[Any], object]]]
"""Second word -> a dataclass of its options, and what does it."""


def do_verb(command: str, verbs: Verbs, arguments: Sequence[str]) -> None:
    """Do what the verb that was asked for does; arguments and errors as for ``parse``."""
    options = parse(command, {name: kind for name, (kind, _) in verbs.items()}, arguments)
    dict(verbs.values())[type(options)](options)


def parse(command: str, verbs: Mapping[str, Any], arguments: Sequence[str]) -> Any:
    """The options of the verb that was asked for.

    Args:
        command: the first word.
        verbs: second word -> a dataclass of its options, whose docstring is the help, or an instance with other
            defaults.
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
    choices = [_choice(name, options) for name, options in verbs.items()]
    alone = Annotated[None, tyro.conf.Suppress]  # a union of one class would be no choice
    every: Any = Union[(*choices, alone)]
    return tyro.cli(every, args=arguments, prog=f"foveal {command}", config=(tyro.conf.OmitSubcommandPrefixes,))


def _choice(name: str, options: Any) -> Any:
    if isinstance(options, type):
        return Annotated[options, tyro.conf.subcommand(name)]
    return Annotated[type(options), tyro.conf.subcommand(name, default=options)]
