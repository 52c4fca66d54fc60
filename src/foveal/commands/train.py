"""``foveal train``: options are built from the learner and the method that are asked for, so each shows its own."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.agent import Agent
from foveal.atari.training import work_of
from foveal.commands.options import ahead, carry_out, checked, named, read_settings
from foveal.commands.plugins import import_plugins
from foveal.config.environment import usual_learner
from foveal.config.former import in_todays_words
from foveal.config.presets import REPLAY_STEPS_OF_GAMES, STEPS, STEPS_OF_GAMES
from foveal.config.tree import Config, configure
from foveal.envs import games
from foveal.envs.perturbations import usual_perturbations
from foveal.errors import FovealError
from foveal.learners import LEARNERS
from foveal.loading import resume
from foveal.methods import parts_of
from foveal.training import RunOptions, Trainer

NAMES = ("method", "learner", "preset", "encoder")


def main(arguments: Sequence[str]) -> None:
    """Train a new run, or continue one with ``--resume RUN``."""
    arguments = import_plugins(arguments)
    said, others = ahead(arguments, "resume")
    if "resume" in said:
        _resume(Path(said["resume"]), others)
        return
    names, settings = _names(arguments)
    options = _parse(arguments, names, settings)
    if options.env != names["env"]:  # it stood behind other options, and defaults depend on it
        names["env"] = options.env
        options = _parse(arguments, names, settings)
    _start(options)


def _parse(arguments: Sequence[str], names: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    set_later = re.findall(r"--((?:environment|training)\.[\w-]+)", " ".join(arguments))
    config = _defaults(names, settings, {name.replace("-", "_") for name in set_later})
    options = _options_class(names, settings, config)
    return tyro.cli(options, args=arguments, prog="foveal train", description=_describe(config))


def _resume(run: Path, others: list[str]) -> None:
    parser = argparse.ArgumentParser(prog=f"foveal train --resume {run}", allow_abbrev=False)
    parser.add_argument("--steps", type=int, help="a new total of agent steps (default: what was left)")
    extra = parser.parse_args(others)
    trainer = resume(run)
    done = trainer.work.steps
    if extra.steps is not None and extra.steps <= done:
        raise FovealError(f"{run} is at agent step {done} already: --steps, its new total, must be more")
    print(f"resumed {run} at agent step {done:,} of {extra.steps or trainer.target:,}")
    carry_out(trainer, None if extra.steps is None else extra.steps - done, run)
    print(f"done: {run}")


def _names(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What decides which options there are: from the command line or the configuration file; and its other settings."""
    said, others = ahead(arguments, "config", *NAMES)
    settings = in_todays_words(read_settings(Path(said.pop("config")))) if "config" in said else {}
    given = {key: checked(key, settings.pop(key)) for key in ("env", *NAMES, "seed", "steps") if key in settings}
    env = _env(others)
    return {
        "env": None,
        "preset": "paper",
        "seed": 0,
        **given,
        **said,
        **({} if env is None else {"env": env}),
    }, settings


def _env(others: Sequence[str]) -> str | None:
    """The environment: the first argument, or one behind options that is an Atari game and no option's value."""
    if others and not others[0].startswith("-"):
        return others[0]
    pairs = itertools.pairwise(others)
    return next((word for flag, word in pairs if games.is_atari(word) and not flag.startswith("--")), None)


def _defaults(names: Mapping[str, Any], settings: Mapping[str, Any], later: Collection[str]) -> Config:
    """The preset's and the file's values; ``later`` ones are to be set.

    Raises:
        FovealError: as for ``configure``, or the environment is another name of an Atari game.
    """
    env, learner = names["env"], names.get("learner")
    if learner is None and env is not None and (game := games.meant(env)) is not None:
        raise FovealError(f"Atari games are called atari/...: foveal train {game}, instead of {env}")
    if learner is None and env is not None:
        learner = _usual_learner(env)
    sections = {name: value for name, value in settings.items() if name != "run"}
    encoder = names.get("encoder")
    return configure(
        env or "", names.get("method"), learner, names["preset"], names["seed"], sections, later, encoder=encoder
    )


