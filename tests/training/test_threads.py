"""Fewer threads while other programs need cores, by given readings: nothing here depends on the machine's load."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from foveal.commands import options
from foveal.training import Callback, ReplayWork, RunOptions, Trainer, threads
from foveal.training.threads import GLANCE, PERIOD, Reading, Threads, busy, read, taken, wanted_threads
from small_env import small_agent

STAT = """cpu  999 999 999 999 999 999 999 999 0 0
cpu0 100 20 30 9000 500 4 6 700 60 10
cpu1 1000 0 0 9000 0 0 0 0 0 0
cpu10 5000 0 0 0 0 0 0 0 0 0
intr 12345 1 2
"""


class Machine:
    """A machine of two cores, looked at every so many seconds, on which others take a given share.

    Args:
        others: cores that other programs keep busy before each look.
        own: cores that this process does.
    """

    def __init__(self, *others: float, own: float = 1.0, cores: int = 2) -> None:
        self.others, self.cores, self.own = list(others), cores, own
        self.now = Reading(-1000.0, 0.0, 0.0, cores)

    def __call__(self) -> Reading:
        now = self.now
        if self.others:
            busy = now.busy + PERIOD * (self.others.pop(0) + self.own)
            self.now = Reading(now.time + PERIOD, busy, now.own + PERIOD * self.own, self.cores)
        return now


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in threads.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("nice", "given_way"), [(0, 0), (10, 20)])
def test_a_core_is_busy_with_everything_but_waiting(
    nice: int, given_way: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs of low priority count where this one has a low priority itself."""
    (tmp_path / "stat").write_text(STAT)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 10}, raising=False)
    monkeypatch.setattr(os, "getpriority", lambda which, who: nice, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda _: 100, raising=False)
    found = read(str(tmp_path / "stat"))
    assert found is not None
    assert (found.busy, found.cores) == pytest.approx(((100 + given_way + 30 + 4 + 6 + 5000) / 100, 2))


def test_elsewhere_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(str(tmp_path / "none")) is None
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert read() is None
    assert busy(lambda: None, pytest.fail) is None


@pytest.mark.skipif(sys.platform != "linux", reason="a file of Linux")
def test_linux_tells() -> None:
    first, second = read(), read()
    assert first is not None and second is not None
    assert 0 < first.own <= second.own and 0 < first.busy <= second.busy
    assert first.cores == len(os.sched_getaffinity(0))


def test_others_are_all_but_this_process() -> None:
    before = Reading(10.0, 100.0, 7.0, 4)
    assert taken(before, Reading(12.0, 106.0, 9.0, 4)) == pytest.approx((6 - 2) / 2)
    assert taken(before, Reading(12.0, 100.5, 9.0, 4)) == 0.0  # ticks are coarse
    assert taken(before, Reading(12.0, 120.0, 7.0, 4)) == 4.0
    assert taken(None, before) == taken(before, None) == taken(before, before) == 0.0


@pytest.mark.parametrize(
    ("most", "cores", "others", "wanted"),
    [(2, 2, 0.0, 2), (2, 2, 0.3, 2), (2, 2, 0.4, 1), (2, 2, 1.0, 1), (2, 2, 2.0, 1), (8, 8, 4.0, 4), (8, 16, 8.0, 8),
     (8, 16, 12.0, 4), (1, 8, 0.0, 1)],
)  # fmt: skip
def test_as_many_threads_as_cores_are_free(most: int, cores: int, others: float, wanted: int) -> None:
    assert wanted_threads(most, cores, others) == wanted


@pytest.mark.usefixtures("two_threads")
def test_threads_follow_what_others_take() -> None:
    machine = Machine(1.0, 1.0, 0.0, 0.0)
    adapting = Threads(adapt=True, read=machine)
    found = [(adapting.adapt(), torch.get_num_threads()) for _ in range(4)]
    assert found == [(1, 1), (None, 1), (2, 2), (None, 2)]
    machine.others = [1.0]
    machine()
    assert adapting.adapt() == 1
    adapting.restore()
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_the_machine_is_looked_at_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(1.0)
    adapting = Threads(adapt=True, read=machine)
    monkeypatch.setattr(threads.time, "monotonic", lambda: -1000.0 + 0.99 * PERIOD)
    assert adapting.adapt() is None
    monkeypatch.setattr(threads.time, "monotonic", lambda: -1000.0 + 1.01 * PERIOD)
    assert adapting.adapt() == 1


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("name", threads.SETTINGS)
def test_what_the_user_set_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Threads(adapt=False, read=Machine(2.0, 2.0)).adapt() is None
    monkeypatch.setenv(name, "2")
    assert Threads(adapt=True, read=Machine(2.0, 2.0)).adapt() is None
    assert torch.get_num_threads() == 2


class Count(Callback):
    """Notes the threads after every step."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def on_step(self, trainer: Trainer) -> None:
        if trainer.agent.updates:
            self.seen.add(torch.get_num_threads())


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("adapt", "wanted"), [(True, {1}), (False, {2})])
@pytest.mark.slow
def test_training_adapts_and_leaves_threads_as_they_were(
    adapt: bool, wanted: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, count = Machine(*[1.0] * 100), Count()
    monkeypatch.setattr("foveal.training.trainer.Threads", lambda adapt: Threads(adapt=adapt, read=machine))
    run = RunOptions(evaluate_every=0, adapt_threads=adapt)
    Trainer(ReplayWork(small_agent()), run, callbacks=[count], progress=False).train(20)
    assert count.seen == wanted
    assert torch.get_num_threads() == 2


def test_one_line_says_that_the_machine_is_busy() -> None:
    slept: list[float] = []
    found = busy(Machine(1.04, own=0.5), slept.append)
    assert found == "other programs keep 1.0 of 2 cores busy: training will be slower than alone"
    assert slept == [GLANCE]
    assert busy(Machine(0.1), slept.append) is None


def test_commands_that_train_say_so_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Silent:
        def train(self, steps: int | None = None) -> None:
            print("trained")

    monkeypatch.setattr(options, "busy", lambda: "the machine is busy")
    options.carry_out(Silent(), 5, tmp_path)
    assert capsys.readouterr().out == "the machine is busy\ntrained\n"
    monkeypatch.setattr(options, "busy", lambda: None)
    options.carry_out(Silent(), 5, tmp_path)
    assert capsys.readouterr().out == "trained\n"
