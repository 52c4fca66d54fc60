"""The simulated arm and table: setting up a scene, moving, observing and saving it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foveal.envs.rendering import load_physics
from foveal.envs.ur5e import kinematics
from foveal.envs.ur5e.meshes import load_skin
from foveal.envs.ur5e.model import (
    CAMERAS,
    CAN_HALF,
    CAN_WAITS,
    DENSITY,
    LAG,
    STANDS,
    STROKE,
    TIMESTEP,
    TOOL_REACH,
    scene_xml,
)
from foveal.envs.ur5e.randomization import WORKSPACE, Draw
from foveal.envs.ur5e.tasks import Task, Truth
from foveal.errors import FovealError

Array = NDArray[np.float64]

CONTROL_STEP = 0.1  # seconds: tool velocities come at 10 Hz
MAX_SPEED = 0.2  # m/s of the tool, along each axis
JOINTS = 6
# The tool points down, the fingers move along the world's y axis.
DOWN = np.diag([-1.0, 1.0, -1.0])
_BASE = np.diag([-1.0, -1.0, 1.0])  # the base's axes in the world: see model.py
_HOME = np.radians([-15.5, -88.0, 109.0, -111.0, -90.0, 74.5])  # elbow up, above the middle of the table
_UPRIGHT_GAIN = 4.0  # 1/s, of the control of the tool's orientation
# How far, in rad, a servo's reference may run ahead of where its joint would be without obstacles: so little that a
# blocked tool presses with at most some 300 N, where a real arm would stop by itself.
_LEAD = 0.01
_LIMITS = np.array(WORKSPACE).T  # (2, 3)
_ABOVE = 0.001  # metres that things start above the table


class Simulation:
    """MuJoCo's model and data of one task.

    Args:
        task: what is on the table.
        meshes: show the real arm's meshes instead of simple shapes; only pictures change.
        can: whether there is one that ``add_can`` puts on the table.

    Attributes:
        physics: dm_control's ``Physics`` of it, for rendering.

    Raises:
        FovealError: MuJoCo or OpenGL is missing, or the meshes are.
    """

    def __init__(self, task: Task, meshes: bool = False, can: bool = False) -> None:
        import mujoco

        self.task = task
        self.physics = load_physics().from_xml_string(scene_xml(task, load_skin() if meshes else None, can=can))
        self._mujoco = mujoco
        self._model, self._data = self.physics.model.ptr, self.physics.data.ptr
        model = self._model
        self._state_kind = int(mujoco.mjtState.mjSTATE_INTEGRATION)
        self._site = model.site("tool").id
        self._hand = model.body("gripper").id
        self._geoms = np.array([model.geom(thing.name).id for thing in task.things])
        self._bodies = np.array([model.body(thing.name).id for thing in task.things])
        self._places = [int(model.joint(thing.name).qposadr[0]) for thing in task.things]
        self._fingers = [model.body(name).id for name in ("finger_left", "finger_right")]
        self._slides = [int(model.joint(name).qposadr[0]) for name in ("finger_left", "finger_right")]
        self._lamp = model.light_pos[0].copy(), model.light_diffuse[0].copy()
        self._stands = {name: model.cam_pos[CAMERAS.index(name)].copy() for name in STANDS}
        self._ghost = mujoco.MjData(model)  # scratch: the arm at its servos' reference
        self._jacobian = np.zeros((6, model.nv))
        self._half = np.zeros((len(task.things), 3))
        self._can: int | None = model.body("can").id if can else None

    # ------------------------------------------------------------------------------------------------------- set up

    def set_up(self, draw: Draw) -> None:
        """Begin an episode with everything at rest where ``draw`` has it and the gripper open.

        Raises:
            FovealError: the arm can't reach the start.
        """
        joints = kinematics.solve(_BASE.T @ draw.start, _BASE.T @ DOWN, TOOL_REACH, _HOME)
        self.dress(draw)
        data = self._data
        self._mujoco.mj_resetData(self._model, data)
        data.qpos[:JOINTS] = data.act[:JOINTS] = joints
        data.qpos[self._slides] = STROKE
        data.ctrl[JOINTS] = STROKE
        for address, place, yaw, half in zip(self._places, draw.places, draw.yaws, self._half, strict=True):
            data.qpos[address : address + 7] = [*place, half[2] + _ABOVE, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        if draw.bowl is not None:
            address = int(self._model.joint("bowl").qposadr[0])
            data.qpos[address : address + 7] = [*draw.bowl, _ABOVE, 1.0, 0.0, 0.0, 0.0]
        self._weigh_can()
        self._refresh()

    def put(self, name: str, place: Array, yaw: float = 0.0, velocity: Array | None = None) -> None:
        """Put a thing or the bowl elsewhere in the middle of an episode, upright.

        Args:
            name: of the body.
            place: (3,) metres.
            yaw: radians about the vertical.
            velocity: (3,) m/s; None leaves it at rest.
        """
        joint, data = self._model.joint(name), self._data
        address, speed = int(joint.qposadr[0]), int(joint.dofadr[0])
        data.qpos[address : address + 7] = [*place, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        data.qvel[speed : speed + 6] = 0.0
        if velocity is not None:
            data.qvel[speed : speed + 3] = velocity
        self._refresh()

    def add_can(self, place: Array) -> None:
        """Let the can stand on the table at ``place``, (2,) metres.

        Raises:
            FovealError: there is none.
        """
        if self._can is None:
            raise FovealError("this scene has no can: make its environment with can=True")
        self.put("can", np.array([*place, CAN_HALF + _ABOVE]))
        self._weigh_can()

    def _weigh_can(self) -> None:
        """Below the table it has no weight, so that it waits there."""
        if self._can is not None:
            waits = self._data.qpos[int(self._model.joint("can").qposadr[0]) + 2] < 0.5 * CAN_WAITS[2]
            self._model.body_gravcomp[self._can] = float(waits)

    def dress(self, draw: Draw) -> None:
        """Write into the model what stays the same for an episode: sizes, masses, cameras, light."""
        for index, (thing, edge) in enumerate(zip(self.task.things, draw.edges, strict=True)):
            self._resize(index, thing.shape, np.array(thing.half) * edge)
        model = self._model
        self._mujoco.mj_setConst(model, self._data)
        self.aim(draw)
        model.light_pos[0, :2] = self._lamp[0][:2] + draw.light_shift
        model.light_diffuse[0] = self._lamp[1] * draw.light

    def aim(self, draw: Draw) -> None:
        """Put the cameras beside the table where ``draw`` has them."""
        model = self._model
        for name, stand in self._stands.items():
            number = CAMERAS.index(name)
            model.cam_pos[number] = stand + draw.camera_shift
            target = np.array(STANDS[name][1]) + draw.camera_aim
            model.cam_quat[number] = self._looking_at(model.cam_pos[number], target)
            model.cam_fovy[number] = draw.camera_fovy
        self._mujoco.mj_camlight(model, self._data)

    def _resize(self, index: int, shape: str, half: Array) -> None:
        geom, body, model = self._geoms[index], self._bodies[index], self._model
        x, y, z = half
        size = {"box": (x, y, z), "cylinder": (x, z, 0.0), "sphere": (x, 0.0, 0.0)}[shape]
        volume = {"box": 8.0 * x * y * z, "cylinder": 2.0 * np.pi * x * x * z, "sphere": 4.0 / 3.0 * np.pi * x**3}
        mass = DENSITY * volume[shape]
        across, along = {
            "box": (mass * (y * y + z * z) / 3.0, mass * (x * x + y * y) / 3.0),
            "cylinder": (mass * (3.0 * x * x + 4.0 * z * z) / 12.0, mass * x * x / 2.0),
            "sphere": (0.4 * mass * x * x, 0.4 * mass * x * x),
        }[shape]
        model.geom_size[geom] = size
        model.geom_aabb[geom] = [0.0, 0.0, 0.0, x, y, z]
        model.geom_rbound[geom] = {"box": np.linalg.norm(half), "cylinder": np.hypot(x, z), "sphere": x}[shape]
        model.body_mass[body] = mass
        model.body_inertia[body] = [across, across, along]
        self._half[index] = half

    def _looking_at(self, eye: Array, target: Array) -> Array:
        """The quaternion of a camera at ``eye``: it looks along its own -z, its y axis points upwards."""
        back = (eye - target) / np.linalg.norm(eye - target)
        right = np.cross([0.0, 0.0, 1.0], back)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(back, right), back], axis=1)
        quaternion = np.zeros(4)
        self._mujoco.mju_mat2Quat(quaternion, axes.ravel())
        return quaternion

    # ---------------------------------------------------------------------------------------------------------- move

    def move(self, velocity: Array, close: bool) -> None:
        """One control step.

        Args:
            velocity: (3,) m/s of the tool; components that lead out of the workspace are cut off.
            close: whether to close the gripper or to open it.
        """
        data = self._data
        data.ctrl[:JOINTS] = self._joint_speeds(velocity)
        data.ctrl[JOINTS] = 0.0 if close else STROKE
        self._mujoco.mj_step(self._model, data, nstep=round(CONTROL_STEP / TIMESTEP))
        expected = data.qpos[:JOINTS] + LAG * data.qvel[:JOINTS]
        lead = data.act[:JOINTS] - expected
        data.act[:JOINTS] = expected + lead / max(1.0, float(np.abs(lead).max()) / _LEAD)
        self._refresh()

    def _joint_speeds(self, velocity: Array) -> Array:
        """(6,) rad/s of the servos' reference for that velocity within the workspace, with the tool turned downwards.

        The Jacobian is that half-way through the control step, so that straight lines stay straight. All joints slow
        down together where one would be too fast.
        """
        reference = self._data.act[:JOINTS]
        jacobian, tool = self._at(reference)
        low, high = (_LIMITS - tool[:3, 3]) / CONTROL_STEP
        inside = np.clip(velocity, np.minimum(low, 0.0), np.maximum(high, 0.0))
        twist = np.concatenate([inside, _UPRIGHT_GAIN * kinematics.orientation_error(DOWN, tool[:3, :3])])
        speeds = kinematics.damped_least_squares(jacobian, twist)
        jacobian, _ = self._at(reference + 0.5 * CONTROL_STEP * speeds)
        speeds = kinematics.damped_least_squares(jacobian, twist)
        return speeds / max(1.0, float(np.abs(speeds).max()) / kinematics.JOINT_SPEED)

    def _at(self, joints: Array) -> tuple[Array, Array]:
        """The tool's Jacobian (6, 6) and pose (4, 4) at these joint angles, in the world's frame."""
        model, ghost = self._model, self._ghost
        ghost.qpos[:JOINTS] = joints
        self._mujoco.mj_kinematics(model, ghost)
        self._mujoco.mj_comPos(model, ghost)
        self._mujoco.mj_jacSite(model, ghost, self._jacobian[:3], self._jacobian[3:], self._site)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = ghost.site_xmat[self._site].reshape(3, 3), ghost.site_xpos[self._site]
        return self._jacobian[:, :JOINTS], pose

    def _refresh(self) -> None:
        """Compute frames and contacts from positions, so that everything that is read follows from the state alone."""
        self._mujoco.mj_fwdPosition(self._model, self._data)

    # ---------------------------------------------------------------------------------------------------------- look

    def truth(self) -> Truth:
        """Everything about the scene, exactly."""
        data = self._data
        touches = [self._touched_by(finger) for finger in self._fingers]
        bowl = None if self.task.bowl is None else self._data.body("bowl").xpos.copy()
        return Truth(
            tool=data.site_xpos[self._site].copy(),
            closing=bool(data.ctrl[JOINTS] < STROKE / 2),
            opening=self.opening(),
            centres=data.xpos[self._bodies].copy(),
            half=self._half.copy(),
            held=touches[0] & touches[1],
            touched=touches[0] | touches[1],
            bowl=bowl,
        )

    def joints(self) -> Array:
        """(6,) radians."""
        angles: Array = self._data.qpos[:JOINTS].copy()
        return angles

    def tool(self) -> tuple[Array, Array]:
        """Position (3,) in metres and orientation (4,), a quaternion w, x, y, z, in the world's frame.

        Of the two equal quaternions it is the one with y >= 0: a tool that points down is near (0, 0, 1, 0), where w
        changes sign.
        """
        quaternion = np.zeros(4)
        self._mujoco.mju_mat2Quat(quaternion, self._data.site_xmat[self._site])
        return self._data.site_xpos[self._site].copy(), quaternion * (1.0 if quaternion[2] >= 0.0 else -1.0)

    def opening(self) -> float:
        """The gripper's opening, 0 (closed) to 1."""
        return float(np.clip(self._data.qpos[self._slides].mean() / STROKE, 0.0, 1.0))

    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """(geoms,) bool each: the geoms of the gripper, of the rest of the arm, of each thing, of bowl and can."""
        model = self._model
        bodies = model.geom_bodyid
        gripper = np.isin(bodies, [self._hand, *self._fingers])
        robot = model.body_rootid[bodies] == model.body("base").id
        parts = {"gripper": gripper, "arm": robot & ~gripper}
        parts |= {thing.name: bodies == body for thing, body in zip(self.task.things, self._bodies, strict=True)}
        if self.task.bowl is not None:
            parts["bowl"] = bodies == model.body("bowl").id
        if self._can is not None:
            parts["can"] = bodies == self._can
        return parts

    def _touched_by(self, finger: int) -> NDArray[np.bool_]:
        """(N,) bool: the things in contact with a finger."""
        contact = self._data.contact.geom  # (contacts, 2)
        bodies = self._model.geom_bodyid[contact]
        others = contact[:, ::-1][bodies == finger]
        touched: NDArray[np.bool_] = (self._geoms[:, None] == others).any(axis=1)  # np.isin sorts, which takes longer
        return touched

    def close(self) -> None:
        """Free the simulator and its rendering contexts."""
        if self.physics is not None:
            self.physics.free()
            self.physics = None

    # ---------------------------------------------------------------------------------------------------------- save

    def get_state(self) -> Array:
        """MuJoCo's full integration state, warm start included."""
        state = np.empty(self._mujoco.mj_stateSize(self._model, self._state_kind))
        self._mujoco.mj_getState(self._model, self._data, state, self._state_kind)
        return state

    def set_state(self, state: Array, draw: Draw) -> None:
        """Go on where ``get_state`` was called, in the scene that was drawn then.

        Raises:
            FovealError: the state is of another task.
        """
        if state.size != self._mujoco.mj_stateSize(self._model, self._state_kind):
            raise FovealError("this saved simulator state is of another task or another MuJoCo version")
        self.dress(draw)
        self._mujoco.mj_setState(self._model, self._data, np.asarray(state, np.float64), self._state_kind)
        self._weigh_can()
        self._refresh()
