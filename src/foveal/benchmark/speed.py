"""``foveal bench speed``: every number in one run, and the bars that they are held against."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from tqdm import tqdm

from foveal.agent import Agent
from foveal.benchmark.growth import GrowthPoint, growth
from foveal.benchmark.peaks import instruction_set, peaks
from foveal.benchmark.rates import RANDOM_STEPS, environment_rates, environment_scaling, training_rate
from foveal.benchmark.reference import METHODS as REFERENCED
from foveal.benchmark.reference import Reference, Shape, published
from foveal.benchmark.tables import speed_table
from foveal.benchmark.updates import PERIOD, Subject, UpdateSpeed, agent_of, let_go, summarize
from foveal.bounds import POSITIVE, Anything, Bounded, Names, at_least, one_of
from foveal.capturing import WARM_UP
from foveal.errors import FovealError
from foveal.methods import METHODS
from foveal.presets import PRESETS
from foveal.results import machine, now, versions

FORMAT = "foveal.speed/1"
BARS = {
    "bfloat16": {"sgqn": 6.0, "svea": 4.0, "sac": 4.0},
    "float32": {"sgqn": 2.4, "svea": 1.6, "sac": 1.6},
}
"""Times that an update should be faster than the published order of operations, paper preset, on two CPU cores, by what
the convolutions compute in."""
GPU_BARS = {"sgqn": 10.0}
GPU_UPDATES = {"sgqn": 300.0}
"""Updates a second on one H200, paper preset."""
UNTIMED = WARM_UP + 1
"""Blocks before the first that is timed."""
FLAT = 0.05
"""Share of its speed that an update may lose as the memory fills up."""
BYTES_PER_TRANSITION = 22_000


@dataclass(frozen=True)
class SpeedOptions(Bounded, section="bench"):
    """What to measure.

    Attributes:
        env: id of the environment.
        preset: of the agents.
        methods: "sac" (no method) and names of methods; empty for all.
        blocks: timed blocks of two updates for each method.
        seconds: for each rate of environment and training steps.
        reference: time the published order of operations too.
        growth: time updates as the memory grows to 500,000 transitions.
        settings: overrides of the agents, by section.

    Raises:
        FovealError: an unknown method, or a number out of range.
    """

    env: Annotated[str, Anything("agents refuse an environment that is unknown")] = "dmc/walker-walk"
    preset: Annotated[str, one_of(*PRESETS)] = "paper"
    methods: Annotated[tuple[str, ...], Names(SpeedOptions.known)] = ()
    blocks: Annotated[int, at_least(1)] = 7
    seconds: Annotated[float, POSITIVE] = 10.0
    reference: bool = False
    growth: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reference and self.preset != "paper":
            raise FovealError("the published order of operations has the published architecture: use the preset paper")

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
        device: that trained.
        dtype: that convolutions computed in, "bfloat16" or "float32".
        instructions: see ``foveal.benchmark.peaks.instruction_set``.
        peaks: see ``foveal.benchmark.peaks``.
        updates: by method.
        reference: median seconds of the published order, by method.
        environment: agent steps a second, by quality of rendering.
        training: agent steps a second with updates, by method.
        growth: speed by size of the memory.
        environment_scaling: agent steps a second of all environments together, by their number; with ``growth``.
    """

    options: SpeedOptions
    device: str
    dtype: str
    instructions: str
    peaks: dict[str, float]
    updates: dict[str, UpdateSpeed] = field(default_factory=dict)
    reference: dict[str, float] = field(default_factory=dict)
    environment: dict[str, float] = field(default_factory=dict)
    training: dict[str, float] = field(default_factory=dict)
    growth: list[GrowthPoint] = field(default_factory=list)
    environment_scaling: dict[int, float] = field(default_factory=dict)

    @property
    def ratios(self) -> dict[str, float]:
        """Median seconds of the published order over ours."""
        return {name: taken / self.updates[name].seconds for name, taken in self.reference.items()}

    def bars(self) -> list[tuple[str, float, float, bool]]:
        """(What, measured, wanted, whether it passes) of every bar that this run can tell of."""
        wanted = BARS[self.dtype] if self.device == "cpu" else GPU_BARS
        found = [
            (f"{name}: times the published order", ratio, wanted[name], ratio >= wanted[name])
            for name, ratio in self.ratios.items()
            if name in wanted
        ]
        on_gpu = self.device != "cpu" and self.options.preset == "paper"
        for name, bar in GPU_UPDATES.items() if on_gpu else ():
            if name in self.updates:
                rate = 1 / self.updates[name].seconds
                found.append((f"{name}: updates/s", rate, bar, rate >= bar))
        if self.growth:
            rates = [point.updates_per_second for point in self.growth]
            lost = 1 - rates[-1] / rates[0]
            found.append(("share of updates/s lost to a full memory", lost, FLAT, lost <= FLAT))
            stored = self.growth[-1].replay_bytes / self.growth[-1].transitions
            found.append(("bytes per stored transition", stored, BYTES_PER_TRANSITION, stored <= BYTES_PER_TRANSITION))
        return found

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
            "reference_seconds": self.reference,
            "ratios": self.ratios,
            "environment_steps_per_second": self.environment,
            "training_steps_per_second": self.training,
            "growth": [point.as_dict() for point in self.growth],
            "environment_scaling": {str(count): rate for count, rate in self.environment_scaling.items()},
            "bars": [
                {"bar": what, "measured": measured, "wanted": wanted, "passes": passes}
                for what, measured, wanted, passes in self.bars()
            ],
            "created": now(),
            "versions": versions(),
            "machine": machine(),
        }

    def __str__(self) -> str:
        return speed_table(self)


