"""Updates as CUDA graphs: the host launches one graph instead of a thousand kernels.

Policy, target networks and auxiliary losses come every so many updates, so there is one graph for each of what may be
due together. The first updates of a kind run as they are, which makes optimizers and libraries allocate what they need;
then one is recorded and replayed ever after, with the same mathematics on the same tensors. Random numbers come from
the device's generator, which every graph is told of, so that each replay draws new ones.

Where a recording fails, updates go on as they are: recording runs no kernel, so nothing of the update has happened yet.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from foveal.learners.base import Learner
from foveal.methods.base import Method
from foveal.timing import phase
from foveal.training.updater import Due, Updater
from foveal.types import Batch

WARM_UP = 3
"""Updates with the same things due that run as they are before one is recorded."""


class Recording(NamedTuple):
    """An update that can be repeated.

    Attributes:
        replay: launch it.
        metrics: what it writes to, each time.
    """

    replay: Callable[[], None]
    metrics: dict[str, Tensor]


class CapturedUpdater(Updater):
    """An updater that replays CUDA graphs; arguments as ``Updater``'s. Learner and method must be ``capturable``.

    Metrics are tensors that the next update with the same things due writes to again.

    Attributes:
        failed: whether a recording has failed, with a RuntimeWarning: every later update runs as it is.
    """

    failed = False

    def __init__(self, learner: Learner, method: Method, *, pixel_gradient: bool) -> None:
        super().__init__(learner, method, pixel_gradient=pixel_gradient)
        self.restart()

    def restart(self) -> None:
        """Forget what was recorded: it holds on to the tensors that were there before."""
        self._warm: Counter[Due] = Counter()
        self._recordings: dict[Due, Recording] = {}
        self._batch: Batch | None = None

    def update(self, batch: Batch, sample: Callable[[int], Batch]) -> dict[str, Tensor]:
        """As ``Updater.update``; every batch has the shapes of the first one."""
        if self.failed:
            return super().update(batch, sample)
        due = self.due()
        if self._warm[due] < WARM_UP:
            self._warm[due] += 1
            return self._aside(lambda: super(CapturedUpdater, self).update(batch, sample))
        with phase("augment"):
            self.method.begin_update(self.count)
        recording = self._recorded(due, batch, sample)
        if recording is None:
            metrics = self._steps(batch, sample)
        else:
            recording.replay()
            metrics = recording.metrics
        self.count += 1
        return metrics

    def _recorded(self, due: Due, batch: Batch, sample: Callable[[int], Batch]) -> Recording | None:
        """The recording of an update with these things due, ready to be replayed on the batch; None where it fails."""
        try:
            held = self._hold(batch)
            if due not in self._recordings:
                self._recordings[due] = self._record(lambda: self._steps(held, sample))
            return self._recordings[due]
        except RuntimeError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: RuntimeError) -> None:
        """Run every update as it is from now on; the first error is the reason, and those that it led to are not."""
        reason: BaseException = error
        while reason.__context__ is not None:
            reason = reason.__context__
        self.failed = True
        self.restart()
        for generator in self._generators():
            self._free(generator)
        text = str(reason).partition("\n")[0]
        warnings.warn(
            f"recording update {self.count} as a CUDA graph failed ({type(reason).__name__}: {text}): updates go on "
            "without recordings, to the same results and more slowly; training.cuda_graphs = false leaves them out",
            RuntimeWarning,
            stacklevel=4,
        )

    def _hold(self, batch: Batch) -> Batch:
        """The batch at the addresses that the recordings read."""
        if self._batch is None:
            self._batch = batch.clone()
        else:
            self._batch.copy_(batch)
        return self._batch

    def _record(self, work: Callable[[], dict[str, Tensor]]) -> Recording:
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators():
            graph.register_generator_state(generator)
        # A recording that fails leaves its own stream as the current one: the outer block goes back.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
            metrics = work()
        return Recording(graph.replay, metrics)

    def _generators(self) -> set[torch.Generator]:
        return {generator for generator in (self.learner.generator, self.method.generator) if generator is not None}

    def _free(self, generator: torch.Generator) -> None:
        """A recording that fails leaves its generators refusing to draw outside of one; a copy of their state draws."""
        generator.graphsafe_set_state(generator.clone_state())

    def _aside(self, work: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Work on a stream of its own, as what comes before a recording should be."""
        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            metrics = work()
        here.wait_stream(aside)
        return metrics
