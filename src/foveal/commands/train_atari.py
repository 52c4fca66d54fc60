"""``foveal train atari/GAME``: the options of Atari agents, which PPO trains."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.atari import games
from foveal.atari.config import LEARNER, STEPS, AtariPPOConfig, HardwareConfig, configure
from foveal.commands.options import carry_out, checked, named, read_settings
from foveal.errors import FovealError
from foveal.training import RunOptions, Trainer

NAMES = ("learner", "encoder", "preset")


def asked_for(arguments: Sequence[str]) -> bool:
    """Whether an Atari game or its learner was asked for, on the command line or in the configuration file.

    Raises:
        FovealError: the learner does not go with the environment.
    """
    names, _ = _names(arguments)
    env, learner = names.get("env"), names.get("learner")
    if isinstance(env, str) and games.is_atari(env):
        if learner not in (None, LEARNER):
            raise FovealError(f"{env} is trained by learner {LEARNER!r}, not {learner!r}: leave --learner out")
        return True
    if learner == LEARNER and env is not None:
        raise FovealError(
            f"learner {LEARNER!r} trains Atari agents, e.g. foveal train atari/breakout: leave --learner out for {env}"
        )
    if learner is None and isinstance(env, str) and (game := games.meant(env)) is not None:
        raise FovealError(f"Atari games are called atari/...: foveal train {game}, instead of {env}")
    return learner == LEARNER


def main(arguments: Sequence[str]) -> None:
    """Train a new run."""
    names, settings = _names(arguments)
    options: Any = tyro.cli(
        _options_class(names, settings),
        args=arguments,
        prog="foveal train",
        description="Train an Atari agent with PPO. Presets bring defaults of their own: name one before --help.",
    )
    _start(options)


def _names(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What decides about defaults, from the command line or else from the file; and the file's other settings."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    for name in NAMES:
        parser.add_argument(f"--{name}")
    known, others = parser.parse_known_args(list(arguments))
    settings = {} if known.config is None else read_settings(known.config)
    names = {key: settings.pop(key) for key in ("env", *NAMES, "seed", "steps") if key in settings}
    names |= {name: value for name in NAMES if (value := getattr(known, name)) is not None}
    env = _env(others)
    return (names if env is None else names | {"env": env}), settings


def _env(others: Sequence[str]) -> str | None:
    """The environment: the first argument, or one behind options that is an Atari game and no option's value."""
    if others and not others[0].startswith("-"):
        return others[0]
    pairs = itertools.pairwise(others)
    return next((word for flag, word in pairs if games.is_atari(word) and not flag.startswith("--")), None)


def _options_class(names: Mapping[str, Any], settings: Mapping[str, Any]) -> type:
    """A dataclass of all options, with the preset's and the file's values as defaults."""
    games.require_extra()
    from foveal.atari.training import RUN

    given = {key: checked(key, value) for key, value in names.items()}
    settings = dict(settings)
    run = RunOptions.from_settings(settings.pop("run", {}), RUN)
    env, preset = given.get("env"), given.get("preset", "paper")
    encoder, seed = given.get("encoder", "sparse-fls"), given.get("seed", 0)
    config = configure(env or "atari/breakout", encoder, preset, seed, settings)
    text = Annotated[str, tyro.conf.arg(metavar="ENV", help="game: atari/breakout, atari/ms_pacman and so on")]
    positional = tyro.conf.Positional[text]
    fields: list[Any] = [
        ("env", positional) if env is None else ("env", positional, env),
        ("learner", named("learner: Atari agents have ppo alone"), LEARNER),
        ("encoder", named("network: nature, sparse-fls and so on"), encoder),
        ("preset", named("starting point: paper, compact or debug"), preset),
        ("seed", Annotated[int, tyro.conf.arg(help="of everything random")], seed),
        ("steps", Annotated[int, tyro.conf.arg(help="agent steps, over all games")], given.get("steps", STEPS[preset])),
        ("out", Annotated[Path | None, tyro.conf.arg(help="new run folder (default: runs/ENV-ENCODER-SEED)")], None),
        ("config", Annotated[Path | None, tyro.conf.arg(help="YAML file of settings, as a run's config.yaml")], None),
        ("resume", Annotated[Path | None, tyro.conf.arg(help="run folder to continue")], None),
        ("run", tyro.conf.OmitArgPrefixes[RunOptions], run),
        ("training", HardwareConfig, config.training),
        (LEARNER, AtariPPOConfig, config.ppo),
    ]
    return dataclasses.make_dataclass("TrainAtari", fields)


def _start(options: Any) -> None:
    from foveal.atari.agent import AtariAgent
    from foveal.atari.training import GameWork

    if options.steps < 1:
        raise FovealError(f"--steps must be at least 1, not {options.steps}")
    sections = {"training": options.training, LEARNER: options.ppo}
    config = configure(options.env, options.encoder, options.preset, options.seed, sections)
    run = options.out or Path("runs") / f"{config.env.replace('/', '-')}-{config.encoder}-{config.seed}"
    trainer = Trainer(GameWork(AtariAgent.from_config(config)), options.run, run=run)
    print(f"training {config.encoder} on {config.env}; everything goes to {run}")
    carry_out(trainer, options.steps, run)
    print(f"done: {run}\nnext: foveal evaluate {run} --random, or foveal explain {run} --video {run.name}.mp4")
