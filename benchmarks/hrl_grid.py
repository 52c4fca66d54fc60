"""All rows of evidence on the arm, one after the other; what is there already is skipped.

    python benchmarks/hrl_grid.py --print              the commands and how many core-hours are left
    python benchmarks/hrl_grid.py --only bowl          those of one task
    python benchmarks/hrl_grid.py --part demonstrations
    python benchmarks/hrl_grid.py --rows hrl-bc script

A grid that was stopped goes on when its command is repeated: each row does, see ``benchmarks/hrl.py``. Rows of one task
and seed share demonstrations and skills and come one after the other, so two grids side by side take different tasks,
or different ``--seeds``. Of a task, all parts of a seed come before the next seed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from hrl_rows import ROWS, TRAINING, RowOptions, earlier, steps_from_scratch, steps_of_master

from foveal.config.bounds import Anything, Bounded, at_least, one_of
from foveal.envs.ur5e.experts import SKILL_STEPS
from foveal.errors import FovealError
from foveal.skills.conditions import EVENTS, USUAL
from foveal.skills.demos import demo_options

PARTS = ("skills", "rows", "events", "demonstrations")
TASKS = ("bowl", "tower", "pick", "breakfast")
SEEDS = {"breakfast": 2}
"""Where they are fewer than asked for."""
JUDGED, JUDGED_EPISODES = 1_600_000_000, 100
"""First of the scenes in which skills are judged for the evidence: none of those that settings were chosen on."""
COUNTS = (25, 50, 100)
"""Of demonstrations; the preset's own 300 is in ``rows``."""
ON_THE_BOWL = ("ppo-shaped", "ppo-from-bc")
"""Rows of the bowl alone."""
WITHOUT_SIGHT = ("oracle", "replan-experts")
"""Rows that look at nothing, for which cameras are all the same."""
WITHOUT_EVENTS = ("random", "flat-bc", "ppo", "ppo-shaped")
"""Rows that are not asked what they do when the world changes."""
CHANGING = ("bowl", "tower")
"""Tasks in which it does."""
LONG_ROWS = ("hrl-bc", "script", "oracle", "replan-experts")
"""Of breakfast, which takes as long as all others together."""
COUNTED_ROWS = ("hrl-bc", "script", "flat-bc-ordered")

# Core-seconds, see results/hrl-bc/PLAN.md: a step of the environment with depth and a network that looks at it; without
# either; one of PPO from scratch; and one of PPO that goes through the convolutions of what was cloned.
LOOKING, BLIND, LEARNING, FINE_TUNING = 0.004, 0.0012, 0.007, 0.010
DEMONSTRATING, CLONING = 0.003, 400.0
LENGTHS = {"bowl": 260, "tower": 270, "pick": 150, "breakfast": 800}
"""Mean control steps of an evaluation's episode, failures included."""


@dataclass(frozen=True)
class GridOptions(Bounded, section="grid"):
    """Rows of evidence, one after the other.

    Attributes:
        only: tasks; all by default.
        part: skills (each alone), rows (under the usual conditions and another camera's noise), events (in which the
            world changes), or demonstrations (success against their number, on the bowl); all by default.
        rows: only these; all by default.
        seeds: how many.
        first_seed: of them.
        preset: paper, compact or debug.
        work, out: as those of benchmarks/hrl.py.
        print: say what would be done, and no more.
    """

    only: Annotated[tuple[str, ...], one_of(*TASKS)] = TASKS
    part: Annotated[tuple[str, ...], one_of(*PARTS)] = PARTS
    rows: Annotated[tuple[str, ...], one_of(*ROWS)] = tuple(ROWS)
    seeds: Annotated[int, at_least(1)] = 3
    first_seed: Annotated[int, at_least(0)] = 0
    preset: Annotated[str, Anything("RowOptions knows the presets")] = "compact"
    work: Path = Path("runs/hrl")
    out: Path = Path("results/hrl-bc")
    print: bool = False


@dataclass(frozen=True)
class Job:
    """One call of ``benchmarks/hrl.py``.

    Attributes:
        row: its options.
        conditions: that are still to be evaluated.
    """

    row: RowOptions
    conditions: tuple[str, ...]

    def command(self) -> list[str]:
        """As a shell takes it."""
        row = self.row
        words = ["benchmarks/hrl.py", f"ur5e/{row.task}", "--row", row.row, "--seed", str(row.seed), "--workers", "1"]
        words += ["--preset", row.preset, "--work", str(row.work), "--out", str(row.out)]
        if row.demonstrations is not None:
            words += ["--demonstrations", str(row.demonstrations)]
        return [*words, "--on", *self.conditions]

    def evaluation_seconds(self) -> float:
        """Core-seconds, about."""
        step = BLIND if self.row.row in WITHOUT_SIGHT else LOOKING
        return sum(self.row.episodes_of(name) * LENGTHS[self.row.task] * step for name in self.conditions)


