"""foveal's updates against the published order of operations, and the bars that its speed is held to.

    python benchmarks/speed.py --methods sac,drq,svea,soda,sgqn --growth --json speed.json --svg growth.svg

takes the options of ``foveal bench speed``, times ``published.py`` in turn with foveal block by block, and needs
captum (``pip install 'foveal[dev]'``). The published order runs in a process of its own, because foveal changes how the
C library allocates memory for a whole process (``foveal.machine.allocator``), and gets the library's defaults, as it
does wherever it is run.
"""

# ruff: noqa: E402

from __future__ import annotations

import multiprocessing
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from foveal.cli import let_idle_threads_sleep

let_idle_threads_sleep()  # before PyTorch is imported, as the command line does

import torch
import tyro
from published import Published

from foveal.bench.speed import SpeedReport, measure_speed
from foveal.bench.stopwatch import seconds
from foveal.bench.tables import columns
from foveal.bench.updates import PERIOD, Subject
from foveal.commands.bench import BenchSpeedOptions, checked, write
from foveal.commands.plugins import import_plugins
from foveal.errors import FovealError
from foveal.machine.allocator import keep_freed_memory

METHODS = ("sac", "svea", "sgqn")
BARS = {
    "bfloat16": {"sgqn": 6.0, "svea": 4.0, "sac": 4.0},
    "float32": {"sgqn": 2.4, "svea": 1.6, "sac": 1.6},
}
"""Times that an update should be faster than the published order of operations, paper preset, on two CPU cores, by what
the convolutions compute in."""
GPU_BARS = {"sgqn": 10.0}
GPU_UPDATES = {"sgqn": 300.0}
"""Updates a second on one H200, paper preset."""
FLAT = 0.05
"""Share of its speed that an update may lose as the memory fills up."""
BYTES_PER_TRANSITION = 22_000
STORED = 512
"""Observations of noise that batches are drawn from."""
ANSWER = 600.0
"""Seconds after which a block that isn't over has failed."""

Bar = tuple[str, float, float, bool]
"""What, measured, wanted, whether it passes."""


@dataclass(frozen=True)
class Shape:
    """What an update works on.

    Attributes:
        method: of ``METHODS``.
        image: (C, H, W) of the observation.
        actions: size of the action.
        batch_size: transitions of an update.
        device: that computes.
        threads: of the CPU.
    """

    method: str
    image: tuple[int, int, int]
    actions: int
    batch_size: int
    device: str
    threads: int


