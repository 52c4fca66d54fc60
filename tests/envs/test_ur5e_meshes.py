"""The arm's meshes by option: on our joints, seen and no more than that, and asked for where they are missing."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import foveal.envs
from foveal.envs.ur5e import TASKS, make_arm, meshes
from foveal.envs.ur5e.meshes import load_skin
from foveal.envs.ur5e.model import scene_xml
from foveal.errors import FovealError

# Of the arm in robosuite's robot.xml: where each body is in the one before, and the axis that it turns about.
CHAIN = (
    ("base", (0.0, 0.0, 0.0), None, None),
    ("fixed_base_link", (0.0, 0.0, 0.0), None, None),
    ("shoulder_link", (0.0, 0.0, 0.163), None, "0 0 1"),
    ("upper_arm_link", (0.0, 0.138, 0.0), 90.0, "0 1 0"),
    ("forearm_link", (0.0, -0.131, 0.425), None, "0 1 0"),
    ("wrist_1_link", (0.0, 0.0, 0.392), 90.0, "0 1 0"),
    ("wrist_2_link", (0.0, 0.127, 0.0), None, "0 0 1"),
    ("wrist_3_link", (0.0, 0.0, 0.1), None, "0 1 0"),
)
CORNERS = np.array([[0.0, 0.0, 0.0], [0.03, 0.0, 0.0], [0.0, 0.05, 0.0], [0.0, 0.0, 0.07]])


def robot_xml(shoulder: float = 0.163) -> str:
    """An arm with the layout of robosuite's: a tetrahedron is what is seen of every link."""
    inner = ""
    for name, place, turn, axis in reversed(CHAIN):
        place = (0.0, 0.0, shoulder) if name == "shoulder_link" else place
        quat = "" if turn is None else 'quat="0.707107 0 0.707107 0"'
        joint = "" if axis is None else f'<joint name="{name}_joint" axis="{axis}"/>'
        seen = "" if name == "base" else '<geom mesh="corner" material="Black" type="mesh" contype="0"/>'
        inner = (
            f'<body name="{name}" pos="{" ".join(map(str, place))}" {quat}>{joint}{seen}'
            f'<geom mesh="hidden" type="mesh"/>{inner}</body>'
        )
    return (
        '<mujoco><asset><mesh name="corner" file="corner.obj"/><mesh name="hidden" file="nowhere.stl"/>'
        f'<material name="Black" rgba="0 1 0 1"/></asset><worldbody>{inner}</worldbody></mujoco>'
    )


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """A package named robosuite with this file and no code."""
    spec = ModuleSpec("robosuite", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        meshes.importlib.util, "find_spec", lambda name, *rest: spec if name == "robosuite" else plain(name, *rest)
    )
    if text is not None:
        robot = folder / meshes.ROBOT
        robot.parent.mkdir(parents=True)
        robot.write_text(text)
        lines = [f"v {x} {y} {z}" for x, y, z in CORNERS] + ["f 1 3 2", "f 1 2 4", "f 1 4 3", "f 2 3 4"]
        (robot.parent / "corner.obj").write_text("\n".join(lines) + "\n")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "robosuite", monkeypatch, robot_xml())


def chained(joints: np.ndarray) -> list[np.ndarray]:
    """(4, 4) of each body of ``CHAIN``, by multiplying out what its file says."""
    poses, now, angles = [], np.eye(4), iter(joints)
    for _, place, turn, axis in CHAIN:
        step = np.eye(4)
        step[:3, 3] = place
        if turn is not None:
            step[:3, :3] = Rotation.from_euler("y", turn, degrees=True).as_matrix()
        if axis is not None:
            about = np.array([float(number) for number in axis.split()])
            step[:3, :3] = step[:3, :3] @ Rotation.from_rotvec(next(angles) * about).as_matrix()
        now = now @ step
        poses.append(now)
    return poses


# --- where they are -------------------------------------------------------------------------------------------------


