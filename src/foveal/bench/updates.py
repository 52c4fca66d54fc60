"""Time, phases and arithmetic of one method's update."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from foveal.agent import Agent
from foveal.bench.stopwatch import Now, PhaseClock, seconds
from foveal.replay import ReplayBuffer
from foveal.timing import phase, timed_by
from foveal.training.collecting import new_replay
from foveal.types import Batch

PERIOD = 2
"""Updates in a block: actor, targets and auxiliary losses have a step in every second one."""
GPU_BLOCKS = 25
"""Blocks that are timed together on a GPU."""
STORED = 1000
"""Transitions in the replay from which batches are drawn."""
EPISODE = 250
"""Agent steps of an episode of noise, as in the benchmark at four simulator frames each."""


class Subject:
    """An agent's updater with replay full of noise, to be timed without an environment.

    Args:
        env: id of the environment that the agent is for.
        method: name of the method, "sac" for SAC alone.
        preset: of the agent.
        settings: further overrides, by section.
    """

    def __init__(self, env: str, method: str, preset: str, settings: dict[str, Any]) -> None:
        self.method = method
        self.agent = agent_of(env, method, preset, settings)
        self.device = self.agent.device
        self.batch_size = self.agent.config.training.batch_size
        self.replay = noise_replay(self.agent, STORED)
        self.agent.method.get_ready()

    def block(self) -> None:
        """``PERIOD`` updates, batches included."""
        for _ in range(PERIOD):
            self.agent.updater.update(self.sample(self.batch_size), self.sample)

    def block_in_parts(self) -> None:
        """The same with every phase marked, eagerly."""
        for _ in range(PERIOD):
            with phase("sample"):
                batch = self.sample(self.batch_size)
            with phase("other"):
                self.agent.updater.update_eagerly(batch, self.sample)

    def sample(self, size: int) -> Batch:
        """A batch on the updater's device."""
        return self.replay.sample(size).to(self.device)

    def time(self) -> float:
        """Seconds of one update, averaged over a block, or over many on a GPU."""
        return seconds_of_update(self.block, self.device)


def seconds_of_update(block: Callable[[], object], device: torch.device) -> float:
    """Seconds of one of the ``PERIOD`` updates of a block."""
    repeats = GPU_BLOCKS if device.type == "cuda" else 1

    def work() -> None:
        for _ in range(repeats):
            block()

    return seconds(work, device) / (PERIOD * repeats)


def agent_of(env: str, method: str, preset: str, settings: dict[str, Any]) -> Agent:
    """An untrained agent; the method "sac" is SAC alone."""
    return Agent(env, method="none" if method == "sac" else method, preset=preset, **settings)


def noise_replay(agent: Agent, transitions: int) -> ReplayBuffer:
    """Replay of random frames in the shape of the agent's observations, with at least ``transitions`` to sample."""
    config = agent.config
    episodes = -(-transitions // (EPISODE - config.training.n_step))
    replay = new_replay(agent, episodes * (EPISODE + 1) + config.environment.frame_stack, streams=1)
    for episode in range(episodes):
        _add_episode(replay, agent, seed=episode)
    return replay


def _add_episode(replay: ReplayBuffer, agent: Agent, seed: int) -> None:
    random = np.random.default_rng(seed)
    size, stack = agent.env_options["image_size"], agent.config.environment.frame_stack
    frames = random.integers(0, 256, (2 * stack, 3, size, size), np.uint8)
    shape = agent.shapes.action.shape or ()
    action = random.uniform(-1, 1, shape).astype(np.float32) if shape else np.int64(0)

    def observed(image: Any) -> Any:
        return {"image": image, "vector": np.zeros(agent.shapes.vector)} if agent.shapes.vector else image

    extras = {extra.name: np.zeros(extra.shape or (), extra.dtype) for extra in replay.extras}
    replay.begin(0, observed(np.concatenate([frames[0]] * stack)), extras)
    for step in range(EPISODE):
        image = frames[np.arange(step, step + stack) % len(frames)].reshape(-1, size, size)
        replay.add(0, action, 1.0, False, step == EPISODE - 1, observed(image), extras)


@dataclass(frozen=True)
class UpdateSpeed:
    """The cost of an update of one method.

    Attributes:
        method: its name; "sac" is SAC alone.
        seconds: median over blocks, batch included.
        spread: (smallest, largest) of the blocks.
        parts: milliseconds of each phase, without the phases within it, from blocks of their own.
        gflop: arithmetic of convolutions and matrix products, a multiplication and an addition counting as two.
        gflop_per_second: ``gflop / seconds``.
        bytes_per_transition: of the replay memory.
        peak_memory: bytes, of the device (CUDA) or of the whole process so far (CPU).
    """

    method: str
    seconds: float
    spread: tuple[float, float]
    parts: dict[str, float]
    gflop: float
    gflop_per_second: float
    bytes_per_transition: float
    peak_memory: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with updates a second."""
        return {**asdict(self), "updates_per_second": 1 / self.seconds}


def summarize(subject: Subject, times: list[float], blocks: int = 3, now: Now = time.perf_counter) -> UpdateSpeed:
    """Measure phases and arithmetic of an update, and report them with the times that were measured before."""
    clock = PhaseClock(subject.device, now)
    with timed_by(clock):
        for _ in range(blocks):
            subject.block_in_parts()
    parts = {name: 1e3 * total / (blocks * PERIOD) for name, total in clock.totals.items()}
    with _Arithmetic() as counted:  # type: ignore[no-untyped-call]
        subject.block_in_parts()
    gflop = counted.operations / PERIOD / 1e9
    median = statistics.median(times)
    return UpdateSpeed(
        subject.method,
        median,
        (min(times), max(times)),
        parts,
        gflop,
        gflop / median,
        subject.replay.nbytes / len(subject.replay),
        peak_memory(subject.device),
    )


_IN_PLACE = {torch.ops.aten.baddbmm_: torch.ops.aten.baddbmm}
"""In-place operations, whose formula PyTorch's registry has under another name."""
_CONVOLUTIONS: dict[str, Callable[[Any, Any], tuple[Any, Any, Any]]] = {
    "mkldnn::_convolution_pointwise": lambda args, out: (args[0], args[1], out),
    "foveal::winograd_convolve": lambda args, out: (args[0], args[1], out),
    "foveal::winograd_parameter_gradients": lambda args, out: (args[1], args[2], args[0]),
}
"""Unknown to the registry: image, weights and result (or its gradient), by which they are counted as the definition has
them, however they are done."""


class _Arithmetic(TorchDispatchMode):
    """Counts like PyTorch's FlopCounterMode, whose hooks on modules break a saliency pass."""

    operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if convolution := _CONVOLUTIONS.get(func.name()):
            image, weight, result = (list(tensor.shape) for tensor in convolution(args, out))
            self.operations += conv_flop_count(image, weight, result)
        elif count := flop_registry.get(_IN_PLACE.get(func.overloadpacket, func.overloadpacket)):
            self.operations += count(*args, **(kwargs or {}), out_val=out)
        return out


def peak_memory(device: torch.device) -> int:
    """The largest memory, in bytes, of the device, or on a CPU of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_memory() -> None:
    """Free the memory of the last subject."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
