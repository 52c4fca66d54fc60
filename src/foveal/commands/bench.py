"""``foveal bench``: suites of trainings and what they say; how fast training and rendering are on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.bench.plots import growth_plot
from foveal.bench.rendering import BENCHMARK_TASKS, measure_rendering, rendering_record, rendering_table
from foveal.bench.speed import SpeedOptions, measure_speed
from foveal.commands import bench_report, benchmark
from foveal.commands.bench_report import BenchReportOptions
from foveal.commands.benchmark import BenchRunOptions, BenchStatusOptions
from foveal.commands.plugins import plugins_in
from foveal.commands.verbs import Verbs, do_verb
from foveal.errors import FovealError
from foveal.evaluation.results import write_json
from foveal.explanation.explain import check_writable
from foveal.registry import import_plugins


@dataclass(frozen=True)
class BenchSpeedOptions:
    """Updates, environment steps and training steps a second, where the time goes, and what the machine could do.

    Attributes:
        env: id of the environment.
        preset: paper, compact or debug.
        methods: comma-separated; sac is SAC alone; by default all.
        blocks: timed blocks of two updates for each method.
        seconds: for each rate of environment and training steps.
        growth: also time updates as the memory grows to 500,000 transitions; 84-pixel frames take 11 GB.
        precision: of convolutions, auto, float32 or bfloat16.
        device: auto, cpu or cuda.
        json: write everything to this file.
        svg: with --growth, draw it into this file.
        plugins: module that registers your own methods.
    """

    env: str = "dmc/walker-walk"
    preset: str = "paper"
    methods: str = ""
    blocks: int = 7
    seconds: float = 10.0
    growth: bool = False
    precision: str = "auto"
    device: str = "auto"
    json: Path | None = None
    svg: Path | None = None
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


@dataclass(frozen=True)
class BenchRenderingOptions:
    """Milliseconds of a picture in each quality, and how near it is to dm_control's own.

    Attributes:
        tasks: comma-separated names, as in dmc/NAME; by default the benchmark's.
        image_size: side of the pictures, in pixels.
        pictures: of each task.
        json: write everything to this file.
    """

    tasks: str = ""
    image_size: int = 84
    pictures: int = 60
    json: Path | None = None


def main(arguments: Sequence[str]) -> None:
    """Run one benchmark."""
    plugins, others = plugins_in(arguments)
    import_plugins(plugins)
    verbs: Verbs = {
        "run": (BenchRunOptions, lambda options: benchmark.run(options, plugins)),
        "status": (BenchStatusOptions, benchmark.status),
        "report": (BenchReportOptions, bench_report.run),
        "speed": (BenchSpeedOptions, _speed),
        "rendering": (BenchRenderingOptions, _rendering),
    }
    do_verb("bench", verbs, others)


def checked(options: BenchSpeedOptions) -> SpeedOptions:
    """What to measure.

    Raises:
        FovealError: a file can't be written, or an option is wrong.
    """
    check_writable(options.json)
    check_writable(options.svg)
    if options.svg is not None and not options.growth:
        raise FovealError("--svg draws what --growth measures: add --growth")
    settings: dict[str, Any] = {"training": {"precision": options.precision, "device": options.device}}
    return SpeedOptions(
        env=options.env,
        preset=options.preset,
        methods=tuple(name for name in options.methods.split(",") if name),
        blocks=options.blocks,
        seconds=options.seconds,
        growth=options.growth,
        settings=settings,
    )


def write(record: Mapping[str, Any], options: BenchSpeedOptions) -> None:
    """The files that were asked for, from ``SpeedReport.as_dict()``."""
    if options.json is not None:
        write_json(options.json, record)
        print(f"wrote {options.json}")
    if options.svg is not None:
        growth_plot(record, options.svg)
        print(f"wrote {options.svg}")


def _speed(options: BenchSpeedOptions) -> None:
    report = measure_speed(checked(options))
    print(report)
    write(report.as_dict(), options)


def _rendering(options: BenchRenderingOptions) -> None:
    check_writable(options.json)
    if options.pictures < 1:
        raise FovealError(f"pictures must be at least 1, not {options.pictures}")
    tasks = tuple(name for name in options.tasks.split(",") if name) or BENCHMARK_TASKS
    speeds = measure_rendering(tasks, options.image_size, options.pictures)
    print(rendering_table(speeds))
    if options.json is not None:
        write_json(options.json, rendering_record(speeds, options.image_size, options.pictures))
        print(f"wrote {options.json}")
