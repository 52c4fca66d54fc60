"""Slurm, through submitit: a job for each cell, queued again when its time is up."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from foveal.bench.engines.base import ENGINES, LOOK, Engine, EngineOptions, died, give_up
from foveal.bench.worker import start
from foveal.errors import require

EXTRA = 'the engine slurm needs the extra that brings it: pip install "foveal[slurm]"'
LOGS = "slurm"
"""Folder beside the cells of a suite, for what Slurm and submitit write."""
REQUEUES = 100
"""How often a job may be queued again after its time was up."""
POLL = 5
"""Looks at the cells for each look at the queue."""
MANY = 1000
"""Jobs at once, where no number is asked for: the queue decides."""
GRACE = 60.0
"""Seconds for a checkpoint when the time is up; Slurm warns 90 seconds before it ends a job."""


@ENGINES.register("slurm")
class SlurmEngine(Engine):
    """Slurm. The ledger must be in a folder that all machines share.

    Args:
        options: see ``EngineOptions``.
        cluster: ``"slurm"``, or ``"local"`` for submitit's own processes on this machine.
    """

    def __init__(self, options: EngineOptions, cluster: str = "slurm") -> None:
        super().__init__(options)
        require("submitit", EXTRA)
        self.cluster = cluster

    @property
    def at_once(self) -> int:
        return self.options.workers or MANY

    def run(self, folders: Sequence[Path], watch: Callable[[], None]) -> None:
        if not folders:
            return
        jobs = self._submit(folders)
        waiting = dict(zip(folders, jobs, strict=True))
        looks = 0
        while waiting:
            time.sleep(LOOK)
            looks += 1
            watch()
            if looks % POLL == 0:
                waiting = {folder: job for folder, job in waiting.items() if not self._ended(folder, job)}

    def _submit(self, folders: Sequence[Path]) -> list[Any]:
        import submitit

        executor = submitit.AutoExecutor(
            folder=folders[0].parents[2] / LOGS, cluster=self.cluster, slurm_max_num_timeout=REQUEUES
        )
        gpus = self.options.gpus_per_run
        threads = max(1, int(self.options.cpus_per_run or 1))
        executor.update_parameters(
            name="foveal",
            timeout_min=max(1, round(60 * self.options.hours_per_run)),
            cpus_per_task=threads,
            slurm_array_parallelism=self.at_once,
            **({"gpus_per_node": max(1, int(gpus))} if gpus else {}),
            **({"slurm_partition": self.options.partition} if self.options.partition else {}),
        )
        return executor.map_array(CellJob(), [str(folder.absolute()) for folder in folders], [threads] * len(folders))

    def _ended(self, folder: Path, job: Any) -> bool:
        if not job.done():
            return False
        if died(folder, None):
            give_up(folder, f"job {job.job_id} ended as {job.state}", 1)
        return True


class CellJob:
    """What a job does; submitit calls ``checkpoint`` when its time is nearly up, and queues what that returns."""

    def __call__(self, folder: str, threads: int) -> int:
        """Work on a cell; returns the exit status of its process."""
        self.process = start(Path(folder), threads)
        while (status := self.process.poll()) is None:
            time.sleep(LOOK)  # and no wait(), whose lock ``checkpoint`` would meet
        return status

    def checkpoint(self, folder: str, threads: int) -> Any:
        """Let the process write a checkpoint; the next job goes on from it."""
        from submitit.helpers import DelayedSubmission

        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return DelayedSubmission(CellJob(), folder, threads)
