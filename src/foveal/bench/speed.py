"""``foveal bench speed``: all measurements in one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Protocol

import torch
from tqdm import tqdm

from foveal.agent import Agent
from foveal.bench.growth import GrowthPoint, growth
from foveal.bench.peaks import instruction_set, peaks
from foveal.bench.rates import RANDOM_STEPS, environment_rates, environment_scaling, training_rate
from foveal.bench.tables import speed_table
from foveal.bench.updates import Subject, UpdateSpeed, agent_of, free_memory, summarize
from foveal.config.bounds import POSITIVE, Anything, Bounded, Names, at_least, one_of
from foveal.config.presets import PRESETS
from foveal.evaluation.results import origin
from foveal.methods import METHODS
from foveal.training.cuda_graphs import WARM_UP

FORMAT = "foveal.speed/1"
UNTIMED = WARM_UP + 1
"""Blocks before the first that is timed: CUDA graphs are recorded by then."""


class Contestant(Protocol):
    """Another implementation of the same updates, to be timed in turn with a ``Subject``."""

    def block(self) -> None:
        """Run a block of updates."""

    def time(self) -> float:
        """Seconds of one update."""

    def close(self) -> None:
        """Called when it has been timed."""


@dataclass(frozen=True)
class SpeedOptions(Bounded, section="bench"):
    """What to measure.

    Attributes:
        env: id of the environment.
        preset: of the agents.
        methods: "sac" (no method) and names of methods; empty for all.
        blocks: timed blocks of two updates for each method.
        seconds: for each rate of environment and training steps.
        growth: whether to time updates as replay grows to 500,000 transitions.
        settings: overrides of the agents, by section.

    Raises:
        FovealError: an unknown method, or a number out of range.
    """

    env: Annotated[str, Anything("agents refuse an environment that is unknown")] = "dmc/walker-walk"
    preset: Annotated[str, one_of(*PRESETS)] = "paper"
    methods: Annotated[tuple[str, ...], Names(SpeedOptions.known)] = ()
    blocks: Annotated[int, at_least(1)] = 7
    seconds: Annotated[float, POSITIVE] = 10.0
    growth: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def known() -> list[str]:
        """Names that ``methods`` takes."""
        return ["sac", *(name for name in METHODS.names() if name != "none")]

    @property
    def chosen(self) -> list[str]:
        """The methods to measure."""
        return list(self.methods) or self.known()


@dataclass
class SpeedReport:
    """What was measured; ``str`` is a table.

    Attributes:
        options: what was asked for.
        device: on which updates ran.
        dtype: of the convolutions, "bfloat16" or "float32".
        instructions: see ``foveal.bench.peaks.instruction_set``.
        peaks: see ``foveal.bench.peaks``.
        updates: by method.
        against: median seconds of an update of another implementation, by method.
        environment: agent steps a second, by quality of rendering.
        training: agent steps a second with updates, by method.
        growth: speed by size of replay.
        environment_scaling: agent steps a second of all environments together, by their number; with ``growth``.
    """

    options: SpeedOptions
    device: str
    dtype: str
    instructions: str
    peaks: dict[str, float]
    updates: dict[str, UpdateSpeed] = field(default_factory=dict)
    against: dict[str, float] = field(default_factory=dict)
    environment: dict[str, float] = field(default_factory=dict)
    training: dict[str, float] = field(default_factory=dict)
    growth: list[GrowthPoint] = field(default_factory=list)
    environment_scaling: dict[int, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "format": FORMAT,
            "env": self.options.env,
            "preset": self.options.preset,
            "settings": self.options.settings,
            "device": self.device,
            "dtype": self.dtype,
            "instructions": self.instructions,
            "threads": torch.get_num_threads(),
            "peaks_gflop_per_second": self.peaks,
            "updates": {name: speed.as_dict() for name, speed in self.updates.items()},
            "environment_steps_per_second": self.environment,
            "training_steps_per_second": self.training,
            "growth": [asdict(point) for point in self.growth],
            "environment_scaling": {str(count): rate for count, rate in self.environment_scaling.items()},
            **origin(),
        }

    def __str__(self) -> str:
        return speed_table(self)


def measure_speed(options: SpeedOptions, against: Callable[[Subject], Contestant | None] | None = None) -> SpeedReport:
    """Measure everything that ``options`` ask for; progress goes to standard error.

    Args:
        options: what to measure.
        against: for a subject, another implementation to time in turn with it, block by block, or None.

    Raises:
        FovealError: a name is unknown.
    """
    first = _trainee(options, options.chosen[0])
    dtype = str(first.learner.dtype).removeprefix("torch.")
    report = SpeedReport(options, first.device.type, dtype, instruction_set(), peaks(first.device))
    size = first.config.environment.image_size
    report.environment = environment_rates(options.env, size, options.seconds / 3)
    if options.growth:
        report.environment_scaling = environment_scaling(options.env, size, options.seconds / 3)
    del first
    for name in tqdm(options.chosen, desc="methods", unit="method", dynamic_ncols=True):
        _measure(report, name, against or (lambda _: None))
    return report


def _measure(report: SpeedReport, name: str, against: Callable[[Subject], Contestant | None]) -> None:
    """Measure one method: its updates, in turn with another implementation's, then a training."""
    free_memory()
    options = report.options
    subject = Subject(options.env, name, options.preset, options.settings)
    other = against(subject)
    contestants: list[Subject | Contestant] = [subject] if other is None else [subject, other]
    for contestant in contestants:
        for _ in range(UNTIMED):
            contestant.block()
    rounds = [[contestant.time() for contestant in contestants] for _ in range(options.blocks)]
    ours, *theirs = (list(column) for column in zip(*rounds, strict=True))
    if other is not None:
        other.close()
        report.against[name] = statistics.median(theirs[0])
    report.updates[name] = summarize(subject, ours)
    if options.growth and name == options.chosen[-1]:
        report.growth = growth(subject)
    report.training[name] = training_rate(_trainee(options, name), options.seconds)


def _trainee(options: SpeedOptions, name: str) -> Agent:
    settings = dict(options.settings)
    loop = {"initial_random_steps": RANDOM_STEPS, "catch_up_updates": 0, "replay_capacity": 20_000}
    settings["training"] = {**settings.get("training", {}), **loop}
    return agent_of(options.env, name, options.preset, settings)