def _usual_learner(env: str) -> str | None:
    """By the environment's actions. One that can't be made is no reason to show no help: training will say so."""
    try:
        return usual_learner(env)
    except FovealError:
        return None


def _options_class(names: Mapping[str, Any], settings: Mapping[str, Any], config: Config) -> type:
    """A dataclass of all options, with the configuration's values as defaults."""
    run = RunOptions.from_settings(settings.get("run", {}), work_of(config).default_options)
    of_games = STEPS_OF_GAMES if LEARNERS.get(config.learner).on_policy else REPLAY_STEPS_OF_GAMES
    steps = (of_games if games.is_atari(config.env) else STEPS)[config.preset]
    env = names["env"]
    what = "environment: dmc/walker-walk, ur5e/bowl, atari/breakout, or any registered Gymnasium id"
    positional = tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="ENV", help=what)]]
    fields: list[Any] = [
        ("env", positional) if env is None else ("env", positional, env),
        (
            "method",
            named("generalization method of value learners, or several joined by +: sgqn+svea"),
            config.method,
        ),
        ("learner", named("by default sac, dqn for discrete actions, ppo for atari/..."), config.learner),
        ("preset", named("starting point: paper, compact or debug"), config.preset),
        ("encoder", Annotated[str | None, tyro.conf.arg(help=ENCODER_HELP)], names.get("encoder")),
        ("seed", Annotated[int, tyro.conf.arg(help="of everything random")], config.seed),
        ("steps", Annotated[int, tyro.conf.arg(help="agent steps, over all environments")], names.get("steps", steps)),
        ("out", Annotated[Path | None, tyro.conf.arg(help="new run folder (default: runs/ENV-METHOD-SEED)")], None),
        ("config", Annotated[Path | None, tyro.conf.arg(help="YAML file of settings, as a run's config.yaml")], None),
        ("resume", Annotated[Path | None, tyro.conf.arg(help="run folder to continue")], None),
        ("plugins", Annotated[str | None, tyro.conf.arg(name="import", help="module that registers your own")], None),
        ("run", tyro.conf.OmitArgPrefixes[RunOptions], run),
    ]
    for name, section in config.sections().items():
        if dataclasses.fields(section):
            fields.append((_identifier(name), type(section), _default(section)))
    return dataclasses.make_dataclass("Train", fields)


ENCODER_HELP = "network that sees: conv, nature, sparse-fls, ...; plain or fls: a value learner's own, with attention"


def _default(value: Any) -> Any:
    return dataclasses.field(default_factory=lambda: value)


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _describe(config: Config) -> str:
    what = config.learner if config.method == "none" else f"{config.method} on {config.learner}"
    return (
        f"Train {what}, preset {config.preset}. "
        "Other methods, learners and presets bring options and defaults of their own: name them before --help."
    )


def _start(options: Any) -> None:
    config = _config(options)
    if options.steps < 1:
        raise FovealError(f"--steps must be at least 1, not {options.steps}")
    agent = Agent.from_config(config)
    name = agent.method_name
    run = options.out or Path("runs") / f"{config.env.replace('/', '-')}-{name}-{config.seed}"
    trainer = Trainer(agent.work(), options.run, run=run)
    print(f"training {name} on {config.env}; everything goes to {run}")
    carry_out(trainer, options.steps, run)
    game = games.is_atari(config.env)
    on = " ".join(["--on train", *usual_perturbations(config.env)[:1]])
    evaluation, film = ("--random", f" --video {run.name}.mp4") if game else (on, "")
    print(f"done: {run}\nnext: foveal evaluate {run} {evaluation}, or foveal explain {run}{film}")


def _config(options: Any) -> Config:
    names = ("environment", "training", options.learner, *parts_of(options.method))
    sections = {name: getattr(options, _identifier(name)) for name in names if hasattr(options, _identifier(name))}
    return configure(options.env, options.method, options.learner, options.preset, options.seed, sections)
