"""The arm as a Gymnasium environment: it observes pictures and its joints, and acts by tool velocity and gripper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.envs.family import check_quality, check_whole, checked_action
from foveal.envs.rendering import open_view
from foveal.envs.ur5e.kinematics import LINKS
from foveal.envs.ur5e.model import CAMERAS, FAR
from foveal.envs.ur5e.randomization import WORKSPACE, Draw, Randomization, draw, named
from foveal.envs.ur5e.simulation import CONTROL_STEP, MAX_SPEED, Simulation
from foveal.envs.ur5e.tasks import SUCCESS_REWARD, TASKS, Truth
from foveal.errors import FovealError
from foveal.registry import nearest

Observation = dict[str, NDArray[Any]]

_MARGIN = 0.05  # by which joints and tool may overshoot the limits of the observation's space


@dataclass(frozen=True)
class Sight:
    """The pictures in an observation.

    Attributes:
        size: height and width of pictures, in pixels.
        depth: whether there is depth, (size, size) in metres.
        rgb: whether there are colours, (size, size, 3).
        camera: index of the camera: 0 in front, 1 beside, 2 on the wrist.
        quality: of RGB: ``"exact"``; ``"fast"`` without shadows; ``"draft"`` without multisampling either.
        meshes: show the meshes of a real UR5e from an installed robosuite instead of simple shapes. Only pictures
            change: collisions, masses and motion stay those of the shapes.

    Raises:
        FovealError: no such camera or quality, or a size that is no whole number of at least 1.
    """

    size: int = 84
    depth: bool = True
    rgb: bool = False
    camera: int = 0
    quality: str = "exact"
    meshes: bool = False

    def __post_init__(self) -> None:
        check_whole("size", self.size, least=1)
        if self.camera not in range(len(CAMERAS)):
            listed = ", ".join(f"{number} ({name})" for number, name in enumerate(CAMERAS))
            raise FovealError(f"camera is {self.camera}; ur5e/ has cameras {listed}")
        check_quality(self.quality)


class ArmEnv(gymnasium.Env[Any, NDArray[np.float32]]):
    """One task of the arm, controlled at 10 Hz.

    Observations are a dict of ``"vector"``, (14,) ``float32``: joint angles (6, radians), tool position (3, metres) and
    orientation (4, a quaternion w, x, y, z), gripper opening (0 to 1); and, as ``sight`` asks for them, ``"depth"``,
    (H, W) ``float32`` in metres, and ``"rgb"``, (H, W, 3) ``uint8``. Actions are (4,) in [-1, 1]: tool velocity along
    the world's x, y, z as a share of ``MAX_SPEED``, and the gripper: above 0 it closes, else it opens.

    The reward is ``SUCCESS_REWARD`` on success, which ends the episode, else 0. ``info["success"]`` says so too.

    Args:
        task: one of ``TASKS``.
        sight: what is rendered.
        randomization: ranges of what changes between episodes, or their name.
        action_repeat: control steps per action; pictures are taken after the last.
        render_mode: None or ``"rgb_array"``: what ``render()`` shows is the ``camera``'s view.
        can: whether there is one, out of sight, that ``simulation.add_can`` puts on the table.

    Attributes:
        draw: the scene of the present episode.

    Raises:
        FovealError: an unknown name, an option out of range, no OpenGL, or meshes that are not installed.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}

    def __init__(
        self,
        task: str,
        sight: Sight | None = None,
        randomization: str | Randomization = "training",
        action_repeat: int = 1,
        render_mode: str | None = None,
        can: bool = False,
    ) -> None:
        if task not in TASKS:
            raise FovealError(f"unknown task {task!r}: {nearest(task, list(TASKS))}")
        if render_mode not in (None, "rgb_array"):
            raise FovealError(f"render_mode is {render_mode!r}; foveal's environments render to 'rgb_array' only")
        check_whole("action_repeat", action_repeat, least=1)
        self.task_name, self.task = task, TASKS[task]
        self.sight = Sight() if sight is None else sight
        self.ranges = named(randomization)
        self.action_repeat = action_repeat
        self.max_agent_steps = -(-self.task.steps // action_repeat)
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": 1.0 / (CONTROL_STEP * action_repeat)}
        self.draw: Draw | None = None
        self.simulation = Simulation(self.task, self.sight.meshes, can)
        self._steps = 0
        self._views: dict[str, Any] = {}  # made with the first picture, and with it the GL context
        self._set_quality()
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.observation_space = self._space()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self.draw = draw(self.task, self.ranges, self.np_random)
        self.simulation.set_up(self.draw)
        self._steps = 0
        return self._observation(), {"success": False}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self.scene()
        command = checked_action(action, (4,), f"ur5e/{self.task_name}")
        success = False
        for _ in range(min(self.action_repeat, self.task.steps - self._steps)):
            self.simulation.move(MAX_SPEED * command[:3], close=bool(command[3] > 0.0))
            self._steps += 1
            success = self.task.success(self.truth())
            if success:
                break
        truncated = not success and self._steps >= self.task.steps
        return self._observation(), SUCCESS_REWARD * success, success, truncated, {"success": success}

    def truth(self) -> Truth:
        """What the simulator knows, for experts and measurements; agents see the observation alone."""
        return self.simulation.truth()

    def render(self) -> Any:
        """(H, W, 3) ``uint8``, the camera's view, or None without a ``render_mode``."""
        return None if self.render_mode is None else self.picture()

    def picture(self) -> NDArray[np.uint8]:
        """(H, W, 3) ``uint8``: the camera's view now."""
        return np.array(self._view("rgb").render(), order="C")

    def depth(self) -> NDArray[np.float32]:
        """(H, W) metres along the camera's axis, now."""
        return np.minimum(self._view("depth").render(depth=True), np.float32(FAR), order="C")

    def depth_from(self, other: Draw) -> NDArray[np.float32]:
        """(H, W) metres: what the camera would measure now if it stood where another draw has it.

        The wrist camera stays on its arm.
        """
        self.simulation.aim(other)
        seen = self.depth()
        self.simulation.aim(self.scene())
        return seen

    def agent_mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: pixels of arm, gripper and all that can be moved now, by MuJoCo's segmentation."""
        return self._pixels_of(np.any(list(self.simulation.parts().values()), axis=0))

    def part_masks(self) -> dict[str, NDArray[np.bool_]]:
        """(H, W) bool each: pixels of the gripper, of the rest of the arm, of each object and of the bowl now."""
        geoms = self._seen_geoms()
        return {name: self._pixels_of(which, geoms) for name, which in self.simulation.parts().items()}

    def get_state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on: JSON values and arrays.

        Raises:
            FovealError: before the first reset.
        """
        return {
            "task": self.task_name,
            "steps": self._steps,
            "random": self.np_random.bit_generator.state,
            "draw": asdict(self.scene()),
            "physics": self.simulation.get_state(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where ``get_state`` was called, in an environment made with the same options.

        Raises:
            FovealError: the state is of another task.
        """
        if state["task"] != self.task_name:
            raise FovealError(f"this state is of ur5e/{state['task']}, and this environment is ur5e/{self.task_name}")
        drawn = Draw.from_dict(state["draw"])
        self.simulation.set_state(state["physics"], drawn)
        self.draw = drawn
        self._steps = int(state["steps"])
        self.np_random.bit_generator.state = state["random"]

    def close(self) -> None:
        self._views.clear()
        self.simulation.close()

    # ----------------------------------------------------------------------------------------------------------- inside

    def scene(self) -> Draw:
        """The draw of the present episode.

        Raises:
            FovealError: before the first reset.
        """
        if self.draw is None:
            raise FovealError("no episode has begun: call reset() first")
        return self.draw

    def _observation(self) -> Observation:
        position, orientation = self.simulation.tool()
        parts = [self.simulation.joints(), position, orientation, np.array([self.simulation.opening()])]
        seen: Observation = {"vector": np.concatenate(parts).astype(np.float32)}
        if self.sight.depth:
            seen["depth"] = self.depth()
        if self.sight.rgb:
            seen["rgb"] = self.picture()
        return seen

    def _space(self) -> spaces.Dict:
        joints = np.array([link.limit for link in LINKS]) + _MARGIN
        low, high = np.array(WORKSPACE).T
        size = self.sight.size
        entries: dict[str, spaces.Space[Any]] = {
            "vector": spaces.Box(
                np.concatenate([-joints, low - _MARGIN, -np.ones(4), [0.0]]).astype(np.float32),
                np.concatenate([joints, high + _MARGIN, np.ones(4), [1.0]]).astype(np.float32),
                dtype=np.float32,
            )
        }
        if self.sight.depth:
            entries["depth"] = spaces.Box(0.0, FAR, (size, size), np.float32)
        if self.sight.rgb:
            entries["rgb"] = spaces.Box(0, 255, (size, size, 3), np.uint8)
        return spaces.Dict(entries)

    def _seen_geoms(self) -> NDArray[np.int64]:
        """(H, W): the number of the geom at each pixel, -1 where there is none."""
        import mujoco

        labels = self._view("rgb").render(segmentation=True)
        return np.where(labels[..., 1] == mujoco.mjtObj.mjOBJ_GEOM, labels[..., 0], -1)

    def _pixels_of(self, which: NDArray[np.bool_], seen: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels that show a geom of ``which``, (geoms,) bool."""
        geoms = self._seen_geoms() if seen is None else seen
        return np.asarray(np.append(which, False)[geoms])  # -1, no geom, indexes the appended one

    def _view(self, kind: str) -> Any:
        """The camera for ``"rgb"`` or ``"depth"``, made once: making one takes longer than a picture."""
        import mujoco

        self.scene()
        if kind not in self._views:
            view = open_view(self.simulation.physics, self.sight.size, self.sight.camera)
            if kind == "depth" or self.sight.quality != "exact":
                view.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            self._views[kind] = view
        return self._views[kind]

    def _set_quality(self) -> None:
        """Set the buffer's size and multisampling before the GL context is made.

        In depth, several samples a pixel would mix near and far.
        """
        model = self.simulation.physics.model
        model.vis.global_.offwidth = model.vis.global_.offheight = self.sight.size
        if self.sight.depth or self.sight.quality == "draft":
            model.vis.quality.offsamples = 0
