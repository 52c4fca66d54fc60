"""The environment that agents see: stacked frames, a description, and a state that can be saved."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.envs import wrapper_state
from foveal.envs.wrappers import averaged
from foveal.errors import FovealError

HALF = 128  # of a pixel, in levels
DEFAULT_FPS = 30  # of films of environments that have no frame rate

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class EnvInfo:
    """The description of an environment, which is written beside every result.

    Attributes:
        id: the name by which it was made.
        image_size: height and width of a frame, in pixels.
        frame_stack: frames in an observation, oldest first.
        action_repeat: simulator steps per agent step.
        quality: of rendering: ``"exact"``, ``"fast"`` or ``"draft"``; only dmc/ and ur5e/ heed it.
        perturbation: name of the visual change, or None.
        perturbation_source: ``"dmc-gb"`` (the benchmark's files), ``"generated"``, or None.
        perturbation_items: number of colours or videos at hand, or None.
        perturbation_benchmark_items: number that the benchmark has (None without a perturbation of DMC-GB's).
        perturbation_complete: whether all of them are at hand.
        max_agent_steps: agent steps after which an episode is truncated, or None where that is unknown.
        camera: index of the camera.
        rendered_size: height and width of a frame before it was averaged to ``image_size``; None for the same.
    """

    id: str
    image_size: int
    frame_stack: int
    action_repeat: int
    quality: str
    perturbation: str | None = None
    perturbation_source: str | None = None
    perturbation_items: int | None = None
    perturbation_benchmark_items: int | None = None
    perturbation_complete: bool | None = None
    max_agent_steps: int | None = None
    camera: int = 0
    rendered_size: int | None = None


class PixelEnv(gymnasium.Env[Any, Any]):
    """Frames of ``inner``, stacked after any perturbation, oldest first.

    Made by ``foveal.envs.make``. Observations are (3 * frame_stack, H, W) ``uint8``, or a dict of that as ``"image"``
    and a (V,) ``float32`` ``"vector"``. At reset the first frame is repeated.

    Args:
        inner: environment of single frames (3, H, W), or of dicts with such an ``"image"``.
        spec_info: its description.
        seed: for the first ``reset`` that is called without one.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self, inner: gymnasium.Env[Any, Any], spec_info: EnvInfo, seed: int | None = None) -> None:
        self.inner = inner
        self.spec_info = spec_info
        self._first_seed = seed
        self._frames: deque[Picture] = deque(maxlen=spec_info.frame_stack)
        self._over = True
        self.metadata = {**self.metadata, "render_fps": inner.metadata.get("render_fps", DEFAULT_FPS)}
        self.action_space = inner.action_space
        shape = (3 * spec_info.frame_stack, spec_info.image_size, spec_info.image_size)
        image = spaces.Box(0, 255, shape, np.uint8)
        self._has_vector = isinstance(inner.observation_space, spaces.Dict)
        if isinstance(inner.observation_space, spaces.Dict):
            vector = inner.observation_space["vector"]
            self.observation_space = spaces.Dict({"image": image, "vector": vector})
        else:
            self.observation_space = image
        if seed is not None:
            self.action_space.seed(seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is None:
            seed = self._first_seed
        self._first_seed = None
        super().reset(seed=seed)
        raw, info = self.inner.reset(seed=seed, options=options)
        self._frames.clear()
        self._frames.extend([self._image(raw)] * self.spec_info.frame_stack)
        self._over = False
        return self._observation(raw), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One agent step.

        Raises:
            FovealError: the episode is over, or none has begun.
        """
        if self._over:
            raise FovealError("step() without an episode: call reset() first, and again after an episode has ended")
        raw, reward, terminated, truncated, info = self.inner.step(action)
        self._frames.append(self._image(raw))
        self._over = bool(terminated or truncated)
        return self._observation(raw), float(reward), bool(terminated), bool(truncated), info

    def render(self) -> Picture:
        """The latest frame as the agent sees it, (H, W, 3) ``uint8``.

        Raises:
            FovealError: before the first reset.
        """
        if not self._frames:
            raise FovealError("render() before the first reset(): there is no frame yet")
        return self._frames[-1].transpose(1, 2, 0).copy()

    def agent_mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: the agent's own pixels in the latest frame.

        Raises:
            FovealError: the environment does not know them (``dmc/`` and ``ur5e/`` ones do).
        """
        base = self.inner.unwrapped
        if not hasattr(base, "agent_mask"):
            raise FovealError(
                f"{self.spec_info.id} can't tell which pixels are the agent's; dmc/ and ur5e/ environments can"
            )
        return self._as_seen(base.agent_mask())

    def scene_mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels of the latest frame that show neither floor nor sky.

        Raises:
            FovealError: the environment has no segmentation (``dmc/`` ones have).
        """
        base = self.inner.unwrapped
        if not hasattr(base, "scene_mask"):
            raise FovealError(
                f"{self.spec_info.id} has no segmentation, scene_mask(), which this agent's method learns from: train "
                "in a dmc/ environment, or with a method that needs pictures alone, such as sgqn or madi"
            )
        return self._as_seen(base.scene_mask())

    def _as_seen(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(H, W) in the frame's size: pixels of which at least a half is marked."""
        size = self.spec_info.image_size
        if mask.shape == (size, size):
            return mask
        return averaged(255 * mask.astype(np.uint8), (size, size)) >= HALF

    def packed_scene_mask(self) -> NDArray[np.uint8]:
        """``scene_mask``, pixel by pixel and eight to a byte, the first in the highest bit; 0 beyond the last."""
        return np.packbits(self.scene_mask())

    def read(self, name: str) -> Any:
        """Call a method without arguments, of this environment or of the one inside.

        Args:
            name: of the method, e.g. ``"agent_mask"``.

        Raises:
            FovealError: there is no such method, or it raises one.
        """
        for layer in (self, self.inner):
            if layer.has_wrapper_attr(name):
                return layer.get_wrapper_attr(name)()
        raise FovealError(
            f"{self.spec_info.id} has no {name}(), which this agent's method learns from: give the environment such a "
            "method, or choose another one to train with"
        )

    def get_state(self) -> dict[str, Any]:
        """Everything the rest of the run depends on, as JSON values and arrays: simulator, task, perturbation, frames.

        Raises:
            FovealError: the environment, or a wrapper in it, can't be saved.
        """
        return {
            "id": self.spec_info.id,
            "frames": np.stack(self._frames) if self._frames else None,
            "over": self._over,
            "first_seed": self._first_seed,
            "layers": wrapper_state.get_state(self.inner),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on exactly where ``get_state`` was called, in an environment made with the same options.

        Raises:
            FovealError: the state is of another environment or of other options.
        """
        if state["id"] != self.spec_info.id:
            raise FovealError(f"this state is of {state['id']}, and this environment is {self.spec_info.id}")
        frames = [] if state["frames"] is None else list(np.asarray(state["frames"], np.uint8))
        size = (3, self.spec_info.image_size, self.spec_info.image_size)
        if frames and (len(frames) != self.spec_info.frame_stack or frames[0].shape != size):
            raise FovealError("this state was saved with another image_size or frame_stack")
        wrapper_state.set_state(self.inner, state["layers"])
        self._frames.clear()
        self._frames.extend(frames)
        self._over = bool(state["over"])
        self._first_seed = state["first_seed"]

    def close(self) -> None:
        self.inner.close()

    def _image(self, raw: Any) -> Picture:
        image: Picture = raw["image"] if self._has_vector else raw
        return image

    def _observation(self, raw: Any) -> Any:
        stacked = np.concatenate(self._frames)  # (3 * frame_stack, H, W)
        return {"image": stacked, "vector": raw["vector"]} if self._has_vector else stacked
