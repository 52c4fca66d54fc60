"""The ur5e/ environments: the arm's kinematics, how it moves, what tasks and pictures are, and the scripted experts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scipy.spatial.transform import Rotation

import foveal.envs
from foveal.checkpoint.states import join, split
from foveal.envs.ur5e import TASKS, make_arm
from foveal.envs.ur5e.env import ArmEnv
from foveal.envs.ur5e.experts import SKILL_STEPS, SKILLS, script, skills
from foveal.envs.ur5e.kinematics import (
    LINKS,
    damped_least_squares,
    frames,
    jacobian,
    orientation_error,
    solve,
    tool_pose,
)
from foveal.envs.ur5e.model import FAR, TOOL_REACH, scene_xml
from foveal.envs.ur5e.randomization import RANDOMIZATIONS, TRAINING, WORKSPACE, Draw, Randomization, draw
from foveal.envs.ur5e.simulation import CONTROL_STEP, DOWN, MAX_SPEED, Simulation
from foveal.envs.ur5e.tasks import SUCCESS_REWARD, Truth
from foveal.errors import FovealError

BASE = np.diag([-1.0, -1.0, 1.0])  # the base's axes in the world


def blind(task: str = "pick", **options: Any) -> ArmEnv:
    """Without pictures, so without a GL context."""
    return make_arm(task, depth=False, **options)


def follow(env: ArmEnv, order: tuple[int, ...]) -> tuple[bool, int]:
    """Experts in this order from where the episode is: whether that succeeded, and after how many steps."""
    steps = 0
    for number in order:
        for _ in range(SKILL_STEPS):
            advice = skills(env.task_name)[number].expert(env.truth())
            *_, terminated, truncated, info = env.step(advice.action)
            steps += 1
            if terminated or truncated:
                return bool(info["success"]), steps
    return False, steps


def some_joints(seed: int, count: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (count, 6))


# ---------------------------------------------------------------------------------------------------------- kinematics


def dh_oracle(joints: np.ndarray) -> list[np.ndarray]:
    """The four elementary transforms of each joint, multiplied out one by one, from the published table."""
    d = [0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996]
    a = [0.0, -0.425, -0.3922, 0.0, 0.0, 0.0]
    alpha = [np.pi / 2, 0.0, 0.0, np.pi / 2, -np.pi / 2, 0.0]

    def moved(vector: list[float], turn: Rotation | None = None) -> np.ndarray:
        pose = np.eye(4)
        pose[:3, :3] = np.eye(3) if turn is None else turn.as_matrix()
        pose[:3, 3] = vector
        return pose

    poses = [np.eye(4)]
    for i in range(6):
        about_z = moved([0, 0, 0], Rotation.from_euler("z", joints[i]))
        about_x = moved([0, 0, 0], Rotation.from_euler("x", alpha[i]))
        poses.append(poses[-1] @ about_z @ moved([0, 0, d[i]]) @ moved([a[i], 0, 0]) @ about_x)
    return poses


def test_forward_kinematics_are_the_published_table() -> None:
    for joints in some_joints(0):
        np.testing.assert_allclose(frames(joints), dh_oracle(joints), atol=1e-12)
    np.testing.assert_allclose(frames(np.zeros(6))[-1][:3, 3], [-0.8172, -0.2329, 0.0628], atol=1e-9)


def test_the_simulated_arm_is_the_published_one() -> None:
    """Tool, centres of mass, masses, limits and torques of the model, against the table by the oracle above."""
    import mujoco

    model = mujoco.MjModel.from_xml_string(scene_xml(TASKS["pick"]))
    data = mujoco.MjData(model)
    for joints in some_joints(1):
        data.qpos[:6] = joints
        mujoco.mj_forward(model, data)
        poses = dh_oracle(joints)
        flange = poses[-1]
        np.testing.assert_allclose(
            data.site("tool").xpos, BASE @ (flange[:3, 3] + TOOL_REACH * flange[:3, 2]), atol=1e-9
        )
        np.testing.assert_allclose(data.site("tool").xmat.reshape(3, 3), BASE @ flange[:3, :3], atol=1e-9)
        for number, (link, pose) in enumerate(zip(LINKS, poses[1:], strict=True), start=1):
            centre = BASE @ (pose @ [*link.centre, 1.0])[:3]
            np.testing.assert_allclose(data.body(f"link{number}").xipos, centre, atol=1e-5)
    masses = [model.body(f"link{number}").mass[0] for number in range(1, 7)]
    assert masses == [3.761, 8.058, 2.846, 1.37, 1.3, 0.365]
    limits = [2 * np.pi, 2 * np.pi, np.pi, 2 * np.pi, 2 * np.pi, 2 * np.pi]
    np.testing.assert_allclose(model.jnt_range[:6, 1], limits, rtol=1e-6)
    np.testing.assert_allclose(model.actuator_forcerange[:6, 1], [150, 150, 150, 28, 28, 28])


def test_jacobian_is_the_derivative_of_the_pose() -> None:
    small = 1e-6
    for joints in some_joints(2):
        found = jacobian(joints, TOOL_REACH)
        for i in range(6):
            step = small * np.eye(6)[i]
            ahead, behind = tool_pose(joints + step, TOOL_REACH), tool_pose(joints - step, TOOL_REACH)
            linear = (ahead[:3, 3] - behind[:3, 3]) / (2 * small)
            turn = Rotation.from_matrix(ahead[:3, :3] @ behind[:3, :3].T).as_rotvec() / (2 * small)
            np.testing.assert_allclose(found[:, i], np.concatenate([linear, turn]), atol=1e-6)


def test_damped_least_squares_minimizes_error_plus_damped_speeds() -> None:
    random = np.random.default_rng(3)
    matrix, twist = random.normal(size=(6, 6)), random.normal(size=6)
    stacked = np.concatenate([matrix, 0.3 * np.eye(6)])  # |J dq - twist|^2 + 0.3^2 |dq|^2
    expected = np.linalg.lstsq(stacked, np.concatenate([twist, np.zeros(6)]), rcond=None)[0]
    np.testing.assert_allclose(damped_least_squares(matrix, twist, damping=0.3), expected, rtol=1e-9)
    singular = np.diag([1.0, 1, 1, 1, 1, 0])
    assert np.isfinite(damped_least_squares(singular, np.ones(6))).all()


def test_orientation_error_is_the_rotation_vector_to_first_order() -> None:
    found = Rotation.from_euler("xyz", [0.4, -1.0, 2.0])
    turn = np.array([1e-3, -2e-3, 5e-4])
    wanted = Rotation.from_rotvec(turn) * found
    np.testing.assert_allclose(orientation_error(wanted.as_matrix(), found.as_matrix()), turn, rtol=1e-4)


def test_inverse_kinematics_undo_forward_ones_and_refuse_what_is_out_of_reach() -> None:
    home = np.radians([-15.5, -88.0, 109.0, -111.0, -90.0, 74.5])
    joints = home + np.array([0.2, -0.1, 0.15, 0.1, 0.0, -0.2])
    pose = tool_pose(joints, TOOL_REACH)
    np.testing.assert_allclose(solve(pose[:3, 3], pose[:3, :3], TOOL_REACH, home), joints, atol=1e-4)
    with pytest.raises(FovealError, match="can't bring its tool"):
        solve(np.array([-1.5, 0.0, 0.2]), BASE.T @ DOWN, TOOL_REACH, home)


# ------------------------------------------------------------------------------------------------------------ movement


def drawn(task: str, seed: int = 0, ranges: str = "none", **changes: Any) -> Draw:
    return replace(draw(TASKS[task], RANDOMIZATIONS[ranges], np.random.default_rng(seed)), **changes)


@pytest.mark.parametrize("direction", [(1, 0, 0), (0, -1, 0), (0, 0, 1), (-0.5, 0.7, -0.3)])
def test_the_tool_moves_straight_at_the_commanded_velocity_and_points_down(direction: tuple[float, ...]) -> None:
    simulation = Simulation(TASKS["pick"])
    simulation.set_up(drawn("pick", places=np.array([[0.36, -0.3]])))
    start = simulation.truth().tool
    velocity = 0.15 * np.array(direction, np.float64)
    for _ in range(10):
        simulation.move(velocity, close=False)
    for _ in range(5):  # the servos catch up
        simulation.move(np.zeros(3), close=False)
    np.testing.assert_allclose(simulation.truth().tool - start, velocity * 10 * CONTROL_STEP, atol=0.0015)
    position, quaternion = simulation.tool()
    np.testing.assert_allclose(quaternion, [0.0, 0.0, 1.0, 0.0], atol=0.005)
    pose = tool_pose(simulation.joints(), TOOL_REACH)
    np.testing.assert_allclose(position, BASE @ pose[:3, 3], atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_tool_stays_in_its_workspace(axis: int, sign: float) -> None:
    simulation = Simulation(TASKS["pick"])
    simulation.set_up(drawn("pick", places=np.array([[0.36, -0.3]])))
    for _ in range(25):
        simulation.move(MAX_SPEED * sign * np.eye(3)[axis], close=True)
    border = WORKSPACE[axis][0 if sign < 0 else 1]
    assert simulation.truth().tool[axis] == pytest.approx(border, abs=0.003)


def test_a_blocked_tool_presses_no_harder_than_it_is_allowed_to() -> None:
    """Fingers closed, straight down on a large cube: the force does not wind up while the command lasts."""
    simulation = Simulation(TASKS["pick"])
    simulation.set_up(
        drawn("pick", edges=np.array([0.065]), places=np.array([[0.48, 0.0]]), start=np.array([0.48, 0.0, 0.1]))
    )
    for _ in range(10):
        simulation.move(np.zeros(3), close=True)
    forces = []
    for _ in range(12):
        simulation.move(np.array([0.0, 0.0, -MAX_SPEED]), close=True)
        torques = simulation.physics.data.qfrc_actuator[:6]
        forces.append(-np.linalg.solve(jacobian(simulation.joints(), TOOL_REACH).T, torques)[2])  # statics: J^T F
    assert min(forces[-8:]) > 200.0
    assert max(forces) < 300.0


@pytest.mark.slow
def test_things_are_held_by_friction_alone() -> None:
    """No weld, and what is as slippery as ice stays on the table."""
    import mujoco

    env = blind()
    assert set(env.simulation.physics.model.eq_type) == {int(mujoco.mjtEq.mjEQ_JOINT)}
    env.reset(seed=0)
    assert follow(env, script("pick"))[0]
    env.simulation.physics.model.geom_friction[:] = 1e-5
    env.reset(seed=0)
    assert not follow(env, script("pick"))[0]
    env.close()


# --------------------------------------------------------------------------------------------------------------- tasks


def truth_of(task: str, centres: Any, bowl: Any = None, **changes: Any) -> Truth:
    """Things of 5 cm edge, nothing touched."""
    centres = np.array(centres, np.float64)
    none = np.zeros(len(centres), bool)
    half = np.array([thing.half for thing in TASKS[task].things]) * 0.05
    bowl = None if bowl is None else np.array(bowl, np.float64)
    fields = {"held": none, "touched": none, "bowl": bowl, **changes}
    return Truth(tool=np.zeros(3), closing=False, opening=1.0, centres=centres, half=half, **fields)


def test_pick_is_a_cube_held_ten_centimetres_up() -> None:
    success, held = TASKS["pick"].success, np.array([True])
    assert success(truth_of("pick", [[0.5, 0, 0.126]], held=held, touched=held))
    assert not success(truth_of("pick", [[0.5, 0, 0.124]], held=held, touched=held))
    assert not success(truth_of("pick", [[0.5, 0, 0.2]]))


@pytest.mark.parametrize(
    ("offset", "touched", "done"),
    [
        ((0.0, 0.0, 0.035), False, True),
        ((0.028, 0.028, 0.035), False, True),  # 3.96 cm aside
        ((0.029, 0.029, 0.035), False, False),  # 4.10 cm
        ((0.0, 0.0, 0.080), False, False),  # above the rim
        ((0.0, 0.0, 0.035), True, False),  # not let go
        ((0.0, 0.0, -0.01), False, False),
    ],
)
def test_bowl_is_a_cube_let_go_near_the_bowls_centre(offset: Any, touched: bool, done: bool) -> None:
    bowl = np.array([0.45, -0.1, 0.0])
    truth = truth_of("bowl", [bowl + offset], bowl=bowl, touched=np.array([touched]))
    assert TASKS["bowl"].success(truth) is done


def test_tower_is_the_second_cube_on_the_first() -> None:
    success = TASKS["tower"].success
    standing = np.array([[0.5, 0, 0.025], [0.51, 0.02, 0.075]])
    assert success(truth_of("tower", standing))
    assert not success(truth_of("tower", standing[[1, 0]]))
    assert not success(truth_of("tower", standing + np.outer([0, 1], [0, 0, 0.02])))
    assert not success(truth_of("tower", standing + np.outer([0, 1], [0.02, 0, 0])))
    assert not success(truth_of("tower", standing, touched=np.array([False, True])))


def test_depth_can_tell_the_cubes_of_a_tower_apart() -> None:
    drawn = [draw(TASKS["tower"], TRAINING, np.random.default_rng(seed)).edges for seed in range(200)]
    large, small = np.array(drawn).T
    assert small.max() < 0.05 < 0.055 < large.min()
    assert small.min() < 0.041 and large.max() > 0.064


def test_breakfast_is_everything_in_the_bowl() -> None:
    success, bowl = TASKS["breakfast"].success, np.array([0.5, 0.1, 0.0])
    inside = bowl + np.array([[0.05, 0, 0.03], [-0.05, 0, 0.03], [0, 0, 0.06]])
    assert success(truth_of("breakfast", inside, bowl=bowl))
    for thing in range(3):
        outside = inside.copy()
        outside[thing, 0] += 0.2
        assert not success(truth_of("breakfast", outside, bowl=bowl))


# ------------------------------------------------------------------------------------------------------------- experts


@pytest.mark.parametrize(("task", "episodes"), [("pick", 5), ("bowl", 20), ("tower", 4), ("breakfast", 3)])
@pytest.mark.slow
def test_the_script_solves_the_task_from_random_scenes(task: str, episodes: int) -> None:
    env = blind(task)
    for seed in range(1000, 1000 + episodes):
        env.reset(seed=seed)
        success, steps = follow(env, script(task))
        assert success, f"seed {seed}"
        assert steps <= len(script(task)) * SKILL_STEPS <= env.task.steps
    env.close()


@pytest.mark.slow
def test_no_skill_may_be_left_out_of_bowls_script() -> None:
    env = blind("bowl")
    for left_out in range(4):
        env.reset(seed=1)
        order = tuple(number for number in script("bowl") if number != left_out)
        # Without "up", the way to the bowl rises by itself: only that one can be spared.
        assert follow(env, order)[0] is (left_out == 1), f"without {skills('bowl')[left_out].name}"
    env.close()


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.slow
def test_skills_in_any_order_end_and_hold_still(task: str) -> None:
    env = blind(task)
    random = np.random.default_rng(0)
    env.reset(seed=5)
    ended = 0
    for number in random.integers(len(SKILLS[task]), size=8 if task != "pick" else 3):
        for _ in range(SKILL_STEPS):
            advice = skills(task)[number].expert(env.truth())
            assert advice.action.shape == (4,) and np.abs(advice.action).max() <= 1.0
            observation, *_, terminated, truncated, _ = env.step(advice.action)
            assert env.observation_space.contains(observation)
            if terminated or truncated:
                env.reset()
                break
        last = skills(task)[number].expert(env.truth())
        if last.done:
            ended += 1
            assert np.abs(last.action[:3]).max() < 0.15
    assert ended >= 2
    env.close()


@pytest.mark.slow
def test_the_way_down_corrects_a_few_centimetres() -> None:
    env = blind()
    grasp, rise = skills("pick")[0].expert, skills("pick")[1].expert
    for aside, caught in ((0.042, True), (0.12, False)):
        env.reset(seed=0)
        scene = drawn("pick", places=np.array([[0.48, 0.0]]), start=np.array([0.48 + aside, 0.0, 0.2]))
        env.simulation.set_up(scene)
        success = False
        for expert in (grasp, rise):
            for _ in range(SKILL_STEPS):
                success = success or env.step(expert(env.truth()).action)[-1]["success"]
        assert success is caught
    env.close()


def test_unknown_tasks_of_experts_are_refused() -> None:
    with pytest.raises(FovealError, match="choose one of pick, bowl"):
        skills("pour")
    with pytest.raises(FovealError, match="choose one of pick, bowl"):
        script("pour")


# ------------------------------------------------------------------------------------------------------- randomization


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("ranges", list(RANDOMIZATIONS))
def test_draws_lie_in_their_ranges_and_leave_room_for_the_gripper(task: str, ranges: str) -> None:
    random, wanted = np.random.default_rng(4), RANDOMIZATIONS[ranges]
    for _ in range(20):
        scene = draw(TASKS[task], wanted, random)
        assert (scene.edges >= wanted.edge[0]).all() and (scene.edges <= wanted.edge[1]).all()
        for axis, bounds in enumerate((wanted.start_x, wanted.start_y, wanted.start_z)):
            assert bounds[0] <= scene.start[axis] <= bounds[1]
        all_places = [*scene.places] if scene.bowl is None else [*scene.places, scene.bowl]
        for i, one in enumerate(all_places):
            assert all(np.hypot(*(one - other)) > 0.1 for other in all_places[:i])
        assert wanted.camera_fovy[0] <= scene.camera_fovy <= wanted.camera_fovy[1]


def test_the_scene_is_as_drawn() -> None:
    import mujoco

    simulation = Simulation(TASKS["breakfast"])
    scene = drawn("breakfast", ranges="training", seed=7)
    simulation.set_up(scene)
    truth = simulation.truth()
    np.testing.assert_allclose(truth.tool, scene.start, atol=1e-4)
    np.testing.assert_allclose(truth.centres[:, :2], scene.places)
    assert truth.bowl is not None and scene.bowl is not None
    np.testing.assert_allclose(truth.bowl[:2], scene.bowl)
    assert truth.opening == 1.0
    # The oracle for masses and inertias is MuJoCo's own compiler.
    model = simulation.physics.model
    for thing, edge in zip(TASKS["breakfast"].things, scene.edges, strict=True):
        x, _, z = np.array(thing.half) * edge
        size = {"box": f"{x} {x} {z}", "cylinder": f"{x} {z}", "sphere": f"{x}"}[thing.shape]
        geom = f'<geom type="{thing.shape}" size="{size}" density="400"/>'
        alone = mujoco.MjModel.from_xml_string(
            f"<mujoco><worldbody><body><freejoint/>{geom}</body></worldbody></mujoco>"
        )
        body = model.name2id(thing.name, "body")
        assert model.body_mass[body] == pytest.approx(alone.body_mass[1])
        np.testing.assert_allclose(sorted(model.body_inertia[body]), sorted(alone.body_inertia[1]))
        np.testing.assert_allclose(model.geom_size[model.name2id(thing.name, "geom")], alone.geom_size[0])
        assert model.geom_rbound[model.name2id(thing.name, "geom")] == pytest.approx(alone.geom_rbound[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edge": (0.05, 0.04)}, "edge is"),
        ({"edge": (0.04, 0.2)}, "must lie within"),
        ({"edge": 0.05}, "low at most high"),
        ({"start_z": (0.1, float("nan"))}, "start_z"),
        ({"start_x": (0.1, 0.4)}, "start_x"),
        ({"place_y": (-1.0, 0.0)}, "place_y"),
        ({"camera_fovy": (0.0, 45.0)}, "camera_fovy"),
    ],
)
def test_impossible_ranges_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        Randomization(**changes)


@pytest.mark.slow
def test_a_table_without_room_is_refused() -> None:
    env = blind("tower", randomization=Randomization(place_x=(0.5, 0.51), place_y=(0.0, 0.01)))
    with pytest.raises(FovealError, match="leave no room for the 2 things"):
        env.reset(seed=0)
    env.close()


# --------------------------------------------------------------------------------------------------------- environment


@pytest.mark.parametrize("task", ["pick", "breakfast"])
@pytest.mark.slow
def test_gymnasiums_checker_is_content(task: str) -> None:
    env = gymnasium.make(f"foveal/ur5e-{task}-depth-v0", size=24, rgb=True, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.close()


def test_every_task_is_known_by_name() -> None:
    assert set(TASKS) == {"pick", "bowl", "tower", "breakfast"}
    assert [TASKS[name].steps for name in ("pick", "bowl", "tower", "breakfast")] == [200, 600, 600, 1200]
    for task in TASKS:
        assert f"ur5e/{task}" in foveal.envs.known_ids()
        assert f"foveal/ur5e-{task}-v0" in gymnasium.registry
        assert f"foveal/ur5e-{task}-depth-v0" in gymnasium.registry


@pytest.mark.slow
def test_agents_see_stacked_rgb_and_the_vector() -> None:
    env = foveal.envs.make("ur5e/pick", image_size=32, quality="draft", action_repeat=4, seed=0)
    observation, info = env.reset()
    assert observation["image"].shape == (9, 32, 32) and observation["vector"].shape == (14,)
    assert info == {"success": False}
    assert env.spec_info.max_agent_steps == 50 and env.spec_info.action_repeat == 4
    assert env.metadata["render_fps"] == 2.5
    assert env.observation_space.contains(env.step(env.action_space.sample())[0])
    mask = env.agent_mask()
    assert 0.02 < mask.mean() < 0.6
    env.close()


def test_the_vector_is_joints_pose_and_opening() -> None:
    env = blind()
    vector = env.reset(seed=0)[0]["vector"]
    for _ in range(8):
        vector = env.step(np.array([0.5, -0.5, 0.2, 1.0]))[0]["vector"]
    pose = tool_pose(vector[:6].astype(np.float64), TOOL_REACH)
    np.testing.assert_allclose(vector[6:9], BASE @ pose[:3, 3], atol=1e-5)
    turn = Rotation.from_quat(vector[[10, 11, 12, 9]]).as_matrix()
    np.testing.assert_allclose(turn, BASE @ pose[:3, :3], atol=1e-5)
    assert vector[13] < 0.2
    for _ in range(12):
        vector = env.step(np.array([0.0, 0.0, 0.0, -1.0]))[0]["vector"]
    assert vector[13] > 0.98
    env.close()


@pytest.mark.slow
def test_depth_is_metres_along_the_cameras_axis() -> None:
    """The oracle intersects each pixel's ray with the table's plane; what stands on it is nearer."""
    env = make_arm("pick", size=64, randomization="training")
    depth = env.reset(seed=2)[0]["depth"]
    model, data = env.simulation.physics.model, env.simulation.physics.data
    assert depth.dtype == np.float32 and depth.max() <= FAR
    half = np.tan(np.radians(model.cam_fovy[0]) / 2)
    pixels = ((np.arange(64) + 0.5) / 32 - 1) * half
    rays = np.stack(
        [np.broadcast_to(pixels, (64, 64)), np.broadcast_to(-pixels[:, None], (64, 64)), -np.ones((64, 64))]
    )
    turned = np.tensordot(data.cam_xmat[0].reshape(3, 3), rays, 1)  # (3, H, W); along the axis each is 1 long
    height = data.cam_xpos[0, 2]
    with np.errstate(divide="ignore"):
        table = np.where(turned[2] < 0, -height / turned[2], np.inf)
    hit = data.cam_xpos[0][:, None, None] + table * np.where(np.isfinite(table), turned, 0.0)
    on_table = np.isfinite(table) & (np.abs(hit[0] - 0.35) < 0.5) & (np.abs(hit[1]) < 0.55)
    error = (depth - table)[on_table]
    assert (np.abs(error) < 0.005).mean() > 0.6
    assert (error < 0.005).all()
    cube = env.truth().centres[0]
    across = (cube - data.cam_xpos[0]) @ data.cam_xmat[0].reshape(3, 3)
    column, row = across[:2] / -across[2] / half * [32, -32] + 32
    assert depth[int(row), int(column)] == pytest.approx(-across[2], abs=0.05)
    assert depth[int(row), int(column)] < table[int(row), int(column)] - 0.01
    env.close()


@pytest.mark.slow
def test_the_mask_is_the_pixels_of_arm_and_things() -> None:
    env = make_arm("bowl", size=64, depth=False)
    env.reset(seed=0)
    mask, data = env.agent_mask(), env.simulation.physics.data
    half = np.tan(np.radians(env.simulation.physics.model.cam_fovy[0]) / 2)
    truth = env.truth()
    beside = truth.centres[0] + [0.0, 0.12 * np.sign(truth.centres[0, 1] - truth.bowl[1]), 0.0]
    for point, inside in ((data.body("gripper").xpos, True), (truth.centres[0], True), (beside, False)):
        across = (point - data.cam_xpos[0]) @ data.cam_xmat[0].reshape(3, 3)
        column, row = across[:2] / -across[2] / half * [32, -32] + 32
        assert mask[int(row), int(column)] == inside
    env.close()


@pytest.mark.slow
def test_cameras_and_light_change_with_the_episode_and_pictures_with_them() -> None:
    env = make_arm(
        "pick", size=32, depth=False, rgb=True, randomization=replace(RANDOMIZATIONS["none"], light=(0.4, 1.2))
    )
    first, second = env.reset(seed=0)[0]["rgb"], env.reset(seed=1)[0]["rgb"]
    assert abs(float(first.mean()) - float(second.mean())) > 2.0
    env.close()
    still = replace(RANDOMIZATIONS["none"], place_x=(0.5, 0.5), place_y=(0.0, 0.0))
    moved = replace(still, camera_shift=(-0.1, 0.1))
    pictures = []
    for ranges in (still, still, moved):
        env = make_arm("pick", size=32, randomization=ranges)
        env.reset(seed=3)
        pictures.append(env.reset()[0]["depth"])
        env.close()
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert np.abs(pictures[0] - pictures[2]).mean() > 0.005


@pytest.mark.slow
def test_quality_is_what_rgb_costs() -> None:
    pictures = {}
    for quality in ("exact", "fast", "draft"):
        env = make_arm("bowl", size=48, depth=False, rgb=True, quality=quality)
        pictures[quality] = env.reset(seed=0)[0]["rgb"].astype(np.float64)
        env.close()
    assert np.abs(pictures["exact"] - pictures["fast"]).mean() > 1.0  # shadows
    assert 0.1 < np.abs(pictures["fast"] - pictures["draft"]).mean() < 5.0  # edges


def test_success_is_rewarded_once_and_ends_the_episode() -> None:
    env = blind()
    env.reset(seed=0)
    total, terminated, info = 0.0, False, {}
    for number in script("pick"):
        for _ in range(SKILL_STEPS):
            if not terminated:
                *_, reward, terminated, truncated, info = env.step(skills("pick")[number].expert(env.truth()).action)
                total += float(reward)
                assert not truncated
    assert terminated and info["success"] is True and total == SUCCESS_REWARD
    env.close()


@pytest.mark.slow
def test_time_runs_out_after_the_tasks_steps() -> None:
    env = blind(action_repeat=7)
    env.reset(seed=0)
    for step in range(1, env.max_agent_steps + 1):
        *_, terminated, truncated, info = env.step(np.zeros(4))
        assert truncated == (step == env.max_agent_steps) and not terminated and not info["success"]
    assert env.max_agent_steps == 29  # of 200 control steps
    env.close()


def test_a_repeated_action_is_that_action_several_times() -> None:
    once, thrice = blind("bowl"), blind("bowl", action_repeat=3)
    once.reset(seed=4)
    thrice.reset(seed=4)
    action = np.array([0.5, 0.5, -0.5, 1.0])
    for _ in range(3):
        last = once.step(action)[0]["vector"]
    np.testing.assert_array_equal(thrice.step(action)[0]["vector"], last)
    once.close()
    thrice.close()


@pytest.mark.parametrize("task", ["bowl", "breakfast"])
@pytest.mark.slow
def test_a_saved_episode_goes_on_bit_for_bit(task: str) -> None:
    """Through JSON and tensors, into another environment, in the middle of a grasp; the next episode is the same."""
    env = foveal.envs.make(f"ur5e/{task}", image_size=16, quality="draft", seed=0)
    env.reset()
    base: Any = env.inner.unwrapped
    for number in script(task)[:2]:
        for _ in range(25):
            env.step(skills(task)[number].expert(base.truth()).action)
    assert base.truth().held.any()
    tensors, tree = split(env.get_state())
    state = join(tensors, json.loads(json.dumps(tree)))
    other = foveal.envs.make(f"ur5e/{task}", image_size=16, quality="draft", seed=9)
    other.reset()
    other.set_state(state)
    random = np.random.default_rng(0)
    for step in range(30):
        action = np.append(random.uniform(-1, 1, 3), 1.0 if step < 15 else -1.0).astype(np.float32)
        one, two = env.step(action)[0], other.step(action)[0]
        np.testing.assert_array_equal(one["image"], two["image"])
        np.testing.assert_array_equal(one["vector"], two["vector"])
    np.testing.assert_array_equal(env.reset()[0]["image"], other.reset()[0]["image"])
    with pytest.raises(FovealError, match="this environment is ur5e/pick"):
        blind().set_state(base.get_state())
    env.close()
    other.close()


def test_the_same_seed_gives_the_same_episode() -> None:
    one, two = blind("tower"), blind("tower")
    for env in (one, two):
        env.reset(seed=11)
        env.step(np.full(4, 0.3))
    np.testing.assert_array_equal(one.simulation.get_state(), two.simulation.get_state())
    two.reset(seed=12)
    assert not np.allclose(one.truth().centres, two.truth().centres)
    one.close()
    two.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "bowls"}, "did you mean 'bowl'"),
        ({"size": 0}, "size is 0"),
        ({"camera": 3}, r"cameras 0 \(front\), 1 \(side\), 2 \(wrist\)"),
        ({"quality": "nice"}, "quality is 'nice'"),
        ({"randomization": "trainin"}, "did you mean 'training'"),
        ({"action_repeat": 0}, "action_repeat is 0"),
        ({"render_mode": "human"}, "render_mode is 'human'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        make_arm(**{"task": "pick", **options})


def test_wrong_actions_and_calls_without_an_episode_are_refused() -> None:
    env = blind()
    for call in (lambda: env.step(np.zeros(4)), env.get_state, env.picture):
        with pytest.raises(FovealError, match="call reset"):
            call()
    env.reset(seed=0)
    with pytest.raises(FovealError, match="takes \\(4,\\)"):
        env.step(np.zeros(3))
    with pytest.raises(FovealError, match="not finite"):
        env.step(np.array([0.0, np.nan, 0.0, 0.0]))
    env.close()
