"""Recorded updates: the order of things on any machine, CUDA graphs themselves where there is a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import foveal
from foveal.bench.updates import noise_replay
from foveal.methods import METHODS
from foveal.training.cuda_graphs import WARM_UP, CapturedUpdater, UpdateGraph
from foveal.training.updater import Due, Updater
from foveal.types import Batch
from small_env import Counter

PERIOD = 2
"""With and without policy, targets and attribution: the two kinds of updates of the debug preset."""


class Replayer(CapturedUpdater):
    """A recorder without a GPU: replaying is doing it again on what is held, into the same metrics."""

    recorded = 0

    def _record(self, work: Callable[[], dict[str, Tensor]]) -> UpdateGraph:
        self.recorded += 1
        metrics: dict[str, Tensor] = {}

        def replay() -> None:
            for name, value in work().items():
                metrics.setdefault(name, torch.empty_like(value)).copy_(value)

        return UpdateGraph(replay, metrics)

    def _aside(self, work: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        return work()


class Failing(Replayer):
    """A recorder that fails at one of two kinds of updates, as a CUDA graph does: Python has run, and no kernel has."""

    fails_at = 0

    def _record(self, work: Callable[[], dict[str, Tensor]]) -> UpdateGraph:
        if self.updates % PERIOD != self.fails_at:
            return super()._record(work)
        held = [(tensor, tensor.clone()) for tensor in self._tensors()]
        states = [(generator, generator.get_state()) for generator in self._generators()]
        work()
        for tensor, value in held:
            tensor.data.copy_(value)
        for parameter in [*self.learner.parameters(), *self.method.parameters()]:
            parameter.grad = None if parameter.grad is None else torch.full_like(parameter, torch.nan)
        for generator, state in states:
            generator.set_state(state)
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    def _tensors(self) -> list[Tensor]:
        moments = [
            value for each in self.optimizers().values() for kept in each.state.values() for value in kept.values()
        ]
        return [*self.learner.state_dict().values(), *self.method.state_dict().values(), *moments]

    def _free(self, generator: torch.Generator) -> None:
        freed.append(generator)


freed: list[torch.Generator] = []


def agent_of(method: str = "sgqn", device: str = "cpu", *, learner: str = "sac", **training: Any) -> foveal.Agent:
    settings = {"device": device, "batch_size": 8, **training}
    env = Counter if learner == "sac" else lambda: Counter(discrete=True)
    agent = foveal.Agent(env, method=method, learner=learner, preset="debug", training=settings)
    agent.method.get_ready()
    return agent


def updated(agent: foveal.Agent, updater: Updater, count: int) -> list[dict[str, float]]:
    replay = noise_replay(agent, 300)

    def sample(size: int) -> Batch:
        return replay.sample(size).to(agent.device)

    metrics = [updater.update(sample(8), sample) for _ in range(count)]
    return [{name: float(value) for name, value in found.items()} for found in metrics]


def weights(agent: foveal.Agent) -> dict[str, Tensor]:
    return {**agent.learner.state_dict(), **{f"method.{k}": v for k, v in agent.method.state_dict().items()}}


def in_its_place(agent: foveal.Agent, kind: type[CapturedUpdater]) -> CapturedUpdater:
    agent.updater = kind(agent.learner, agent.method, pixel_gradient=agent.updater.pixel_gradient)
    return agent.updater


RECORDED = ("none", "drq", "svea", "sgqn", "madi", "sada")


@pytest.mark.parametrize(("method", "learner"), [*((method, "sac") for method in RECORDED), ("drq", "dqn")])
@pytest.mark.slow
def test_recorded_updates_are_the_same_updates(method: str, learner: str) -> None:
    plain, other = (agent_of(method, learner=learner) for _ in range(2))
    replayer = in_its_place(other, Replayer)
    count = (WARM_UP + 3) * 2 * PERIOD + 1
    first = updated(plain, plain.updater, count)
    updated(other, replayer, count)
    assert replayer.recorded == len(replayer._recordings) == PERIOD
    assert replayer.updates == plain.updates == count
    for name, wanted in weights(plain).items():
        assert torch.equal(weights(other)[name], wanted), name
    assert first


@pytest.mark.parametrize("method", ["none", "sgqn"])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.slow
def test_where_a_recording_fails_updates_go_on_as_they_are(
    method: str, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "fails_at", place)
    freed.clear()
    plain, other = agent_of(method), agent_of(method)
    updater = in_its_place(other, Failing)
    count = WARM_UP * PERIOD + place
    first = updated(plain, plain.updater, count + 7)
    replay = noise_replay(other, 300)

    def sample(size: int) -> Batch:
        return replay.sample(size).to(other.device)

    found = [updater.update(sample(8), sample) for _ in range(count)]
    assert not updater.failed
    with pytest.warns(RuntimeWarning, match=FAILURE.format(count)) as warned:
        found += [updater.update(sample(8), sample) for _ in range(5)]
    updater.restart()  # as after loading: nothing is recorded again
    found += [updater.update(sample(8), sample) for _ in range(2)]
    assert len(warned) == 1 and updater.failed
    assert freed == [other.generator]
    assert [{name: float(value) for name, value in each.items()} for each in found[count:]] == first[count:]
    assert updater.updates == plain.updates
    for name, wanted in weights(plain).items():
        assert torch.equal(weights(other)[name], wanted), name
    assert torch.equal(other.generator.get_state(), plain.generator.get_state())


FAILURE = (
    r"recording update {} as a CUDA graph failed \(RuntimeError: operation not permitted when stream is capturing\): "
    "updates go on without recordings, to the same results and more slowly"
)


def test_other_mistakes_are_no_failed_recordings() -> None:
    agent = agent_of("none")
    updater = in_its_place(agent, Replayer)
    updated(agent, updater, WARM_UP * PERIOD)

    def broken(work: Callable[[], dict[str, Tensor]]) -> UpdateGraph:
        raise ValueError("a mistake")

    updater._record = broken  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="a mistake"):
        updated(agent, updater, 1)


class Graph:
    """In place of ``torch.cuda.CUDAGraph``: notes generators."""

    def __init__(self) -> None:
        self.generators: list[torch.Generator] = []

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append(generator)

    def replay(self) -> None:
        raise AssertionError("it was never recorded")


def test_a_recording_that_fails_gives_the_stream_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's own context manager doesn't, where the end of a recording is what fails."""
    current = ["default"]

    @contextmanager
    def stream(name: str) -> Iterator[None]:
        before, current[0] = current[0], name
        try:
            yield
        finally:
            current[0] = before

    class Recorder:
        def __init__(self, graph: Graph) -> None:
            assert graph.generators == [agent.generator]

        def __enter__(self) -> None:
            current[0] = "side"

        def __exit__(self, *args: object) -> None:
            raise RuntimeError("operation failed due to a previous error during capture")

    agent = agent_of("none")
    for name, stand_in in {"CUDAGraph": Graph, "graph": Recorder, "stream": stream}.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current[0])
    updater = in_its_place(agent, CapturedUpdater)
    with pytest.raises(RuntimeError, match="previous error"):
        updater._record(dict)
    assert current == ["default"]


