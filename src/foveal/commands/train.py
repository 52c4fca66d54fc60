"""``foveal train``: options are built from the learner and the method that are asked for, so each shows its own."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.commands import train_atari
from foveal.commands.options import carry_out, checked, named, read_settings
from foveal.commands.plugins import import_plugins
from foveal.config.presets import STEPS
from foveal.config.tree import Config, EnvironmentConfig, TrainingConfig, configure
from foveal.errors import FovealError
from foveal.loading import resume
from foveal.networks.encoders import EncoderConfig
from foveal.registry import nearest
from foveal.training import ReplayWork, RunOptions, Trainer

DEFAULTS = {"env": None, "method": "sgqn", "learner": "sac", "preset": "paper", "seed": 0}
ENCODERS = {"plain": "none", "fls": "fls"}
ENCODER_HELP = "plain, or fls: with attention inside; short for --LEARNER.encoder.attention"


def main(arguments: Sequence[str]) -> None:
    """Train a new run, or continue one with ``--resume RUN``."""
    arguments = import_plugins(arguments)
    resumed, others = _resumed(arguments)
    if resumed is not None:
        _resume(resumed, others)
        return
    if train_atari.asked_for(arguments):
        train_atari.main(arguments)
        return
    names, settings = _names(arguments)
    options = _parse(arguments, names, settings)
    if options.env != names["env"]:  # it stood behind other options, and defaults depend on it
        names["env"] = options.env
        options = _parse(arguments, names, settings)
    _start(options)


def _parse(arguments: Sequence[str], names: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    told = re.findall(r"--((?:environment|training)\.[\w-]+)", " ".join(arguments))
    later = {name.replace("-", "_") for name in told}
    options = _options_class(names, settings, later)
    return tyro.cli(options, args=arguments, prog="foveal train", description=_describe(names))


def _resumed(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--resume", type=Path)
    known, others = parser.parse_known_args(list(arguments))
    return known.resume, others


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
    """What decides which options there are: from the command line, else the configuration file, else the defaults."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    for name in ("method", "learner", "preset"):
        parser.add_argument(f"--{name}")
    known, others = parser.parse_known_args(list(arguments))
    settings = {} if known.config is None else read_settings(known.config)
    names = {key: checked(key, settings.pop(key, default)) for key, default in DEFAULTS.items()}
    names |= {name: value for name in ("method", "learner", "preset") if (value := getattr(known, name)) is not None}
    names["steps"] = checked("steps", settings.pop("steps", STEPS.get(names["preset"], STEPS["paper"])))
    if others and not others[0].startswith("-"):
        names["env"] = others[0]
    return names, settings


def _options_class(names: Mapping[str, Any], settings: Mapping[str, Any], later: Collection[str]) -> type:
    """A dataclass of all options, with the preset's and the file's values as defaults; ``later`` ones are to be set."""
    settings = dict(settings)
    run = RunOptions.from_settings(settings.pop("run", {}))
    env = names["env"]
    config = configure(env or "", names["method"], names["learner"], names["preset"], names["seed"], settings, later)
    what = "environment: dmc/walker-walk, ur5e/bowl, atari/breakout, or any registered Gymnasium id"
    text = Annotated[str, tyro.conf.arg(metavar="ENV", help=what)]
    positional = tyro.conf.Positional[text]
    fields: list[Any] = [
        ("env", positional) if env is None else ("env", positional, env),
        ("method", named("generalization method"), names["method"]),
        ("learner", named("value learner"), names["learner"]),
        ("preset", named("starting point: paper, compact or debug"), names["preset"]),
        ("encoder", Annotated[str | None, tyro.conf.arg(help=ENCODER_HELP)], None),
        ("seed", Annotated[int, tyro.conf.arg(help="of everything random")], names["seed"]),
        ("steps", Annotated[int, tyro.conf.arg(help="agent steps")], names["steps"]),
        ("out", Annotated[Path | None, tyro.conf.arg(help="new run folder (default: runs/ENV-METHOD-SEED)")], None),
        ("config", Annotated[Path | None, tyro.conf.arg(help="YAML file of settings, as a run's config.yaml")], None),
        ("resume", Annotated[Path | None, tyro.conf.arg(help="run folder to continue")], None),
        ("plugins", Annotated[str | None, tyro.conf.arg(name="import", help="module that registers your own")], None),
        ("run", tyro.conf.OmitArgPrefixes[RunOptions], run),
        ("environment", EnvironmentConfig, config.environment),
        ("training", TrainingConfig, config.training),
    ]
    for name, part in ((config.learner, config.learner_config), (config.method, config.method_config)):
        if dataclasses.fields(part):
            fields.append((_identifier(name), type(part), _default(part)))
    return dataclasses.make_dataclass("Train", fields)


def _default(value: Any) -> Any:
    return dataclasses.field(default_factory=lambda: value)


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _describe(names: Mapping[str, Any]) -> str:
    return (
        f"Train {names['method']} on {names['learner']}, preset {names['preset']}. "
        "Other methods, learners and presets bring options and defaults of their own: name them before --help."
    )


def _start(options: Any) -> None:
    config = _config(options)
    if options.steps < 1:
        raise FovealError(f"--steps must be at least 1, not {options.steps}")
    run = options.out or Path("runs") / f"{options.env.replace('/', '-')}-{options.method}-{options.seed}"
    from foveal.agent import Agent

    agent = Agent.from_config(config)
    trainer = Trainer(ReplayWork(agent), options.run, run=run)
    print(f"training {config.method} on {config.env}; everything goes to {run}")
    carry_out(trainer, options.steps, run)
    print(f"done: {run}\nnext: foveal evaluate {run} --on train color_hard, or foveal explain {run}")


def _config(options: Any) -> Config:
    sections = {"environment": options.environment, "training": options.training}
    for name in (options.learner, options.method):
        if hasattr(options, _identifier(name)):
            sections[name] = getattr(options, _identifier(name))
    if options.encoder is not None:
        sections[options.learner] = _with_encoder(options.encoder, options.learner, sections.get(options.learner))
    return configure(options.env, options.method, options.learner, options.preset, options.seed, sections)


def _with_encoder(encoder: str, learner: str, settings: Any) -> Any:
    """The learner's settings with the encoder of that name."""
    if encoder not in ENCODERS:
        raise FovealError(f"unknown encoder {encoder!r}: {nearest(encoder, list(ENCODERS))}")
    if not isinstance(getattr(settings, "encoder", None), EncoderConfig):
        raise FovealError(f"learner {learner!r} has an encoder of its own, so --encoder can't choose one: leave it out")
    changed = dataclasses.replace(settings.encoder, attention=ENCODERS[encoder])
    return dataclasses.replace(settings, encoder=changed)
