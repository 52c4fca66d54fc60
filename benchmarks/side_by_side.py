"""What other programs cost a training: alone, two trainings side by side, and beside one busy single-threaded program.

    python benchmarks/side_by_side.py [ENV] [--method sgqn] [--preset compact] [--seconds 5] [--rounds 2] [--json FILE]

Each training is a process of its own, with as many threads as it takes by itself, or always the same number with
``--fixed-threads``. Both are ready before anything is timed, each time begins when they have noticed each other, and
one that isn't timed waits. Training steps are agent steps of a running training, updates included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import foveal
from foveal.cli import let_idle_threads_sleep
from foveal.evaluation.results import machine, now, versions, write_json
from foveal.machine.allocator import keep_freed_memory
from foveal.training import Callback, ReplayWork, RunOptions, Trainer
from foveal.training.threads import PERIOD

UNTIMED = 8
"""Updates that set things up."""
NOTICING = 2.5 * PERIOD
"""Seconds from a change of company to the first that count."""
PREFIXES = ("OMP_", "GOMP_", "MKL_", "ONEDNN_", "ATEN_")
"""Of the environment variables that are written down."""
BUSY = "while True: pass"


class Watch(Callback):
    """Trains for as many seconds as a line of standard input says, answers with steps a second, and waits again."""

    def __init__(self) -> None:
        self.steps, self.counted_from, self.start, self.end = 0, 0.0, 0.0, 0.0

    def on_step(self, trainer: Trainer) -> bool:
        """Ends the training with the input."""
        now, steps = time.perf_counter(), trainer.agent.steps
        if now < self.start:
            self.steps, self.counted_from = steps, now
        if trainer.agent.updates < UNTIMED or now < self.end:
            return True
        print((steps - self.steps) / (now - self.counted_from) if self.end else 0.0, flush=True)
        line = sys.stdin.readline()
        self.start = time.perf_counter() + NOTICING
        self.end = self.start + float(line or 0)
        return bool(line)


def train(env: str, method: str, preset: str, precision: str, *, adapt: bool) -> None:
    """A training that its parent process times."""
    keep_freed_memory()  # as `foveal train` does
    loop = {"initial_random_steps": 40, "catch_up_updates": 0, "replay_capacity": 20_000, "precision": precision}
    agent = foveal.Agent(env, method=method, preset=preset, training=loop)
    options = RunOptions(evaluate_every=0, adapt_threads=adapt)
    Trainer(ReplayWork(agent), options, callbacks=[Watch()], progress=False).train(1_000_000)


class Training:
    """A training in a process of its own."""

    def __init__(self, arguments: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self, seconds: float) -> None:
        """Let it train for so long."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()

    def rate(self) -> float:
        """Steps a second of what was begun last."""
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())


def together(trainings: list[Training], seconds: float) -> list[float]:
    """Steps a second of each, all at the same time."""
    for training in trainings:
        training.begin(seconds)
    return [training.rate() for training in trainings]


@contextmanager
def busy_program() -> Iterator[None]:
    """A program that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(arguments: list[str], seconds: float, rounds: int) -> dict[str, list[float]]:
    """Training steps a second, by company."""
    one, other = trainings = [Training(arguments), Training(arguments)]
    found: dict[str, list[float]] = {"alone": [], "side by side": [], "beside a busy program": []}
    for training in trainings:
        training.rate()  # what it says once it is ready
    for _ in range(rounds):
        found["alone"] += together([one], seconds)
        found["side by side"] += together([one, other], seconds)
        with busy_program():
            found["beside a busy program"] += together([one], seconds)
    for training in trainings:
        training.process.communicate()
    return found


def main() -> None:
    """Print a table; write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env", nargs="?", default="dmc/walker-stand")
    parser.add_argument("--method", default="sgqn")
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--fixed-threads", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        train(options.env, options.method, options.preset, options.precision, adapt=not options.fixed_threads)
        return
    let_idle_threads_sleep()  # as `foveal train` does, in the processes that are started from here
    arguments = [options.env, "--method", options.method, "--preset", options.preset, "--precision", options.precision]
    arguments += ["--fixed-threads"] if options.fixed_threads else []
    rates = measure(arguments, options.seconds, options.rounds)
    alone = statistics.median(rates["alone"])
    for company, each in rates.items():
        median = statistics.median(each)
        print(f"{company:22}  {median:6.1f} training steps/s  {alone / median:4.2f} times the time alone")
    if options.json is not None:
        settings = {name: value for name, value in os.environ.items() if name.startswith(PREFIXES)}
        record = {"arguments": arguments, "environment": settings, "machine": machine(), "versions": versions()}
        write_json(options.json, {**record, "created": now(), "training_steps_per_second": rates})


if __name__ == "__main__":
    main()
