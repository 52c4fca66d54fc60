"""Updates as CUDA graphs: the host launches one graph instead of a thousand kernels.

Policy, target networks and auxiliary losses have steps every so many updates, so there is one graph for each
combination of steps. The first updates of a combination run eagerly, so that optimizers and libraries allocate what
they need; then one is recorded and replayed from then on, with the same mathematics on the same tensors. Random numbers
come from the device's generators, which are registered with every graph, so that each replay draws new ones.

If a recording fails, updates go on eagerly. UpdateGraph runs no kernel, so none of the update has happened by then.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from foveal.timing import phase
from foveal.training.updater import Due, Updater
from foveal.types import Batch

WARM_UP = 3
"""Updates of a combination that run eagerly before one is recorded."""


class UpdateGraph(NamedTuple):
    """An update as a CUDA graph.

    Attributes:
        replay: launches it.
        metrics: the tensors to which every replay writes.
    """

    replay: Callable[[], None]
    metrics: dict[str, Tensor]


class CapturedUpdater(Updater):
    """An updater that replays CUDA graphs; arguments as ``Updater``'s. Learner and method must be ``capturable``.

    Metrics are tensors that the next update with the same ``due`` overwrites.

    Attributes:
        failed: whether a recording has failed, with a RuntimeWarning, so that every later update runs eagerly.
    """

    failed = False

    def restart(self) -> None:
        """Forget the recordings, which use the tensors of before."""
        self._warm: Counter[Due] = Counter()
        self._recordings: dict[Due, UpdateGraph] = {}
        self._batch: Batch | None = None

    def update(self, batch: Batch, sample: Callable[[int], Batch]) -> dict[str, Tensor]:
        """Like ``Updater.update``, for batches of equal shapes."""
        if self.failed:
            return super().update(batch, sample)
        due = self.due()
        if self._warm[due] < WARM_UP:
            self._warm[due] += 1
            return self._aside(lambda: super(CapturedUpdater, self).update(batch, sample))
        with phase("augment"):
            self.method.begin_update(self.updates)
        recording = self._recorded(due, batch, sample)
        if recording is None:
            metrics = self._steps(batch, sample)
        else:
            recording.replay()
            metrics = recording.metrics
        self.updates += 1
        return metrics

    def _recorded(self, due: Due, batch: Batch, sample: Callable[[int], Batch]) -> UpdateGraph | None:
        """The recording of such an update, ready to be replayed on the batch; None where recording fails."""
        try:
            fixed = self._fixed(batch)
            if due not in self._recordings:
                self._recordings[due] = self._record(lambda: self._steps(fixed, sample))
            return self._recordings[due]
        except RuntimeError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: RuntimeError) -> None:
        """Run every update eagerly from now on, and warn of the first error, which has led to the others."""
        reason: BaseException = error
        while reason.__context__ is not None:
            reason = reason.__context__
        self.failed = True
        self.restart()
        for generator in self._generators():
            self._free(generator)
        text = str(reason).partition("\n")[0]
        warnings.warn(
            f"recording update {self.updates} as a CUDA graph failed ({type(reason).__name__}: {text}): updates go on "
            "without recordings, to the same results and more slowly; training.cuda_graphs = false leaves them out",
            RuntimeWarning,
            stacklevel=4,
        )

    def _fixed(self, batch: Batch) -> Batch:
        """The batch at the addresses from which the recordings read."""
        if self._batch is None:
            self._batch = batch.clone()
        else:
            self._batch.copy_(batch)
        return self._batch

    def _record(self, work: Callable[[], dict[str, Tensor]]) -> UpdateGraph:
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators():
            graph.register_generator_state(generator)
        # A recording that fails leaves its own stream as the current one; the outer block restores it.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
            metrics = work()
        return UpdateGraph(graph.replay, metrics)

    def _generators(self) -> set[torch.Generator]:
        return {generator for generator in (self.learner.generator, self.method.generator) if generator is not None}

    def _free(self, generator: torch.Generator) -> None:
        """Let a generator draw again, which a failed recording has left unable to: a copy of its state can."""
        generator.graphsafe_set_state(generator.clone_state())

    def _aside(self, work: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Run work on a stream of its own, as CUDA wants it before a recording."""
        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            metrics = work()
        here.wait_stream(aside)
        return metrics
