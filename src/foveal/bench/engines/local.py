"""Processes on this machine, each with its share of the cores, so that they don't fight for them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from foveal.bench.engines.base import ATTEMPTS, ENGINES, LOOK, Engine, died, give_up
from foveal.bench.worker import start

GRACE = 120.0
"""Seconds for a process to write its checkpoint after Ctrl-C."""


@ENGINES.register("local")
class LocalEngine(Engine):
    """Processes on this machine."""

    def run(self, folders: Sequence[Path], watch: Callable[[], None]) -> None:
        waiting, deaths = list(folders), Counter[Path]()
        self.running: dict[int, tuple[Path, subprocess.Popen[bytes]]] = {}  # by place: each has its own GPU, if any
        try:
            while waiting or self.running:
                for place in sorted(set(range(self.at_once)) - set(self.running)):
                    if waiting:
                        self._start(place, waiting.pop(0))
                time.sleep(LOOK)
                watch()
                waiting = [*self._ended(deaths), *waiting]
        except KeyboardInterrupt:
            self._stop()
            raise

    def _start(self, place: int, folder: Path) -> None:
        gpus = torch.cuda.device_count()
        more = {"CUDA_VISIBLE_DEVICES": str(place % gpus)} if gpus > 1 else {}
        self.running[place] = folder, start(folder, self.options.threads(self.at_once), more)

    def _ended(self, deaths: Counter[Path]) -> list[Path]:
        """Frees the places of processes that have ended; gives the cells of those that died and may have another."""
        again = []
        for place, (folder, process) in list(self.running.items()):
            status = process.poll()
            if status is None:
                continue
            del self.running[place]
            if not died(folder, status):
                continue
            deaths[folder] += 1
            if deaths[folder] < ATTEMPTS:
                again.append(folder)
            else:
                give_up(folder, status)
        return again

    def _stop(self) -> None:
        """Ctrl-C for every process, and time for their checkpoints."""
        for _, process in self.running.values():
            process.send_signal(signal.SIGINT)
        for _, process in self.running.values():
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