def test_meshes_are_where_their_own_kinematics_have_them(stand_in: None) -> None:
    """At any joint angles every vertex is where robosuite's own chain has it, up to the rounding of its lengths."""
    import mujoco

    model = mujoco.MjModel.from_xml_string(scene_xml(TASKS["pick"], load_skin()))
    data = mujoco.MjData(model)
    looks = [geom for geom in range(model.ngeom) if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH]
    assert len(looks) == len(CHAIN) - 1
    mesh = model.mesh("skin_corner")
    vertices = model.mesh_vert[mesh.vertadr[0] : mesh.vertadr[0] + mesh.vertnum[0]]
    for joints in np.random.default_rng(0).uniform(-np.pi, np.pi, (10, 6)):
        data.qpos[:6] = joints
        mujoco.mj_forward(model, data)
        for geom, pose in zip(looks, chained(joints)[1:], strict=True):
            found = data.geom_xpos[geom] + vertices @ data.geom_xmat[geom].reshape(3, 3).T
            wanted = CORNERS @ pose[:3, :3].T + pose[:3, 3]
            for corner in wanted:
                assert np.linalg.norm(found - corner, axis=1).min() < 0.0025


@pytest.mark.slow
def test_only_pictures_change(stand_in: None) -> None:
    runs = []
    for shown in (False, True):
        env = gymnasium.make("foveal/ur5e-bowl-depth-v0", meshes=shown, disable_env_checker=True)
        arm: Any = env.unwrapped
        observation, _ = env.reset(seed=2)
        random = np.random.default_rng(0)
        for _ in range(30):
            observation, *_ = env.step(random.uniform(-1, 1, 4).astype(np.float32))
        runs.append((arm.get_state()["physics"], observation["vector"], observation["depth"], arm.agent_mask()))
        env.close()
    (state, vector, depth, mask), (again, same, other, seen) = runs
    np.testing.assert_array_equal(state, again)
    np.testing.assert_array_equal(vector, same)
    changed = depth != other
    assert changed.any() and not changed[~(mask | seen)].any()
    assert 0 < seen.sum() < mask.sum()  # tetrahedra and the gripper, and no capsule


@pytest.mark.slow
def test_they_are_an_option_of_make(stand_in: None) -> None:
    masks = []
    for shown in (False, True):
        env = foveal.envs.make("ur5e/bowl", image_size=48, quality="draft", meshes=shown)
        env.reset(seed=2)
        masks.append(env.agent_mask())
        env.close()
    assert 0 < masks[1].sum() < masks[0].sum()


# --- where they are not ---------------------------------------------------------------------------------------------


def test_missing_or_other_meshes_give_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(meshes.importlib.util, "find_spec", lambda *_: None)
        with pytest.raises(FovealError, match=r"not installed.*pip install --no-deps 'robosuite"):
            make_arm("bowl", meshes=True)
        make_arm("bowl", depth=False).close()  # which needs none
    for number, (text, message) in enumerate(
        [
            (None, "is missing"),
            ("<mujoco", "is not the UR5e of robosuite 1.5"),
            ("<mujoco><worldbody/></mujoco>", "has no body"),
            (robot_xml(shoulder=0.2), "axis of joint 2 is 38 mm"),
            (robot_xml().replace('<joint name="wrist_3_link_joint"', "<other"), "has 5 joints"),
        ]
    ):
        with monkeypatch.context() as patch:
            install(tmp_path / str(number), patch, text)
            with pytest.raises(FovealError, match=message):
                load_skin()


# --- robosuite's own ------------------------------------------------------------------------------------------------


def test_robosuites_meshes_lie_on_our_arm() -> None:
    """Links look alike from two sides: pixels of shapes and of meshes are nearly the same ones."""
    if importlib.util.find_spec("robosuite") is None:
        pytest.skip("robosuite is not installed, whose meshes this looks at")
    for camera in (0, 1):
        masks = []
        for shown in (False, True):
            env = make_arm("bowl", size=168, depth=False, camera=camera, randomization="none", meshes=shown)
            env.reset(seed=0)
            masks.append(env.agent_mask())
            env.close()
        both, either = (masks[0] & masks[1]).sum(), (masks[0] | masks[1]).sum()
        assert both / either > 0.85, (camera, both, either)
