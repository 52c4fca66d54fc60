"""The time of each quality of rendering, and how near its pictures are to dm_control's own."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from foveal.bench.stopwatch import elapsed
from foveal.envs.dmc import ControlSuite, ControlSuiteEnv
from foveal.envs.family import QUALITIES, EnvOptions
from foveal.errors import FovealError
from foveal.evaluation.layout import columns
from foveal.evaluation.results import origin
from foveal.registry import nearest

BENCHMARK_TASKS = (
    "walker-walk",
    "walker-stand",
    "ball_in_cup-catch",
    "cartpole-swingup",
    "finger-spin",
    "cheetah-run",
    "reacher-easy",
)
"""DMC-GB's tasks, and the one that later papers add."""
BARS = {"fast": (1.5, 45.0), "draft": (2.4, 32.0)}
"""Quality -> times dm_control's speed, and decibels of PSNR against its picture."""
OWN = "dm_control"


@dataclass(frozen=True)
class RenderingSpeed:
    """The rendering of one task.

    Attributes:
        task: name, as in ``dmc/NAME``.
        milliseconds: median time of a picture, for dm_control's own call and each quality.
        psnr: decibels of each quality against dm_control's picture, over all pictures; None where all are identical.
    """

    task: str
    milliseconds: dict[str, float]
    psnr: dict[str, float | None]

    def speedup(self, quality: str) -> float:
        """Times faster than dm_control's own call."""
        return self.milliseconds[OWN] / self.milliseconds[quality]

    def passes(self, quality: str) -> bool:
        """Whether a quality is as fast and as accurate as ``BARS`` wants it."""
        faster, decibels = BARS[quality]
        psnr = self.psnr[quality]
        return self.speedup(quality) >= faster and (psnr is None or psnr >= decibels)


def measure_rendering(
    tasks: Sequence[str] = BENCHMARK_TASKS, image_size: int = 84, pictures: int = 60
) -> list[RenderingSpeed]:
    """Every quality on the same states of every task, in turn.

    Args:
        tasks: names, as in ``dmc/NAME``.
        image_size: side of the pictures, in pixels.
        pictures: taken of each task, an agent step apart, under random actions.

    Raises:
        FovealError: an unknown task, or no OpenGL.
    """
    known = ControlSuite().names()
    for name in tasks:
        if name not in known:
            raise FovealError(f"unknown task {name!r}: {nearest(name, known)}")
    bar = tqdm(tasks, desc="rendering", unit="task", dynamic_ncols=True)
    return [_measure(name, image_size, pictures) for name in bar]


def _measure(name: str, size: int, pictures: int) -> RenderingSpeed:
    domain, task = name.split("-", 1)
    envs = {quality: ControlSuiteEnv(domain, task, EnvOptions(size, None, quality, 0)) for quality in QUALITIES}
    exact = envs["exact"].physics  # as dm_control loads it
    renderers: dict[str, Callable[[], NDArray[np.uint8]]] = {
        OWN: lambda: exact.render(size, size, camera_id=0).transpose(2, 0, 1),
        **{quality: env._frame for quality, env in envs.items()},
    }
    seconds: dict[str, list[float]] = {renderer: [] for renderer in renderers}
    errors: dict[str, list[float]] = {quality: [] for quality in QUALITIES}
    random = np.random.default_rng(0)
    for env in envs.values():
        env.reset(seed=0)
    try:
        for _ in range(pictures):
            action = random.uniform(-1, 1, envs["exact"].action_space.shape).astype(np.float32)
            for env in envs.values():
                env.step(action)
            shown = {}
            for renderer, render in renderers.items():
                took, shown[renderer] = elapsed(render)
                seconds[renderer].append(took)
            for quality in QUALITIES:
                errors[quality].append(float(np.square(shown[quality].astype(np.float64) - shown[OWN]).mean()))
    finally:
        for env in envs.values():
            env.close()
    return RenderingSpeed(
        name,
        {renderer: 1e3 * statistics.median(times) for renderer, times in seconds.items()},
        {quality: _decibels(statistics.mean(squares)) for quality, squares in errors.items()},
    )


def _decibels(squared_error: float) -> float | None:
    return None if squared_error == 0 else float(10 * np.log10(255**2 / squared_error))


def rendering_table(speeds: Sequence[RenderingSpeed]) -> str:
    """Milliseconds, speed-up and PSNR of every task, and whether they pass ``BARS``."""
    header = ["task", "dm_control ms", "exact ms", "fast ms", "", "dB", "", "draft ms", "", "dB", ""]
    return columns([header, *(_row(speed) for speed in speeds)])


def _row(speed: RenderingSpeed) -> list[str]:
    cells = [speed.task, f"{speed.milliseconds[OWN]:.1f}", f"{speed.milliseconds['exact']:.1f}"]
    for quality in BARS:
        psnr = speed.psnr[quality]
        cells += [
            f"{speed.milliseconds[quality]:.1f}",
            f"{speed.speedup(quality):.1f}x",
            "same" if psnr is None else f"{psnr:.1f}",
            "pass" if speed.passes(quality) else "falls short",
        ]
    return cells


def rendering_record(speeds: Sequence[RenderingSpeed], image_size: int, pictures: int) -> dict[str, Any]:
    """JSON-able."""
    tasks = [
        {
            **asdict(speed),
            "speedup": {quality: speed.speedup(quality) for quality in QUALITIES},
            "passes": {quality: speed.passes(quality) for quality in BARS},
        }
        for speed in speeds
    ]
    return {
        "format": "foveal.rendering/1",
        "image_size": image_size,
        "pictures": pictures,
        "tasks": tasks,
        "bars": BARS,
        **origin(),
    }
