"""Rows of evidence: one method on one task with one seed, from nothing to a success rate, in one call.

    python benchmarks/hrl.py ur5e/bowl --row hrl-bc --seed 0 --out hrl-results

What a row needs and another row of the same task and seed has made already, demonstrations and skills, is taken from
the folder in which that row left it. Each condition is written as soon as it is evaluated, and a row that another
process works on is left to it. ``benchmarks/hrl_evidence.py`` makes tables and pictures of rows.
"""

# ruff: noqa: E402

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foveal.cli import let_idle_threads_sleep

let_idle_threads_sleep()  # before PyTorch is imported, as the command line does

import tyro
from filming import film
from hrl_contenders import Contender, Maker
from hrl_rows import ROWS, RowOptions, earlier
from rows import claimed, commit

from foveal.errors import FovealError
from foveal.evaluation.results import machine, versions, write_text
from foveal.evaluation.statistics import SuccessRate
from foveal.machine.allocator import keep_freed_memory
from foveal.skills import seeds
from foveal.skills.arms import ArmSettings
from foveal.skills.conditions import CONDITIONS
from foveal.skills.flat import FlatPolicy
from foveal.skills.minari import require_extra
from foveal.skills.policy import SkillPolicy
from foveal.skills.rollouts import Outcome, play
from foveal.skills.workers import Workers

_TRIES = 10  # episodes that a film is looked for in


def run_row(options: RowOptions, told: Callable[[str], None] = print) -> Path:
    """Train what the row needs, evaluate it, and write what was found.

    Args:
        options: which row.
        told: of what is going on.

    Returns:
        The JSON file: options, success rates with intervals, every episode, learning curve, seconds.

    Raises:
        FovealError: the extra ``skills`` is missing, or a folder can't be written.
    """
    require_extra()
    row = Maker(options, told)
    path = options.out / f"{options.name}.json"
    for condition in options.on:
        CONDITIONS[condition].of(ArmSettings(row.task))  # refused before hours of training
    with claimed(options.work / "locks" / f"{options.name}.lock") as hold:
        if hold is None:
            raise FovealError(f"another process works on {options.name}")
        contender = row.contender()
        found = _conditions(row, contender, path)
        if options.films:
            _filmed(path, contender, found, told)
    return path


def _conditions(row: Maker, contender: Contender, path: Path) -> dict[str, Any]:
    """What was found under each condition, earlier or now; the file has it as soon as it is there."""
    options, trained, found = row.options, row.seconds, earlier(path)
    with Workers(row.workers) as crew:
        for condition in options.on:
            outcomes = _evaluated(contender, condition, options.episodes_of(condition), crew)
            rate = SuccessRate.of([outcome.success for outcome in outcomes])
            row.told(f"{options.row} on {row.task}, {condition}: {rate}")
            found[condition] = {
                **asdict(rate),
                "outcomes": [asdict(outcome) for outcome in outcomes],
                "commit": commit(),
            }
            report = {
                "task": row.task,
                "row": options.row,
                "method": ROWS[options.row],
                "seed": options.seed,
                "preset": options.preset,
                "demonstrations": options.demonstrations,
                "success": found,
                "about": {**_augmentation(contender.actor), **contender.about},
                "seconds": {"before_evaluation": round(trained, 1), "in_all": round(row.seconds, 1)},
                "machine": machine(),
                "versions": versions(),
            }
            write_text(path, json.dumps(report, indent=1) + "\n")
    return found


def _augmentation(actor: SkillPolicy | FlatPolicy | None) -> dict[str, Any]:
    return {"augmentation": actor.config.augmentation} if isinstance(actor, SkillPolicy) else {}


def _filmed(path: Path, contender: Contender, found: dict[str, Any], told: Callable[[str], None]) -> None:
    """The first success and failure, in the order of the conditions, that end so again; beside the row's ``path``."""
    outcomes = [(name, outcome) for name in found for outcome in found[name]["outcomes"]]
    for ending, wanted in (("success", True), ("failure", False)):
        to = path.with_name(f"{path.stem}-{ending}.mp4")
        episodes = [(name, outcome["seed"]) for name, outcome in outcomes if outcome["success"] is wanted]
        for condition, seed in episodes[:_TRIES]:
            arms = _under(contender, condition)
            if film(to, arms, contender.plan, contender.actor, seed, contender.skill_steps, wanted=wanted):
                told(f"wrote {to}: {condition}, episode {seed}")
                break


def _evaluated(contender: Contender, condition: str, episodes: int, crew: Workers) -> list[Outcome]:
    chosen = range(seeds.EVALUATION, seeds.EVALUATION + episodes)
    return play(
        _under(contender, condition),
        contender.plan,
        contender.actor,
        chosen,
        skill_steps=contender.skill_steps,
        workers=crew,
    )


def _under(contender: Contender, condition: str) -> ArmSettings:
    return CONDITIONS[condition].of(contender.arms)


def main(arguments: Sequence[str]) -> None:
    """Run a row, and say where its results are."""
    rows = "\n\n".join(f"{name}: {text}" for name, text in ROWS.items())
    description = f"Demonstrations, skills, master and success rate, or what that is compared with.\n\n{rows}"
    keep_freed_memory()  # as the command line does
    try:
        path = run_row(tyro.cli(RowOptions, args=arguments, description=description))
    except FovealError as error:
        sys.exit(f"error: {error}")
    print(f"wrote {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