def measure_speed(options: SpeedOptions) -> SpeedReport:
    """Measure everything that ``options`` ask for; progress goes to standard error.

    Raises:
        FovealError: a name is unknown, or the reference can't be run here.
    """
    if options.reference:
        published()  # what is missing shall be said before any work
    first = _trainee(options, options.chosen[0])
    dtype = str(first.learner.dtype).removeprefix("torch.")
    report = SpeedReport(options, first.device.type, dtype, instruction_set(), peaks(first.device))
    size = first.config.environment.image_size
    report.environment = environment_rates(options.env, size, options.seconds / 3)
    if options.growth:
        report.environment_scaling = environment_scaling(options.env, size, options.seconds / 3)
    del first
    for name in tqdm(options.chosen, desc="methods", unit="method", dynamic_ncols=True):
        _measure(report, name)
    return report


def _measure(report: SpeedReport, name: str) -> None:
    """One method: updates, alternating with the published order, then a training."""
    let_go()
    options = report.options
    subject = Subject(options.env, name, options.preset, options.settings)
    reference = _reference(subject) if options.reference and name in REFERENCED else None
    contestants: list[Subject | Reference] = [subject] if reference is None else [subject, reference]
    for contestant in contestants:
        for _ in range(UNTIMED):  # an updater that records its updates has done so by then
            contestant.block()
    rounds = [[contestant.time() for contestant in contestants] for _ in range(options.blocks)]
    ours, *theirs = (list(column) for column in zip(*rounds, strict=True))
    if reference is not None:
        reference.close()
        report.reference[name] = statistics.median(theirs[0])
    report.updates[name] = summarize(subject, ours)
    if options.growth and name == options.chosen[-1]:
        report.growth = growth(subject)
    report.training[name] = training_rate(_trainee(options, name), options.seconds)


def _reference(subject: Subject) -> Reference:
    agent = subject.agent
    (actions,) = agent.shapes.action.shape or (1,)
    threads = torch.get_num_threads()
    device = str(subject.device)
    shape = Shape(subject.method, agent.shapes.image, actions, subject.batch_size, device, threads)
    return Reference(shape, PERIOD)


def _trainee(options: SpeedOptions, name: str) -> Agent:
    settings = dict(options.settings)
    loop = {"initial_random_steps": RANDOM_STEPS, "catch_up_updates": 0, "replay_capacity": 20_000}
    settings["training"] = {**settings.get("training", {}), **loop}
    return agent_of(options.env, name, options.preset, settings)
