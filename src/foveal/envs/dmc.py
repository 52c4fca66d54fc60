"""The DeepMind Control Suite from pixels, stepped and rendered as DMC-GB does (Hansen and Wang, ICRA 2021)."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.envs import mujoco_state
from foveal.envs.family import FAMILIES, EnvOptions, Family, checked_action
from foveal.envs.rendering import load_suite, open_view, quiet
from foveal.errors import FovealError

EPISODE_STEPS = 1000  # control steps of the simulator, whatever the action repeat
ACTION_REPEAT = {"finger": 2, "cartpole": 8}  # DMC-GB's; every other domain: 4
UNBOUNDED = 1e9  # dm_control writes missing actuator limits as +-1e10

# Every task of the suite: ids must be known without importing dm_control.
TASKS = {
    "acrobot": "swingup swingup_sparse",
    "ball_in_cup": "catch",
    "cartpole": "balance balance_sparse swingup swingup_sparse two_poles three_poles",
    "cheetah": "run",
    "dog": "stand walk trot run fetch",
    "finger": "spin turn_easy turn_hard",
    "fish": "upright swim",
    "hopper": "stand hop",
    "humanoid": "stand walk run run_pure_state",
    "humanoid_CMU": "stand walk run",
    "lqr": "lqr_2_1 lqr_6_2",
    "manipulator": "bring_ball bring_peg insert_ball insert_peg",
    "pendulum": "swingup",
    "point_mass": "easy hard",
    "quadruped": "walk run escape fetch",
    "reacher": "easy hard",
    "stacker": "stack_2 stack_4",
    "swimmer": "swimmer6 swimmer15",
    "walker": "stand walk run",
}


class SceneChange(Protocol):
    """A perturbation of the scene itself, before it is rendered: of camera, colours or textures."""

    def begin(self) -> None:
        """After a reset."""

    def advance(self) -> None:
        """After each step of the simulator, of which an agent's step has several."""

    def show(self) -> None:
        """Before a picture; it may be called twice for one."""


@FAMILIES.register("dmc")
class ControlSuite(Family):
    """``dmc/<domain>-<task>``, for example ``dmc/walker-walk``."""

    def names(self) -> list[str]:
        return [f"{domain}-{task}" for domain, tasks in TASKS.items() for task in tasks.split()]

    def build(self, name: str, options: EnvOptions) -> gymnasium.Env[Any, Any]:
        domain, task = name.split("-", 1)
        return ControlSuiteEnv(domain, task, options)