@pytest.mark.slow
def test_there_is_one_recording_for_each_of_what_is_due_together() -> None:
    """Attribution every 3rd update, the policy every 2nd, targets every 4th: 12 places, and 6 kinds of updates."""
    settings = {"sgqn": {"auxiliary_period": 3}, "sac": {"actor_period": 2, "target_period": 4}}
    agent = foveal.Agent(Counter, preset="debug", training={"device": "cpu", "batch_size": 8}, **settings)  # type: ignore[arg-type]
    agent.method.get_ready()
    replayer = in_its_place(agent, Replayer)
    seen: list[tuple[Any, bool, bool, bool]] = []
    for number in range(12 * (WARM_UP + 1)):
        due, before = replayer.due(), replayer.recorded
        (metrics,) = updated(agent, replayer, 1)
        warm = sum(kind == due for kind, *_ in seen)
        seen.append((due, replayer.recorded > before, "actor/loss" in metrics, "attribution/loss" in metrics))
        assert seen[-1][1] == (warm == WARM_UP)  # recorded once, when its own kind has run so often
        assert due == Due(number % 2 == 0, number % 4 == 0, number % 3 == 0)
    kinds = {(n % 2 == 0, n % 4 == 0, n % 3 == 0) for n in range(12)}
    assert replayer.recorded == len(kinds) == 6
    assert all((due.policy, due.method) == (actor, attribution) for due, _, actor, attribution in seen)


