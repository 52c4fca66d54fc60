"""What the commands that train have in common: settings from a file, options with a text, and how a run ends."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from foveal.errors import FovealError
from foveal.training import Trainer
from foveal.training.threads import busy

NUMBERS = ("seed", "steps")


def checked(name: str, value: Any) -> Any:
    """A value that decides which options there are.

    Raises:
        FovealError: it has the wrong type.
    """
    kind = int if name in NUMBERS else str
    if not (isinstance(value, kind) and not isinstance(value, bool)) and (name != "env" or value is not None):
        raise FovealError(f"{name} must be {'a whole number' if kind is int else 'a name'}, not {value!r}")
    return value


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a YAML file.

    Raises:
        FovealError: it can't be read, or holds something else.
    """
    try:
        settings = yaml.safe_load(path.read_text())
    except OSError as error:
        raise FovealError(f"can't read the configuration {path}: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise FovealError(f"the configuration {path} is not YAML: {error}") from error
    if not isinstance(settings, Mapping):
        raise FovealError(f"{path} must hold settings by name, as a run's config.yaml does")
    return dict(settings)


def ahead(arguments: Sequence[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """What is said of some options, on which it depends which others there are; and all other arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name in names:
        parser.add_argument(f"--{name}")
    known, others = parser.parse_known_args(list(arguments))
    return vars(known), others


def preset_of(arguments: Sequence[str]) -> str:
    """What ``--preset`` says, on which the defaults of other options depend."""
    said, _ = ahead(arguments, "preset")
    return said.get("preset", "compact")


def named(text: str) -> Any:
    """The type of a string option with this text in the help."""
    return Annotated[str, tyro.conf.arg(help=text)]


def carry_out(trainer: Trainer, steps: int | None, run: Path) -> None:
    """Train; say before where the machine is busy, and how to go on where Ctrl-C ends it."""
    if (said := busy()) is not None:
        print(said)
    try:
        trainer.train(steps)
    except KeyboardInterrupt:
        print(f"to go on: foveal train --resume {run}")
        raise