class Reference:
    """What a ``Subject`` is compared with: the same method on the same shapes, ``updates`` of them in a block."""

    def __init__(self, shape: Shape, updates: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._updates = updates
        self._process = context.Process(target=serve, args=(theirs, shape, updates), daemon=True)
        self._process.start()
        theirs.close()

    def block(self) -> None:
        """A block of updates, batches included."""
        self.time()

    def time(self) -> float:
        """Seconds of one update, averaged over a block."""
        try:
            self._connection.send("block")
            if not self._connection.poll(ANSWER):
                raise FovealError(f"the published order of operations took over {ANSWER:.0f} s for a block")
            return self._connection.recv() / self._updates
        except (EOFError, OSError) as error:
            raise FovealError("the process of the published order of operations ended; is memory short?") from error

    def close(self) -> None:
        """End its process."""
        self._connection.close()
        self._process.join()


def serve(connection: Connection, shape: Shape, updates: int) -> None:
    """Answer each message with the seconds that a block took, until nobody asks any more."""
    torch.set_num_threads(shape.threads)
    device = torch.device(shape.device)
    sample = noise(shape, device)
    pictures = torch.randint(0, 256, (64, 3, *shape.image[1:]), dtype=torch.uint8)
    plain = Published(shape.method, shape.image, shape.actions, pictures, device=shape.device)

    def block() -> None:
        for _ in range(updates):
            plain.update(sample)

    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(seconds(block, device))


def noise(shape: Shape, device: torch.device) -> Any:
    """A function that draws a batch: obs, action, reward, next obs, not done."""
    frames = torch.randint(0, 256, (STORED, *shape.image), dtype=torch.uint8)
    size = shape.batch_size

    def sample() -> tuple[torch.Tensor, ...]:
        obs, next_obs = (frames[torch.randint(STORED, (size,))].to(device) for _ in range(2))
        action = torch.rand(size, shape.actions, device=device) * 2 - 1
        reward, not_done = (torch.ones(size, 1, device=device) for _ in range(2))
        return obs, action, reward, next_obs, not_done

    return sample


def reference_of(subject: Subject) -> Reference | None:
    """The published order on a subject's shapes; None of a method that it hasn't."""
    if subject.method not in METHODS:
        return None
    agent = subject.agent
    (actions,) = agent.shapes.action.shape or (1,)
    device, threads = str(subject.device), torch.get_num_threads()
    return Reference(Shape(subject.method, agent.shapes.image, actions, subject.batch_size, device, threads), PERIOD)


def ratios(report: SpeedReport) -> dict[str, float]:
    """Median seconds of the published order over ours, by method."""
    return {name: taken / report.updates[name].seconds for name, taken in report.against.items()}


def bars(report: SpeedReport) -> list[Bar]:
    """Every bar that this run can tell of."""
    wanted = BARS[report.dtype] if report.device == "cpu" else GPU_BARS
    found: list[Bar] = [
        (f"{name}: times the published order", ratio, wanted[name], ratio >= wanted[name])
        for name, ratio in ratios(report).items()
        if name in wanted
    ]
    if report.device != "cpu":
        rates = {name: 1 / report.updates[name].seconds for name in GPU_UPDATES if name in report.updates}
        found += [(f"{n}: updates/s", rate, GPU_UPDATES[n], rate >= GPU_UPDATES[n]) for n, rate in rates.items()]
    if report.growth:
        first, last = report.growth[0], report.growth[-1]
        lost = 1 - last.updates_per_second / first.updates_per_second
        found.append(("share of updates/s lost to a full memory", lost, FLAT, lost <= FLAT))
        stored = last.replay_bytes / last.transitions
        found.append(("bytes per stored transition", stored, BYTES_PER_TRANSITION, stored <= BYTES_PER_TRANSITION))
    return found


def tables(report: SpeedReport) -> str:
    """Comparison and bars, for people."""
    compared = [
        [name, f"{1e3 * report.updates[name].seconds:.1f}", f"{1e3 * taken:.0f}", f"{ratios(report)[name]:.1f}x"]
        for name, taken in report.against.items()
    ]
    held = [
        [what, f"{measured:.4g}", f"{wanted:g}", "pass" if passes else "falls short"]
        for what, measured, wanted, passes in bars(report)
    ]
    parts = [(["method", "ms/update", "published ms", "ratio"], compared), (["bar", "measured", "wanted", ""], held)]
    return "\n\n".join(columns([head, *rows]) for head, rows in parts if rows)


def record(report: SpeedReport) -> dict[str, Any]:
    """JSON-able: what ``foveal bench speed --json`` writes, the comparison and the bars."""
    return {
        **report.as_dict(),
        "reference_seconds": report.against,
        "ratios": ratios(report),
        "bars": [dict(zip(("bar", "measured", "wanted", "passes"), bar, strict=True)) for bar in bars(report)],
    }


def main() -> None:
    """Measure, print and write."""
    options = tyro.cli(BenchSpeedOptions, args=import_plugins(sys.argv[1:]), description=__doc__)
    if options.preset != "paper":
        sys.exit("the published order of operations has the published architecture: use the preset paper")
    keep_freed_memory()  # as the command line does
    report = measure_speed(checked(options), against=reference_of)
    print(f"{report}\n\n{tables(report)}")
    write(record(report), options)


if __name__ == "__main__":
    main()