@pytest.mark.slow
def test_a_batch_is_held_where_the_first_one_was() -> None:
    agent = agent_of()
    replayer = in_its_place(agent, Replayer)
    updated(agent, replayer, WARM_UP * PERIOD + 1)
    held = replayer._batch
    assert held is not None
    address = held.obs.image.data_ptr()
    updated(agent, replayer, 2)
    assert replayer._batch is held and held.obs.image.data_ptr() == address


@pytest.mark.slow
def test_other_weights_end_what_was_recorded() -> None:
    agent = agent_of()
    replayer = in_its_place(agent, Replayer)
    updated(agent, replayer, (WARM_UP + 1) * PERIOD)
    agent.load_state(*agent.state())
    updated(agent, replayer, (WARM_UP + 1) * PERIOD)
    assert replayer.recorded == 2 * PERIOD


def test_methods_that_sample_further_batches_are_not_recorded() -> None:
    assert {name for name in METHODS.names() if not METHODS.get(name).capturable} == {"soda"}


def test_on_a_cpu_nothing_is_recorded() -> None:
    assert type(agent_of().updater) is Updater


def test_a_copied_batch_equals_the_original_and_shares_no_memory() -> None:
    agent = agent_of()
    replay = noise_replay(agent, 300)
    first, second = replay.sample(8), replay.sample(8)
    held = first.clone()
    assert torch.equal(held.obs.image, first.obs.image) and held.obs.image.data_ptr() != first.obs.image.data_ptr()
    held.copy_(second)
    for mine, theirs in zip(held._tensors(), second._tensors(), strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(held.obs.image, first.obs.image)


# --- on a GPU ---------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("learner", ["sac", "dqn"])
@pytest.mark.parametrize("method", [name for name in METHODS.names() if METHODS.get(name).capturable])
def test_one_replay_computes_what_one_eager_update_computes(method: str, learner: str) -> None:
    """From the same weights, batch and generator state; float32, so that only the order of sums may differ."""
    agent = agent_of(method, "cuda", learner=learner, precision="float32")
    updater = agent.updater
    assert isinstance(updater, CapturedUpdater)
    replay = noise_replay(agent, 300)
    for _ in range((WARM_UP + 1) * 2 * PERIOD):
        updater.update(replay.sample(8).to(agent.device), replay.sample)
    batch = replay.sample(8).to(agent.device)
    before = {name: value.clone() for name, value in weights(agent).items()}
    state, random = agent.state(), agent.generator.get_state()
    updater.update(batch, replay.sample)
    replayed = {name: value.clone() for name, value in weights(agent).items()}
    agent.load_state(*state)
    agent.generator.set_state(random)
    Updater.update(updater, batch, replay.sample)
    for name, value in weights(agent).items():
        torch.testing.assert_close(replayed[name] - before[name], value - before[name], rtol=1e-2, atol=1e-5)


@pytest.mark.gpu
def test_every_replay_draws_new_noise() -> None:
    agent = agent_of("none", "cuda")
    updater = agent.updater
    assert isinstance(updater, CapturedUpdater)
    replay = noise_replay(agent, 300)
    batch = replay.sample(8).to(agent.device)
    for _ in range((WARM_UP + 1) * PERIOD):
        updater.update(batch, replay.sample)
    states = []
    for _ in range(4):
        updater.update(batch, replay.sample)
        states.append(agent.generator.get_state().clone())
    assert all(not torch.equal(a, b) for a, b in pairwise(states))
    draw = torch.cuda.CUDAGraph()
    draw.register_generator_state(agent.generator)
    with torch.cuda.graph(draw):
        noise = torch.randn(16, device="cuda", generator=agent.generator)
    draw.replay()
    first = noise.clone()
    draw.replay()
    assert not torch.equal(first, noise)


@pytest.mark.gpu
def test_replay_lives_on_the_gpu_where_it_fits() -> None:
    agent = agent_of("none", "cuda")
    assert noise_replay(agent, 300).device.type == "cuda"
    assert noise_replay(agent_of("none", "cuda", replay_device="cpu"), 300).device.type == "cpu"
