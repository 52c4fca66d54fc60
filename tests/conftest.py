"""Settings shared by all tests: rendering, threads, property tests, and which skips count as failures."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator

# Before anything imports torch or the simulator. One thread a process: results then depend neither on the machine's
# cores nor on how many tests run side by side.
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("wires")
from foveal.networks.precision import cpu_convolves_bfloat16  # noqa: E402
from foveal.pictures.block import Block  # noqa: E402
from foveal.pictures.generated import GeneratedPictures  # noqa: E402
from wires import Room  # noqa: E402 - after the line before

torch.set_num_threads(1)

_STRICT = bool(os.environ.get("FOVEAL_FORBID_SKIPS"))
_ALLOWED_SKIPS = ["gpu", "cuda", "test data", "robosuite", "needs a slurm", 'needs the extra "rerun"']
_NO_BFLOAT16 = "needs bfloat16 convolutions"
if not cpu_convolves_bfloat16():
    _ALLOWED_SKIPS.append(_NO_BFLOAT16)

_slow_machines = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("local", **_slow_machines)
settings.register_profile("ci", derandomize=True, database=None, print_blob=True, **_slow_machines)
settings.load_profile("ci" if _STRICT or os.environ.get("CI") else "local")


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts() -> Iterator[None]:
    """As in a terminal: a shell starts what it runs in the background with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def _generated_pictures_are_drawn_once() -> Iterator[None]:
    """Hundreds of small agents begin with the same pictures, which take longer to draw than their updates."""
    original = GeneratedPictures.block

    @functools.lru_cache(maxsize=32)
    def drawn(side: int, seed: int, number: int) -> Block:
        return original(GeneratedPictures(side, seed), number)

    def block(source: GeneratedPictures, number: int) -> Block:
        return drawn(source.side, source.seed, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GeneratedPictures, "block", block)
        yield


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """Where a wire is observed."""
    return Room(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data that some tests read; they are skipped where there is none."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FOVEAL_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder} (FOVEAL_TEST_DATA names the folder)")
    return folder


@pytest.fixture(scope="session")
def dmcgb(test_data: Path) -> Path:
    """The benchmark's colours and videos among the test data."""
    folder = test_data / "dmcgb"
    if not folder.is_dir():
        pytest.skip("no test data of DMC-GB")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {}
    if not torch.cuda.is_available():
        missing["gpu"] = pytest.mark.skip(reason="needs a GPU")
    if not os.environ.get("FOVEAL_SLURM"):
        missing["slurm"] = pytest.mark.skip(reason="needs a Slurm: make test-slurm")
    if not cpu_convolves_bfloat16():
        missing["bfloat16"] = pytest.mark.skip(reason=_NO_BFLOAT16)
    for item in items:
        for name in missing.keys() & item.keywords.keys():
            item.add_marker(missing[name])


class ForbiddenSkips:
    """Fails a run in which a test was skipped for a reason that is not allowed."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not any(word in reason.lower() for word in _ALLOWED_SKIPS):
            self.found.append(f"{report.nodeid}: {reason}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.found:
            terminalreporter.section("skipped tests count as failures here", red=True)
            for line in self.found:
                terminalreporter.line(line)


def pytest_configure(config: pytest.Config) -> None:
    if _STRICT and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ForbiddenSkips(), "foveal-forbidden-skips")
