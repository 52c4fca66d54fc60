"""``foveal bench speed``: how fast training is on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.benchmark import SpeedOptions, measure_speed
from foveal.commands.plugins import import_plugins
from foveal.errors import FovealError
from foveal.report.explain import check_writable
from foveal.results import write_json


@dataclass(frozen=True)
class BenchSpeedOptions:
    """Updates, environment steps and training steps a second, where the time goes, and what the machine could do.

    Attributes:
        env: id of the environment.
        preset: paper, compact or debug.
        methods: comma-separated; sac is SAC alone; by default all.
        blocks: timed blocks of two updates for each method.
        seconds: for each rate of environment and training steps.
        reference: also time the published order of operations, in turn with ours; needs a clone of foveal.
        growth: also time updates as the memory grows to 500,000 transitions; 84-pixel frames take 11 GB.
        precision: of convolutions, auto, float32 or bfloat16.
        device: auto, cpu or cuda.
        json: write everything to this file.
        plugins: module that registers your own methods.
    """

    env: str = "dmc/walker-walk"
    preset: str = "paper"
    methods: str = ""
    blocks: int = 7
    seconds: float = 10.0
    reference: bool = False
    growth: bool = False
    precision: str = "auto"
    device: str = "auto"
    json: Path | None = None
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


def main(arguments: Sequence[str]) -> None:
    """Run one benchmark; ``speed`` is the only one."""
    name, *rest = arguments or ["--help"]
    if name in {"-h", "--help"}:
        print("usage: foveal bench speed [OPTIONS]; `foveal bench speed --help` lists them")
        return
    if name != "speed":
        raise FovealError(f"unknown benchmark {name!r}; there is: speed")
    _speed(tyro.cli(BenchSpeedOptions, args=import_plugins(rest), prog="foveal bench speed"))


def _speed(options: BenchSpeedOptions) -> None:
    if options.json is not None:
        check_writable(options.json)
    settings: dict[str, Any] = {"training": {"precision": options.precision, "device": options.device}}
    report = measure_speed(
        SpeedOptions(
            env=options.env,
            preset=options.preset,
            methods=tuple(name for name in options.methods.split(",") if name),
            blocks=options.blocks,
            seconds=options.seconds,
            reference=options.reference,
            growth=options.growth,
            settings=settings,
        )
    )
    print(report)
    if options.json is not None:
        write_json(options.json, report.as_dict())
        print(f"wrote {options.json}")
