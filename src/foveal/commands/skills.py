"""``foveal skills train`` and ``foveal skills search``: skills from demonstrations."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.commands.options import preset_of, verb
from foveal.errors import FovealError
from foveal.explanation.explain import check_writable
from foveal.skills.cloning import Epoch, clone
from foveal.skills.config import CLONE_PRESETS, CloneConfig, clone_config
from foveal.skills.minari import open_demos
from foveal.skills.search import SearchOptions, search
from foveal.skills.unfinished import unfinished
from foveal.skills.workers import available

VERBS = {
    "train": "clone skills from demonstrations",
    "search": "search for an augmentation of depth that carries over to a noisy camera",
}
NONE = "none"
Folder = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DEMOS", help="folder of demonstrations")]]


@dataclass(frozen=True)
class SearchCommandOptions:
    """Differential evolution over augmentation policies; a locator of the cube says how good each is.

    Attributes:
        demos: demonstrations that tell where things are.
        out: JSON file of the policy and of its effect, for foveal skills train --augment.
        search: how long.
    """

    demos: Folder
    out: Path = Path("augmentation.json")
    search: tyro.conf.OmitArgPrefixes[SearchOptions] = field(default_factory=SearchOptions)


def main(arguments: Sequence[str]) -> None:
    """Train or search."""
    name, rest = verb(arguments, "skills", VERBS)
    if name == "train":
        _train(rest)
    else:
        _search(rest)


def _train(arguments: Sequence[str]) -> None:
    options: Any = tyro.cli(
        _train_class(preset_of(arguments)),
        args=arguments,
        prog="foveal skills train",
        description="Clone skills from demonstrations. Presets bring defaults of their own: name one before --help.",
    )
    out = options.out or Path("skills") / options.demos.name
    config = options.skills
    if options.augment is not None:
        config = dataclasses.replace(config, augmentation=read_policy(options.augment))
    run = unfinished(out)
    if run.is_dir() != options.resume:
        raise FovealError(
            f"{run} holds cloning that did not end: add --resume to go on with it, or delete that folder"
            if run.is_dir()
            else f"there is no {run} to go on with: leave --resume out"
        )
    try:
        cloned = clone(
            options.demos,
            config,
            seed=options.seed,
            flat=options.flat,
            workers=options.workers,
            progress=True,
            told=_tell,
            run=run,
        )
    except KeyboardInterrupt:
        if run.is_dir():
            print("to go on: the same command with --resume")
        raise
    cloned.save(out)
    shutil.rmtree(run, ignore_errors=True)
    print(f"best epoch {cloned.best}: {out}")


def _tell(epoch: Epoch) -> None:
    success = "" if epoch.success is None else f", script solved {100 * epoch.success:.0f} %"
    print(f"epoch {epoch.number}: loss {epoch.loss:.4f}, held out {epoch.held_out:.4f}{success}", flush=True)


def _train_class(preset: str) -> type:
    config = clone_config(preset)
    fields: list[Any] = [
        ("demos", Folder),
        ("out", Annotated[Path | None, tyro.conf.arg(help="folder of the skills (default: skills/DEMOS)")], None),
        ("preset", Annotated[str, tyro.conf.arg(help=f"starting point: {', '.join(CLONE_PRESETS)}")], preset),
        ("seed", Annotated[int, tyro.conf.arg(help="of weights, samples and augmentation")], 0),
        ("flat", Annotated[bool, tyro.conf.arg(help="clone the whole task as one skill")], False),
        ("resume", Annotated[bool, tyro.conf.arg(help="go on where the same command was stopped")], False),
        (
            "augment",
            Annotated[
                Path | None,
                tyro.conf.arg(help="JSON file that foveal skills search wrote, or none; by default the preset's"),
            ],
            None,
        ),
        ("workers", Annotated[int, tyro.conf.arg(help="processes for rollouts")], available()),
        ("skills", tyro.conf.OmitArgPrefixes[CloneConfig], config),
    ]
    return dataclasses.make_dataclass("TrainSkills", fields)


def read_policy(path: Path) -> tuple[tuple[str, float, float], ...]:
    """The augmentation policy of a JSON file; that of ``none`` is empty.

    Raises:
        FovealError: it can't be read, or holds something else.
    """
    if str(path) == NONE:
        return ()
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return tuple((str(name), float(magnitude), float(chance)) for name, magnitude, chance in held["policy"])
    except OSError as error:
        raise FovealError(f"can't read the augmentation {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FovealError(f"{path} holds no augmentation policy, as foveal skills search writes it") from error


def _search(arguments: Sequence[str]) -> None:
    options = tyro.cli(SearchCommandOptions, args=arguments, prog="foveal skills search")
    check_writable(options.out)
    found = search(open_demos(options.demos), options.search, progress=True)
    options.out.write_text(json.dumps(dataclasses.asdict(found), indent=1) + "\n", encoding="utf-8")
    for name, magnitude, chance in found.policy:
        print(f"  {name:<14} magnitude {magnitude:.2f}, probability {chance:.2f}")
    print(
        f"where the cube is, mean error on new scenes, without and with it: "
        f"perfect depth {found.clean[0]:.2f} and {found.clean[1]:.2f} cm, "
        f"noisy depth {found.noisy[0]:.2f} and {found.noisy[1]:.2f} cm\nwrote {options.out}"
    )