@dataclass(frozen=True)
class Judging:
    """Each skill of a task and seed alone, once a row has cloned them.

    Attributes:
        skills: their folder.
        out: a file with every turn.
    """

    skills: Path
    out: Path

    def command(self) -> list[str]:
        """As a shell takes it."""
        scenes = ["--episodes", str(JUDGED_EPISODES), "--seed", str(JUDGED), "--workers", "1"]
        return ["-m", "foveal", "skills", "evaluate", str(self.skills), *scenes, "--out", str(self.out)]

    def evaluation_seconds(self) -> float:
        """Core-seconds, about."""
        return 4 * JUDGED_EPISODES * (LENGTHS["bowl"] * BLIND / 2 + SKILL_STEPS * LOOKING)


def jobs(options: GridOptions) -> Iterator[Job | Judging]:
    """What is left to do, in an order in which a row finds what it shares with others."""
    for task in options.only:
        for seed in range(options.first_seed, options.first_seed + min(options.seeds, SEEDS.get(task, options.seeds))):
            for part in options.part:
                yield from _of_part(options, part, task, seed)


def _of_part(options: GridOptions, part: str, task: str, seed: int) -> Iterator[Job | Judging]:
    """All that is left of one part of a task and seed."""
    if part == "skills":
        out = options.out / "skills" / f"{task}-{seed}.json"
        if not out.exists():
            if cloning := _left(options, task, "script", seed, None, (TRAINING,)):
                yield cloning
            yield Judging(options.work / f"{task}-{options.preset}-{seed}" / "skills", out)
        return
    counts: tuple[int | None, ...] = (None,)
    if part == "demonstrations":
        counts = COUNTS if task == "bowl" else ()
    for count in counts:
        for row in options.rows:
            wanted = conditions(part, task, row)
            if job := _left(options, task, row, seed, count, wanted):
                yield job


def conditions(part: str, task: str, row: str) -> tuple[str, ...]:
    """That a row of a task is evaluated under."""
    if (row in ON_THE_BOWL and task != "bowl") or (task == "breakfast" and row not in LONG_ROWS):
        return ()
    if part == "demonstrations":
        return (TRAINING,) if row in COUNTED_ROWS else ()
    if part == "events":
        return EVENTS if task in CHANGING and row not in WITHOUT_EVENTS else ()
    blind = row in (*WITHOUT_SIGHT, "random", "ppo") or task == "breakfast"
    return (TRAINING,) if blind else (*USUAL, "structured_light")


def _left(
    options: GridOptions, task: str, row: str, seed: int, count: int | None, wanted: tuple[str, ...]
) -> Job | None:
    if not wanted:
        return None
    made = RowOptions(
        task, row, seed, options.preset, on=wanted, demonstrations=count, work=options.work, out=options.out, workers=1
    )
    done = earlier(made.out / f"{made.name}.json")
    left = tuple(name for name in wanted if len(done.get(name, {}).get("outcomes", ())) < made.episodes_of(name))
    return Job(made, left) if left else None


def training_seconds(listed: Sequence[Job | Judging]) -> float:
    """Core-seconds, about, of everything that the jobs train; what several share counts once."""
    shared: dict[tuple[object, ...], float] = {}
    for job in listed:
        if isinstance(job, Judging):
            continue
        row = job.row
        place = (row.task, row.seed, row.demonstrations)
        for name, seconds in _trained(row).items():
            shared[(*place, name)] = seconds
    return sum(shared.values())


def _trained(row: RowOptions) -> dict[str, float]:
    """What a row needs -> core-seconds."""
    master = steps_of_master(row.preset)
    demos = demo_options(row.preset).episodes if row.demonstrations is None else row.demonstrations
    collected = demos * LENGTHS[row.task] * DEMONSTRATING
    skills = {"demos": collected, "skills": CLONING}
    ordered = {"demos in order": collected, "whole task in order": CLONING}
    needs: dict[str, dict[str, float]] = {
        "hrl-bc": {**skills, "master": master * LOOKING},
        "oracle": {"oracle": master * BLIND},
        "replan-experts": {},
        "flat-bc": {"demos": collected, "whole task": CLONING},
        "flat-bc-ordered": ordered,
        "ppo": {"ppo": steps_from_scratch(row.task, row.preset) * LEARNING},
        "ppo-shaped": {"ppo-shaped": steps_from_scratch(row.task, row.preset) * LEARNING},
        "ppo-from-bc": {**ordered, "ppo-from-bc": master * FINE_TUNING},
    }
    needs["hrl-bc-drawn"] = needs["hrl-bc"]
    return needs.get(row.row, skills)


def main(arguments: Sequence[str]) -> None:
    """Print or do what is left."""
    try:
        options = tyro.cli(GridOptions, args=arguments)
        listed = list(jobs(options))
    except FovealError as error:
        sys.exit(f"error: {error}")
    hours = (training_seconds(listed) + sum(job.evaluation_seconds() for job in listed)) / 3600
    print(f"{len(listed)} rows left, about {hours:.0f} core-hours")
    failed = 0
    for job in jobs(options):  # anew: what one leaves, another need not do
        print(f"python {' '.join(job.command())}", flush=True)
        if not options.print:
            failed += subprocess.run([sys.executable, *job.command()], check=False).returncode != 0
    if failed:
        sys.exit(f"error: {failed} of {len(listed)} failed; repeat the command")


if __name__ == "__main__":
    main(sys.argv[1:])
