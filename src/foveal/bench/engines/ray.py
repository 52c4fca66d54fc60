"""A Ray cluster: cells with fractions of its CPUs and GPUs, tried again where a worker or a machine dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from foveal.bench.engines.base import ATTEMPTS, ENGINES, LOOK, Engine, EngineOptions, died, give_up
from foveal.bench.worker import start
from foveal.errors import require

EXTRA = 'the engine ray needs the extra that brings it: pip install "foveal[ray]"'
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray sends them otherwise
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # says FutureWarning otherwise, for every task without a GPU
    "RAY_DEDUP_LOGS": "0",
}
GRACE = 120.0
"""Seconds for workers to write their checkpoints after Ctrl-C."""


class ProcessDied(Exception):
    """A cell's process ended without a word, with this exit status: Ray tries again."""


@ENGINES.register("ray")
class RayEngine(Engine):
    """A Ray cluster. The ledger must be in a folder that all of its machines share."""

    def __init__(self, options: EngineOptions) -> None:
        super().__init__(options)
        require("ray", EXTRA)

    def run(self, folders: Sequence[Path], watch: Callable[[], None]) -> None:
        os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
        import ray

        cpus = self.options.share(self.at_once)
        self._connect(ray, cpus)
        try:
            task = ray.remote(**self._limits(cpus))(attempt)
            self._all(ray, task, folders, watch)
        finally:
            ray.shutdown()

    def _limits(self, cpus: float) -> dict[str, Any]:
        """What a task takes, how often it is tried again, and that each has a process of its own."""
        again = {"max_retries": ATTEMPTS, "retry_exceptions": [ProcessDied]}
        return {"num_cpus": cpus, "num_gpus": self.options.gpus_per_run, "max_calls": 1, **again}

    def _connect(self, ray: Any, cpus: float) -> None:
        address = self.options.address or os.environ.get("RAY_ADDRESS")
        own = {} if address else {"num_cpus": max(1, round(cpus * self.at_once)), "include_dashboard": False}
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False, **own)

    def _all(self, ray: Any, task: Any, folders: Sequence[Path], watch: Callable[[], None]) -> None:
        """At most ``workers`` at a time, where that is asked for; else as many as the cluster has room for."""
        threads, most = self.options.threads(self.at_once), self.options.workers or len(folders)
        queue, running = list(folders), dict[Any, Path]()
        try:
            while queue or running:
                while queue and len(running) < most:
                    folder = queue.pop(0)
                    running[task.remote(str(folder), threads)] = folder
                ended, _ = ray.wait(list(running), timeout=LOOK)
                for reference in ended:
                    self._end(ray, reference, running.pop(reference))
                watch()
        except KeyboardInterrupt:
            for reference in running:
                ray.cancel(reference)
            ray.wait(list(running), num_returns=max(1, len(running)), timeout=GRACE)
            raise

    def _end(self, ray: Any, reference: Any, folder: Path) -> None:
        try:
            ray.get(reference)
        except ray.exceptions.RayError as error:
            if died(folder, None):
                give_up(folder, " ".join(str(error).split())[-200:], ATTEMPTS + 1)


def attempt(folder: str, threads: int) -> int:
    """Within a worker of Ray's: one process for a cell; returns its exit status.

    Raises:
        ProcessDied: it ended without a word.
    """
    process = start(Path(folder), threads)
    try:
        status = process.wait()
    except KeyboardInterrupt:  # Ray's cancel
        process.send_signal(signal.SIGINT)
        return process.wait()
    if died(Path(folder), status):
        raise ProcessDied(f"exit status {status}")
    return status
