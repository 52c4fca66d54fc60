"""Motions of a real arm's tool that keep its links off each other, the table and their limits, by mink.

mink (Zakka, 2024) solves differential inverse kinematics as a quadratic program on a MuJoCo model: the joint speeds
whose tool velocity is nearest to the one asked for, subject to bounds on joints, on their speeds, and on how fast
shapes approach. The simulator itself does not use this: its tool moves by damped least squares (``kinematics``), with
which everything that was trained in it was trained.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from foveal.envs.ur5e.kinematics import JOINT_SPEED
from foveal.envs.ur5e.model import STROKE, scene_xml
from foveal.envs.ur5e.simulation import CONTROL_STEP, JOINTS
from foveal.envs.ur5e.tasks import Task
from foveal.errors import require

Array = NDArray[np.float64]

EXTRA = 'avoiding collisions needs the extra "ik": pip install "foveal[ik]"'
DISTANCE = 0.04  # metres that shapes keep from each other
_SEEN = 0.15  # metres at which they begin to slow down
_GAIN = 0.2  # of what is left of the distance, the share that one step may use
_MARGIN = np.radians(5.0)  # radians that joints keep from their limits
_APART = 3  # bodies along the arm between which a collision is possible
_CHAIN = ("base", *(f"link{number}" for number in range(1, JOINTS + 1)), "gripper")
_HANDS = ("gripper", "finger_left", "finger_right")


class Avoidance:
    """Turns a twist of the tool into the nearest one that the arm can follow without a collision.

    Args:
        turn: degrees about z, from the base's x axis to the task's, see ``foveal.robot.TaskFrame``.
        origin: (x, y, z) metres of the task's origin in the base's frame. The table's surface is at its height 0.

    Raises:
        FovealError: the extra is missing.
    """

    def __init__(self, turn: float = 180.0, origin: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        require("mink", EXTRA)
        import mujoco

        self._mink: Any = importlib.import_module("mink")
        self._base = Rotation.from_euler("z", -turn, degrees=True)  # the base's axes in the task's frame
        model = mujoco.MjModel.from_xml_string(
            scene_xml(Task(things=(), bowl=None, steps=1, success=lambda truth: False))
        )
        base = model.body("base")
        base.pos[:] = -self._base.apply(origin)
        base.quat[:] = np.roll(self._base.as_quat(), 1)
        self._configuration = self._mink.Configuration(model)
        self._task = self._mink.FrameTask("tool", "site", position_cost=1.0, orientation_cost=0.3, lm_damping=1e-6)
        self._limits = self._bounds(model)
        self._slides = [int(model.joint(name).qposadr[0]) for name in _HANDS[1:]]

    def __call__(self, joints: Array, twist: Array) -> Array:
        """(6,) twist.

        Args:
            joints: (6,) radians.
            twist: (6,) of the tool in the base's frame: m/s, then rad/s.
        """
        speeds = self.joint_speeds(joints, twist)
        jacobian = self._jacobian()
        return np.concatenate([self._base.inv().apply(part) for part in (jacobian @ speeds).reshape(2, 3)])

    def joint_speeds(self, joints: Array, twist: Array) -> Array:
        """(6,) rad/s; all 0 where nothing else is allowed."""
        configuration = self._configuration
        angles = configuration.q.copy()
        angles[:JOINTS], angles[self._slides] = joints, STROKE
        configuration.update(angles)
        self._task.set_target(self._ahead(twist))
        try:
            speeds = self._mink.solve_ik(
                configuration, [self._task], CONTROL_STEP, solver="daqp", damping=1e-6, limits=self._limits
            )
        except self._mink.NoSolutionFound:
            return np.zeros(JOINTS)
        return np.asarray(speeds[:JOINTS])

    def _ahead(self, twist: Array) -> Any:
        """The tool's pose one control step later."""
        now = self._configuration.get_transform_frame_to_world("tool", "site")
        moved = now.translation() + CONTROL_STEP * self._base.apply(twist[:3])
        turn = Rotation.from_rotvec(CONTROL_STEP * self._base.apply(twist[3:]))
        turned = turn * Rotation.from_matrix(now.rotation().as_matrix())
        rotation = self._mink.SO3.from_matrix(turned.as_matrix())
        return self._mink.SE3.from_rotation_and_translation(rotation, moved)

    def _jacobian(self) -> Array:
        """(6, 6) of the tool in the task's frame, linear, then angular."""
        import mujoco

        model, data = self._configuration.model, self._configuration.data
        jacobian = np.zeros((6, model.nv))
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], model.site("tool").id)
        return jacobian[:, :JOINTS]

    def _bounds(self, model: Any) -> list[Any]:
        """Limits of joints, speeds and distances."""
        model.geom_contype[:] = model.geom_conaffinity[:] = 1  # in the simulator the arm does not touch itself
        bodies = {name: model.body(name).id for name in (*_CHAIN, *_HANDS)}
        geoms = {name: np.flatnonzero(model.geom_bodyid == body).tolist() for name, body in bodies.items()}
        hand = [geom for name in _HANDS for geom in geoms[name]]
        links = [hand if name == "gripper" else geoms[name] for name in _CHAIN]
        pairs = [
            (links[first], links[other])
            for first in range(len(links))
            for other in range(first + _APART, len(links))
            if links[first] and links[other]
        ]
        table = [model.geom("table").id]
        pairs += [(geoms[name], table) for name in _CHAIN[2:-1]]  # the hand works there, and the workspace bounds it
        speeds = {f"joint{number}": JOINT_SPEED for number in range(1, JOINTS + 1)}
        speeds |= dict.fromkeys(_HANDS[1:], 0.0)  # the fingers count as open, where they are widest
        for name in _HANDS[1:]:
            model.jnt_limited[model.joint(name).id] = 0  # a margin in radians is none for slides
        return [
            self._mink.ConfigurationLimit(model, gain=_GAIN, min_distance_from_limits=_MARGIN),
            self._mink.VelocityLimit(model, speeds),
            self._mink.CollisionAvoidanceLimit(model, pairs, _GAIN, DISTANCE, _SEEN),
        ]
