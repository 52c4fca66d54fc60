"""Whether updates become slower as replay fills up."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from tqdm import tqdm

from foveal.bench.stopwatch import seconds
from foveal.bench.updates import Subject, free_memory, noise_replay, peak_memory

SIZES = (1_000, 10_000, 100_000, 500_000)
BLOCKS = 9


@dataclass(frozen=True)
class GrowthPoint:
    """The speed at one size of replay.

    Attributes:
        transitions: how many are stored.
        updates_per_second: median, batches included.
        sample_milliseconds: of one batch, median.
        replay_bytes: memory that replay takes.
        peak_memory: of the process (CPU) or the device, in bytes.
    """

    transitions: int
    updates_per_second: float
    sample_milliseconds: float
    replay_bytes: int
    peak_memory: int


def growth(subject: Subject, sizes: tuple[int, ...] = SIZES) -> list[GrowthPoint]:
    """Updates a second as replay grows; the largest size takes 10.6 GB for 84x84 frames."""
    return [_point(subject, size) for size in tqdm(sizes, desc="growth", unit="size", dynamic_ncols=True)]


def _point(subject: Subject, size: int) -> GrowthPoint:
    free_memory()
    subject.replay = noise_replay(subject.agent, size)
    subject.block()
    times = [subject.time() for _ in range(BLOCKS)]
    samples = [seconds(lambda: subject.sample(subject.batch_size), subject.device) for _ in range(BLOCKS)]
    return GrowthPoint(
        len(subject.replay),
        1 / statistics.median(times),
        1e3 * statistics.median(samples),
        subject.replay.nbytes,
        peak_memory(subject.device),
    )