class ControlSuiteEnv(gymnasium.Env[NDArray[np.uint8], NDArray[np.float32]]):
    """One task as a Gymnasium environment of single frames, (3, H, W) ``uint8``, rendered once per agent step.

    Args:
        domain, task: as in ``dm_control.suite.load``.
        options: image size, action repeat, render quality, camera.

    Actions are (A,) ``float32`` in [-1, 1], scaled to the actuators' limits where there are any. An episode is
    truncated after 1000 control steps; it terminates only where dm_control's discount is 0.

    Attributes:
        physics: dm_control's ``Physics``, for perturbations that recolour the model.
        scene: what changes the scene before it is rendered, if a perturbation has set it.

    Raises:
        FovealError: no such camera, an image larger than MuJoCo's buffer, or no OpenGL.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}

    def __init__(self, domain: str, task: str, options: EnvOptions) -> None:
        suite = load_suite()
        with quiet():
            # The seed is constant: `lqr` draws its model from it, which must not depend on the episode's seed.
            self._env = suite.load(domain, task, task_kwargs={"random": 0, "time_limit": float("inf")})
        self.domain = domain
        self.size = options.image_size
        self.camera = options.camera
        self.action_repeat = options.action_repeat or ACTION_REPEAT.get(domain, 4)
        self.max_agent_steps = -(-EPISODE_STEPS // self.action_repeat)
        self.metadata = {**self.metadata, "render_fps": 1.0 / (self._env.control_timestep() * self.action_repeat)}
        self.scene: SceneChange | None = None
        self._steps = 0
        self._view: Any = None  # made with the first picture, and with it the GL context
        self._check_view()
        _set_quality(self.physics.model, options.quality)
        self._model = mujoco_state.copy_model(self.physics)
        spec = self._env.action_spec()
        bounded = np.abs(spec.minimum).max() < UNBOUNDED and np.abs(spec.maximum).max() < UNBOUNDED
        self._low = spec.minimum if bounded else np.full(spec.shape, -1.0)
        self._range = (spec.maximum - spec.minimum) if bounded else np.full(spec.shape, 2.0)
        self.action_space = spaces.Box(-1.0, 1.0, spec.shape, np.float32)
        self.observation_space = spaces.Box(0, 255, (3, self.size, self.size), np.uint8)

    @property
    def physics(self) -> Any:
        return self._env.physics

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._env.task.random.seed(seed % 2**32)
        self._steps = 0
        self._env.reset()
        if self.scene is not None:
            self.scene.begin()
        return self._frame(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        control = self._control(action)
        reward, terminated = 0.0, False
        for _ in range(min(self.action_repeat, EPISODE_STEPS - self._steps)):
            step = self._env.step(control)
            self._steps += 1
            if self.scene is not None:
                self.scene.advance()
            reward += float(step.reward)
            if step.last():
                terminated = step.discount == 0
                break
        truncated = not terminated and (self._steps >= EPISODE_STEPS or step.last())
        return self._frame(), reward, terminated, truncated, {}

    def agent_mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels in the latest frame of bodies that can move, by MuJoCo's segmentation.

        These are skins, and geoms of bodies that are not the world nor welded to it.
        """
        model = self.physics.model
        return self._segmented(model.body_weldid[model.geom_bodyid] != 0)

    def scene_mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels in the latest frame of all but floor and sky, by MuJoCo's segmentation.

        These are skins, and all geoms but the suite's first, its floor: what stands still counts, as cartpole's rail.
        """
        return self._segmented(np.arange(self.physics.model.ngeom) > 0)

    def _segmented(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(H, W) bool: pixels of skins and of the geoms of which ``chosen`` (geoms,) is true."""
        import mujoco

        labels = self._render(segmentation=True)
        index, kind = labels[..., 0], labels[..., 1]
        is_geom = kind == mujoco.mjtObj.mjOBJ_GEOM
        mask = is_geom & chosen[np.where(is_geom, index, 0)]
        return np.asarray(mask | (kind == mujoco.mjtObj.mjOBJ_SKIN))

    def get_state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on: JSON values and arrays."""
        return {"steps": self._steps, **mujoco_state.get_state(self._env, self._model)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on exactly where ``get_state`` was called."""
        self._steps = int(state["steps"])
        mujoco_state.set_state(self._env, self._model, state)

    def close(self) -> None:
        if self._env is not None:
            self._view = None
            self.physics.free()
            self._env = None

    def _frame(self) -> NDArray[np.uint8]:
        if self.scene is not None:
            self.scene.show()
        return np.array(self._render().transpose(2, 0, 1), order="C")

    def _render(self, **kind: bool) -> NDArray[Any]:
        """(H, W, 3) in the view's own buffer: copy it. Keeping one view saves a fifth of the time of a draft frame."""
        if self._view is None:
            self._view = open_view(self.physics, self.size, self.camera)
        image: NDArray[Any] = self._view.render(**kind)
        return image

    def _control(self, action: NDArray[np.float32]) -> NDArray[np.float64]:
        command = checked_action(action, self._low.shape, f"dmc/{self.domain}")
        return np.asarray((command + 1.0) / 2.0 * self._range + self._low)

    def _check_view(self) -> None:
        model = self.physics.model
        largest = min(model.vis.global_.offwidth, model.vis.global_.offheight)
        if self.size > largest:
            raise FovealError(f"image_size is {self.size}; MuJoCo renders at most {largest} here")
        if not 0 <= self.camera < model.ncam:
            raise FovealError(f"camera is {self.camera}; dmc/{self.domain} has cameras 0 to {model.ncam - 1}")


def _set_quality(model: Any, quality: str) -> None:
    """Cheaper shadows (``fast``) and no multisampling (``draft``), before the GL context is made."""
    if quality != "exact":
        model.vis.quality.shadowsize = 512
    if quality == "draft":
        model.vis.quality.offsamples = 0
