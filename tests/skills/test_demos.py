"""Demonstrations: collected in the simulator, written in Minari's layout, read back, and as samples to learn from."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from small_skills import episode

pytest.importorskip("h5py", reason='needs the extra "skills"')
import h5py

from foveal.envs.ur5e import make_arm
from foveal.envs.ur5e.experts import script, skills
from foveal.errors import FovealError
from foveal.skills.config import CloneConfig
from foveal.skills.dataset import BalancedSampler, sampled
from foveal.skills.demos import DemoOptions, collect, collected, demo_options, demonstrate
from foveal.skills.minari import DemoWriter, in_millimetres, open_demos
from foveal.skills.view import View

OPTIONS = DemoOptions(episodes=2, follow=1.0, linger=0, noise=0.2, size=24, render=32, cameras=1, seed=3)


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return collect("ur5e/pick", tmp_path_factory.mktemp("demos") / "pick", OPTIONS)


# --- collecting -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_actions_replayed_give_the_same_frames(demos):
    for shown in demos:
        env = make_arm("pick", size=32)
        observation, _ = env.reset(seed=shown.seed)
        view = View(24, 32)
        for step, action in enumerate(shown.actions):
            np.testing.assert_array_equal(in_millimetres(view.cut(observation["depth"])), shown.depth[step])
            np.testing.assert_array_equal(observation["vector"], shown.vector[step])
            np.testing.assert_allclose(env.truth().centres, shown.things[step], atol=1e-6)
            advice = skills("pick")[shown.skill[step]].expert(env.truth()).action
            np.testing.assert_array_equal(advice, shown.advice[step])
            solved = shown.rewards[:step].any()
            observation, reward, *_ = env.step(action)
            assert shown.rewards[step] == (0.0 if solved else reward)  # success counts once
        assert (shown.terminated, shown.truncated) == (shown.rewards.any(), not shown.rewards.any())
        env.close()


@pytest.mark.slow
@pytest.mark.parametrize("cameras", [1, 2])
def test_what_was_left_unfinished_goes_on_to_the_same(tmp_path, cameras):
    """Whatever a kill has left of the next demonstration, in the file or in its metadata."""
    options = replace(OPTIONS, episodes=3, cameras=cameras)
    whole = collect("pick", tmp_path / "whole", options)
    told = []

    def kill(count):
        told.append(count)
        if count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect("pick", tmp_path / "cut", options, finished=kill)
    assert told == [1, 2] and not collected(tmp_path / "cut", options)
    with h5py.File(tmp_path / "cut" / "data" / "main_data.hdf5", "a") as file:
        file.create_group(f"episode_{2 * cameras}")["actions"] = np.zeros((1, 4))
    if cameras == 2:  # killed between the cameras of a demonstration
        path = tmp_path / "cut" / "data" / "metadata.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "total_episodes": 3}))
    with pytest.raises(FovealError, match="begun with other settings"):
        collect("pick", tmp_path / "cut", replace(options, noise=0.3), resume=True)
    made = collect("pick", tmp_path / "cut", options, resume=True, finished=told.append)
    assert told == [1, 2, *([3] if cameras == 1 else [2, 3])] and collected(tmp_path / "cut", options)
    assert (made.episodes, made.steps) == (whole.episodes, whole.steps)
    assert not collected(tmp_path / "cut", replace(options, seed=options.seed + 1))  # as many, but others
    for one, other in zip(made, whole, strict=True):
        np.testing.assert_equal(vars(one), vars(other))
    with pytest.raises(FovealError, match="holds no demonstrations"):
        collect("pick", tmp_path / "nowhere", options, resume=True)


@pytest.mark.slow
def test_a_script_that_is_followed_solves_the_task_despite_noise(demos):
    shown = list(demos)
    assert all(one.terminated and one.rewards.sum() == 10.0 for one in shown)
    for one in shown:  # the script again and again, begun wherever chance began
        order = one.skill[np.flatnonzero(np.append(True, one.skill[1:] != one.skill[:-1]))]
        places = [script("pick").index(number) for number in order]
        assert all((after - before) % 3 == 1 for before, after in itertools.pairwise(places))
        assert not np.array_equal(one.actions, one.advice)


@pytest.mark.slow
def test_failures_are_kept_and_skills_come_in_any_order():
    env = make_arm("bowl", size=8)
    (shown,) = demonstrate(env, DemoOptions(size=8, render=8, cameras=1), seed=1)
    env.close()
    assert len(set(shown.skill.tolist())) == 4
    changes = np.flatnonzero(np.diff(shown.skill)) + 1
    assert np.all(changes % 60 == 0)  # whole skills
    assert shown.truncated == (not shown.terminated) and len(shown) <= 600
    if shown.terminated:  # to the end of the skill that solved it
        assert len(shown) % 60 == 0


@pytest.mark.slow
def test_a_demonstration_goes_on_until_what_it_did_has_been_seen() -> None:
    env = make_arm("bowl", size=8)
    (shown,) = demonstrate(env, DemoOptions(size=8, render=8, order="script", linger=6, cameras=1), seed=2)
    env.close()
    solved = int(np.flatnonzero(shown.rewards)[0])
    releasing = shown.skill == 2
    assert len(shown) - solved > 6 and releasing[solved:].all() and shown.terminated
    closes = sampled([shown], CloneConfig(horizons=(1,))).closes[releasing, 0]
    opened = int(np.flatnonzero(shown.advice[releasing, 3] < 0)[0])
    assert np.flatnonzero(~closes)[0] == opened - 5  # opening comes 5 steps early, as closing does
    assert (~closes).sum() >= 15 and not closes[opened - 5 :].any()
    grasping = shown.skill == 0
    closes = sampled([shown], CloneConfig(horizons=(1,))).closes[grasping, 0]
    assert np.flatnonzero(closes)[0] == np.flatnonzero(shown.advice[grasping, 3] > 0)[0] - 5


@pytest.mark.slow
def test_several_cameras_see_one_demonstration() -> None:
    env = make_arm("pick", size=32)
    options = DemoOptions(size=24, render=32, order="script", linger=0, cameras=3)
    seen = demonstrate(env, options, seed=4)
    (alone,) = demonstrate(env, replace(options, cameras=1), seed=4)
    env.close()
    assert len(seen) == 3
    for one in seen:
        for name in ("actions", "advice", "skill", "vector", "things", "rewards"):
            np.testing.assert_array_equal(getattr(one, name), getattr(alone, name))
    np.testing.assert_array_equal(seen[0].depth, alone.depth)  # looking from elsewhere changes nothing
    assert all(not np.array_equal(one.depth, other.depth) for one, other in itertools.combinations(seen, 2))


@pytest.mark.slow
def test_two_processes_collect_what_one_does(demos, tmp_path):
    again = collect("pick", tmp_path / "again", OPTIONS, workers=2)
    for one, other in zip(demos, again, strict=True):
        np.testing.assert_array_equal(one.depth, other.depth)
        np.testing.assert_array_equal(one.actions, other.actions)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"order": "scrip"}, "demos.order is 'scrip': did you mean 'script'"),
        ({"follow": 1.5}, r"demos.follow must be in \[0, 1\], not 1.5"),
        ({"size": 90, "render": 84}, "can't be cut"),
        ({"linger": -1}, "linger"),
    ],
)
def test_bad_options_are_refused(changes, message):
    with pytest.raises(FovealError, match=message):
        demo_options("debug", changes)


def test_unknown_tasks_and_full_folders_are_refused(tmp_path):
    with pytest.raises(FovealError, match="did you mean 'ur5e/bowl'"):
        collect("ur5e/bwol", tmp_path / "new", OPTIONS)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FovealError, match="choose a new folder"):
        collect("bowl", tmp_path, OPTIONS)
    assert (tmp_path / "file").read_text() == "mine"


# --- Minari's layout ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_layout_is_minaris(demos):
    metadata = json.loads((demos.folder / "data" / "metadata.json").read_text())
    assert metadata["data_format"] == "hdf5" and metadata["total_episodes"] == 2
    assert metadata["foveal"]["task"] == "pick" and len(metadata["foveal"]["skills"]) == 3
    described = json.loads(metadata["observation_space"])["subspaces"]["depth"]
    space = spaces.Box(np.array(described["low"]), np.array(described["high"]), tuple(described["shape"]), np.uint16)
    with h5py.File(demos.folder / "data" / "main_data.hdf5") as file:
        assert sum(group.attrs["total_steps"] for group in file.values()) == metadata["total_steps"] == demos.steps
        group = file["episode_1"]
        steps = group.attrs["total_steps"]
        assert group.attrs["id"] == 1 and group.attrs["seed"] == 300_001
        assert group["observations/depth"].shape == (steps + 1, 24, 24) and group["actions"].shape == (steps, 4)
        assert group["observations/depth"][3] in space
        assert group["terminations"][-1] and not group["terminations"][:-1].any() and not group["truncations"][:].any()


def foreign(folder: Path, change=None) -> Path:
    """A data set by somebody else: depth in metres, infos one longer than actions, no advice."""
    (folder / "data").mkdir(parents=True)
    counts = {"total_episodes": 1, "total_steps": 5, "data_format": "hdf5"}
    (folder / "data" / "metadata.json").write_text(json.dumps(counts))
    with h5py.File(folder / "data" / "main_data.hdf5", "w") as file:
        group = file.create_group("episode_0")
        group["observations/depth"] = np.full((6, 8, 8), 1.2345, np.float32)
        group["observations/vector"] = np.zeros((6, 14))
        group["actions"] = np.linspace(-1, 1, 20).reshape(5, 4)
        group["rewards"], group["terminations"], group["truncations"] = np.zeros(5), np.zeros(5, bool), np.ones(5, bool)
        group["infos/skill"] = np.arange(6)
        if change is not None:
            change(group)
    return folder


def test_data_of_others_is_read(tmp_path):
    (shown,) = open_demos(foreign(tmp_path / "theirs"))
    assert shown.depth.dtype == np.uint16 and np.all(shown.depth == 1234)
    np.testing.assert_allclose(shown.advice, shown.actions)
    assert shown.skill.tolist() == [0, 1, 2, 3, 4] and shown.things is None and shown.seed is None and shown.truncated


def _drop_skill(group):
    del group["infos/skill"]


def _shorten(group):
    del group["observations/vector"]
    group["observations/vector"] = np.zeros((3, 14))


def _colour(group):
    del group["observations/depth"]
    group["observations/depth"] = np.zeros((6, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [(_drop_skill, "lacks infos/skill"), (_shorten, "different lengths"), (_colour, "uint16 in millimetres")],
)
def test_data_that_does_not_fit_is_refused(tmp_path, change, message):
    with pytest.raises(FovealError, match=message):
        list(open_demos(foreign(tmp_path / "theirs", change)))


def test_folders_without_demonstrations_are_refused(tmp_path):
    with pytest.raises(FovealError, match="holds no demonstrations"):
        open_demos(tmp_path)
    broken = foreign(tmp_path / "broken")
    (broken / "data" / "main_data.hdf5").write_bytes(b"no HDF5")
    with pytest.raises(FovealError, match="can't read the demonstrations"):
        list(open_demos(broken))


def test_what_is_written_is_read(tmp_path):
    writer = DemoWriter(tmp_path / "new", {"task": "bowl"})
    made = episode(things=np.ones((7, 1, 3), np.float32))
    writer.add(made)
    (shown,) = open_demos(tmp_path / "new")
    for name in ("depth", "vector", "actions", "rewards", "skill", "advice", "things"):
        np.testing.assert_array_equal(getattr(shown, name), getattr(made, name))
    assert (shown.terminated, shown.truncated, shown.seed) == (False, True, 5)


# --- samples --------------------------------------------------------------------------------------------------------


def test_labels_look_ahead_to_the_end_of_their_skill_and_no_further():
    found = sampled([episode()], CloneConfig(horizons=(1, 3), early=1))
    # Step i's velocity is i: the present one, and two later, or the last of its skill (2 or 5).
    assert found.velocity[:, :, 0].tolist() == [[0, 2], [1, 2], [2, 2], [3, 5], [4, 5], [5, 5]]
    # The gripper closes from step 2 on, and labels come one step early.
    assert found.closes.tolist() == [[False, True], [True, True], *[[True, True]] * 4]
    flat = sampled([episode()], CloneConfig(horizons=(1, 3)), flat=True)
    assert flat.velocity[:, 1, 0].tolist() == [2, 3, 4, 5, 5, 5] and flat.skill.tolist() == [0] * 6


def test_stacks_begin_with_the_episode():
    found = sampled([episode(), episode()], CloneConfig())
    assert found.frames(np.array([0, 1, 7]), 3)[:, :, 0, 0].tolist() == [[1, 1, 1], [1, 1, 2], [1, 1, 2]]
    assert found.frames(np.array([5, 11]), 3)[:, :, 0, 0].tolist() == [[4, 5, 6]] * 2


def test_sampling_is_balanced():
    skill = np.repeat([0, 1, 2], [1000, 10, 100])
    drawn = BalancedSampler(skill, np.random.default_rng(0)).draw(6000)
    assert np.bincount(skill[drawn]) == pytest.approx([2000, 2000, 2000], abs=150)
    assert len(set(drawn[skill[drawn] == 1].tolist())) == 10


def test_nothing_and_mixed_sizes_are_refused():
    with pytest.raises(FovealError, match="no episode"):
        sampled([], CloneConfig())
    with pytest.raises(FovealError, match="differ in size"):
        sampled([episode(), episode(depth=np.zeros((7, 5, 5), np.uint16))], CloneConfig())


def test_a_view_is_cut_from_its_picture():
    picture = np.arange(100).reshape(10, 10)
    assert View(4, 10).cut(picture).tolist() == picture[0:4, 3:7].tolist()
    assert View(84, 108).cut(np.zeros((2, 108, 108))).shape == (2, 84, 84)
    assert View(10, 10).cut(picture).tolist() == picture.tolist()
