"""DMC-GB's ``video_easy`` and ``video_hard``: sky (and floor) are painted green and replaced by frames of a video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from foveal.envs.perturbations.base import PERTURBATIONS, Perturbation, control_suite
from foveal.envs.perturbations.benchmark_files import VideoFolder
from foveal.envs.perturbations.generated_videos import GeneratedVideos
from foveal.envs.perturbations.repaint import repaint
from foveal.errors import FovealError

GREEN = (0.2, 0.8, 0.2)
# A pixel is background if all three lie in these ranges, bounds included.
HUE = (100.0, 185.0)  # degrees
SATURATION = (80.0, 255.0)  # of 255
VALUE = (70.0, 255.0)  # of 255

_GREEN_TEXTURE = {"rgb1": GREEN, "rgb2": GREEN, "markrgb": GREEN}


class VideoPerturbation(Perturbation):
    """The benchmark's videos from its folder ``NAME``, or generated ones.

    Attributes:
        name: of the perturbation.
        benchmark_videos: how many the benchmark has.
        textures: what is painted green.
    """

    name: str
    benchmark_videos: int
    textures: tuple[str, ...]

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(data)
        self.source, self.items = "generated", self.benchmark_videos
        if data is not None:
            folder = VideoFolder(data / self.name, size=1)
            folder.check()
            self.source, self.items = "dmc-gb", len(folder)
        self.benchmark_items = self.benchmark_videos
        self.complete = self.items >= self.benchmark_videos

    def apply(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        size = control_suite(env, "the background").size
        if self.data is None:
            return VideoBackground(env, GeneratedVideos(self.name, self.benchmark_videos, size), self.textures)
        return VideoBackground(env, VideoFolder(self.data / self.name, size), self.textures)


@PERTURBATIONS.register("video_easy")
class VideoEasy(VideoPerturbation):
    """The sky becomes one of 10 videos; the floor stays (DMC-GB, Hansen and Wang 2021)."""

    name, benchmark_videos, textures = "video_easy", 10, ("skybox",)


@PERTURBATIONS.register("video_hard")
class VideoHard(VideoPerturbation):
    """Only the agent stays: sky and floor become one of 100 videos (DMC-GB, Hansen and Wang 2021)."""

    name, benchmark_videos, textures = "video_hard", 100, ("skybox", "grid")
    usual_for = ("dmc",)


class VideoBackground(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Shows the next video at each reset, one frame per agent step, beginning with the second video like the benchmark.

    Args:
        env: single frames of a ``dmc/`` environment.
        videos: at the size of its frames.
        textures: ``"skybox"``, ``"grid"`` or both.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], videos: VideoFolder | GeneratedVideos, textures: tuple[str, ...]
    ) -> None:
        super().__init__(env)
        self._videos = videos
        self._index = 0
        self._frame = 0
        self._video: NDArray[np.uint8] | None = None
        physics = control_suite(env, "the background").physics
        repaint(physics, dict.fromkeys(textures, _GREEN_TEXTURE))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._index = 0
        self._index = (self._index + 1) % len(self._videos)
        self._frame = 0
        self._video = self._videos.frames(self._index)
        frame, info = self.env.reset(seed=seed, options=options)
        return self._composed(frame), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        frame, reward, terminated, truncated, info = self.env.step(action)
        self._frame += 1
        return self._composed(frame), reward, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        return {"index": self._index, "frame": self._frame, "begun": self._video is not None, "size": len(self._videos)}

    def set_state(self, state: dict[str, Any]) -> None:
        if state["size"] != len(self._videos):
            raise FovealError(f"this state is of {state['size']} videos, and there are {len(self._videos)} here")
        self._index, self._frame = int(state["index"]), int(state["frame"])
        self._video = self._videos.frames(self._index) if state["begun"] else None

    def _composed(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._video is None:
            raise FovealError("step() without an episode: call reset() first")
        background = self._video[self._frame % len(self._video)]
        return np.where(green_key(frame), background, frame)


def green_key(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels of (3, H, W) ``uint8`` are background, (H, W) bool.

    Hue, saturation and value are those of ``colorsys.rgb_to_hsv`` on r/255, g/255, b/255 in float64, times 360, 255 and
    255: the same operations in the same order, so that pixels at a bound fall on the same side.
    """
    # (H, W) each. A hue in `HUE` has its maximum in green or blue, so red's branch of the formula is left out.
    r, g, b = image.astype(np.float64) / 255.0
    low, high = np.minimum(np.minimum(r, g), b), np.maximum(np.maximum(r, g), b)
    span = high - low
    key = np.asarray((span > 0.0) & (r < high) & _within(high * 255.0, VALUE))
    r, g, b, high, span = r[key], g[key], b[key], high[key], span[key]
    red, green, blue = (high - r) / span, (high - g) / span, (high - b) / span
    hue = (np.where(g == high, 2.0 + red - blue, 4.0 + green - red) / 6.0) % 1.0 * 360.0
    key[key] = _within(hue, HUE) & _within(span / high * 255.0, SATURATION)
    return key


def _within(value: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.bool_]:
    return np.asarray((value >= bounds[0]) & (value <= bounds[1]))
