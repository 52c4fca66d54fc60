"""The speed report in columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveal.evaluation.layout import columns

if TYPE_CHECKING:
    from foveal.bench.speed import SpeedReport


def speed_table(report: SpeedReport) -> str:
    """Everything that was measured, for people."""
    title = f"{report.options.env}, preset {report.options.preset}, on {report.device}"
    parts = [title, _methods(report), _phases(report), _machine(report)]
    if report.growth:
        parts.append(_growth(report))
    return "\n\n".join(parts)


def _methods(report: SpeedReport) -> str:
    header = ["method", "ms/update", "updates/s", "GFLOP", "GFLOP/s", "training steps/s"]
    rows = []
    for name, speed in report.updates.items():
        rows.append(
            [
                name,
                f"{1e3 * speed.seconds:.1f}",
                f"{1 / speed.seconds:.1f}",
                f"{speed.gflop:.1f}",
                f"{speed.gflop_per_second:.0f}",
                f"{report.training[name]:.1f}" if name in report.training else "",
            ]
        )
    return columns([header, *rows])


def _phases(report: SpeedReport) -> str:
    names = list(dict.fromkeys(name for speed in report.updates.values() for name in speed.parts))
    header = ["ms of each part", *report.updates]
    rows = [
        [name, *(f"{speed.parts.get(name, 0.0):.1f}" for speed in report.updates.values())] for name in sorted(names)
    ]
    return columns([header, *rows])


def _machine(report: SpeedReport) -> str:
    speeds = [f"{name.replace('_', ' ')} {value:.0f}" for name, value in report.peaks.items()]
    rates = [f"{quality} {rate:.0f}" for quality, rate in report.environment.items()]
    memory = max((speed.peak_memory for speed in report.updates.values()), default=0)
    stored = next((speed.bytes_per_transition for speed in report.updates.values()), 0.0)
    return "\n".join(
        [
            f"convolutions in {report.dtype}; instruction set of the processor: {report.instructions}",
            f"peaks, GFLOP/s: {', '.join(speeds)}",
            f"environment steps/s by rendering: {', '.join(rates)}",
            f"peak memory: {memory / 1e9:.2f} GB; a stored transition takes {stored / 1e3:.1f} kB",
        ]
    )


def _growth(report: SpeedReport) -> str:
    header = ["transitions", "updates/s", "ms/sample", "replay GB"]
    rows = [
        [
            f"{point.transitions:,}",
            f"{point.updates_per_second:.2f}",
            f"{point.sample_milliseconds:.2f}",
            f"{point.replay_bytes / 1e9:.2f}",
        ]
        for point in report.growth
    ]
    counts = [f"{count}: {rate:.0f}" for count, rate in report.environment_scaling.items()]
    return f"{columns([header, *rows])}\n\nenvironment steps/s by processes (fast): {', '.join(counts)}"
