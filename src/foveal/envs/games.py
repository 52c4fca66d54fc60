"""The Atari games by name, and the extra that brings them."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium

from foveal.errors import FovealError, require
from foveal.registry import nearest

PREFIX = "atari/"
EXTRA = 'Atari needs the extra that brings it: pip install "foveal[atari]"'
OBSERVED = (4, 84, 84)
"""Shape of what an agent sees of a game: four grey frames, oldest first."""
WITHOUT_SINGLE_PLAYER = {"combat", "joust", "maze_craze", "warlords"}


@dataclass(frozen=True)
class Protocol:
    """The rules of a game that published scores differ in.

    Attributes:
        about: where they come from, in a line.
        sticky: probability, in every frame of the emulator, that the action before is carried out again instead.
        frame_limit: frames of the emulator after which a game is cut off.
        own_limits: the same of games that have another one, by ale-py's name.
    """

    about: str
    sticky: float
    frame_limit: int
    own_limits: Mapping[str, int] = field(default_factory=dict)

    def limit(self, env: str) -> int:
        """Frames after which a game is cut off; ``env`` is an id that ``env_id`` gave."""
        return self.own_limits.get(rom(env), self.frame_limit)


PROTOCOLS = {
    "v4": Protocol(
        "Gym's NoFrameskip-v4 at the time of OpenAI Baselines: 100,000 steps of its frame skip, which was 4, but 3 in "
        "Space Invaders.",
        sticky=0.0,
        frame_limit=400_000,
        own_limits={"space_invaders": 300_000},
    ),
    "v5": Protocol(
        "Gymnasium's v5, after Machado et al. (2018): sticky actions and half an hour of play.",
        sticky=0.25,
        frame_limit=108_000,
    ),
}


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


def protocol_rules(
    env: str, protocol: str = "v4", sticky: float | None = None, frame_limit: int | None = None
) -> dict[str, Any]:
    """Sticky actions and limit of frames of a protocol, each replaced where a number is given.

    Args:
        env: an id that ``env_id`` gave.
        protocol: a name in ``PROTOCOLS``.
        sticky: probability that an action is repeated, in [0, 1).
        frame_limit: frames of the emulator.

    Raises:
        FovealError: there is no such protocol, or a number is out of its range.
    """
    if protocol not in PROTOCOLS:
        raise FovealError(f"unknown protocol {protocol!r}: {nearest(protocol, list(PROTOCOLS))}")
    if sticky is not None and not 0 <= sticky < 1:
        raise FovealError(f"sticky must be in [0, 1), not {sticky}")
    if frame_limit is not None and frame_limit < 1:
        raise FovealError(f"frame_limit must be at least 1, not {frame_limit}")
    named = PROTOCOLS[protocol]
    return {
        "sticky": named.sticky if sticky is None else sticky,
        "frame_limit": named.limit(env) if frame_limit is None else frame_limit,
    }


def rules(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``foveal.atari.vector.AtariVector`` that show what an agent's ``env_options`` say."""
    return {
        "life_loss": options["life_loss"],
        "repeat_first": options["repeat_first"],
        "size": options["image_size"],
        "sticky": options["sticky"],
        "frame_limit": options["frame_limit"],
    }


@functools.cache  # asks an emulator, which takes as long to start as many frames take to play
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
