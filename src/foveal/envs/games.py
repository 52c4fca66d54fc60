"""The Atari games by name, and the extra that brings them."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import gymnasium

from foveal.errors import FovealError, require
from foveal.registry import nearest

PREFIX = "atari/"
EXTRA = 'Atari needs the extra that brings it: pip install "foveal[atari]"'
OBSERVED = (4, 84, 84)
"""Shape of what an agent sees of a game: four grey frames, oldest first."""
WITHOUT_SINGLE_PLAYER = {"combat", "joust", "maze_craze", "warlords"}


def is_atari(env: str) -> bool:
    """Whether an environment's id names an Atari game."""
    return env.startswith(PREFIX)


def require_extra() -> None:
    """Import what the extra brings.

    Raises:
        FovealError: it is not installed.
    """
    require("ale_py", EXTRA)


@functools.cache
def known_games() -> list[str]:
    """Names of the games that one player can play, such as ``"ms_pacman"``, sorted.

    Raises:
        FovealError: the extra is missing.
    """
    require_extra()
    from ale_py import roms

    return sorted(set(roms.get_all_rom_ids()) - WITHOUT_SINGLE_PLAYER)


def env_id(name: str) -> str:
    """The id of a game, however it is spelt: ``atari/MsPacman`` and ``atari/ms-pacman`` are ``atari/ms_pacman``.

    Raises:
        FovealError: the extra is missing, or there is no such game; the message holds the nearest names.
    """
    wanted = name.removeprefix(PREFIX)
    by_letters = {_letters(game): game for game in known_games()}
    game = by_letters.get(_letters(wanted))
    if wanted in WITHOUT_SINGLE_PLAYER:
        raise FovealError(f"the Atari game {wanted!r} needs two players, and there is one agent: choose another")
    if game is None:
        raise FovealError(f"unknown Atari game {wanted!r}: {nearest(wanted.lower(), known_games())}")
    return PREFIX + game


def meant(env: str) -> str | None:
    """The id of the game that another spelling means: ``pong``, ``ALE/Pong-v5``, ``PongNoFrameskip-v4``.

    None where there is none. Names that may be a user's own environment, such as ``Pong-v0``, mean nothing here.
    """
    match = re.fullmatch(r"ALE/(\w+)-v\d+|(\w+?)(?:NoFrameskip|Deterministic)-v\d+|(\w+)", env)
    if match is None or (match[3] is not None and env in gymnasium.registry):
        return None
    try:
        from ale_py import roms
    except ModuleNotFoundError:
        return None
    name = next(part for part in match.groups() if part is not None)
    return next((PREFIX + game for game in roms.get_all_rom_ids() if _letters(game) == _letters(name)), None)


def rom(env: str) -> str:
    """What ale-py calls the game of an id that ``env_id`` gave."""
    return env.removeprefix(PREFIX)


def rules(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``foveal.atari.vector.AtariVector`` that show what an agent's ``env_options`` say."""
    return {
        "life_loss": options["life_loss"],
        "repeat_first": options["repeat_first"],
        "size": options["image_size"],
    }


def action_count(env: str) -> int:
    """How many actions the game has, of the joystick's 18."""
    from ale_py import ALEInterface, LoggerMode, roms

    ALEInterface.setLoggerMode(LoggerMode.Error)
    console = ALEInterface()
    path = roms.get_rom_path(rom(env))
    assert path is not None  # the id is one that ``env_id`` gave
    console.loadROM(path)
    return len(console.getMinimalActionSet())


def _letters(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()
