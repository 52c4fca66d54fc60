"""Folders of policies that were trained in the simulator, for a real arm."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from foveal.cli import main
from foveal.errors import FovealError
from foveal.robot.sources import load_policy
from foveal.robot.trained import TrainedPolicy
from foveal.skills.config import clone_config, master_config
from foveal.skills.master import Master
from foveal.skills.minari import in_millimetres
from foveal.skills.noise import repaired
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.rollouts import scripted
from foveal.skills.view import View
from small_skills import small_policy
from ur_stand_in import StandIn

RANDOM = np.random.default_rng(0)


def scene(size: int = 32) -> np.ndarray:
    """(size, size) metres, with pixels that were not measured."""
    depth = RANDOM.uniform(0.8, 1.4, (size, size)).astype(np.float32)
    depth[5:7, 9:12] = 0.0
    return depth


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With ``skills``, a ``master`` over them, one over experts (``blind``), and skills of no known task."""
    folder, skills = tmp_path_factory.mktemp("trained"), small_policy()
    skills.save(folder / "skills")
    config = master_config("debug", {"skill_steps": 4})
    Master("pick", skills, config).save(folder / "master")
    Master("pick", None, config).save(folder / "blind")
    SkillPolicy(SkillSet("", ("a",), View(32, 32)), clone_config("debug")).save(folder / "nameless")
    return folder


@pytest.mark.slow
def test_skills_follow_the_script_on_repaired_depth(folders: Path) -> None:
    policy, skills, frames = load_policy(str(folders / "skills")), small_policy(), []
    assert isinstance(policy, TrainedPolicy) and policy.skill == -1
    order = scripted("pick", 3).order
    for step in range(130):
        depth = scene()
        frames.append(repaired(in_millimetres(depth)))
        assert (frames[-1] > 0).all()
        history = [frames[max(0, index)] for index in range(step + 1 - skills.stack, step + 1)]
        skill = order[step // 60]
        assert np.array_equal(policy({"depth": depth}), skills.act(np.stack(history)[None], [skill])[0])
        assert policy.skill == skill


@pytest.mark.slow
def test_a_master_chooses_once_for_each_skill(folders: Path) -> None:
    policies = [TrainedPolicy(folders / "master") for _ in range(2)]
    chosen: list[list[int]] = [[], []]
    for _ in range(48):
        depth = scene()
        for policy, skills in zip(policies, chosen, strict=True):
            action = policy({"depth": depth})
            assert action.shape == (4,) and np.abs(action).max() <= 1.0
            skills.append(policy.skill)
    same, again = (np.array(skills).reshape(12, 4) for skills in chosen)
    assert (same == same[:, :1]).all() and np.array_equal(same, again)  # the likeliest, which nothing is drawn for


def test_the_camera_may_read_what_frames_are_cut_from(tmp_path: Path) -> None:
    skills = SkillPolicy(SkillSet("pick", ("a", "b", "c"), View(24, 32)), clone_config("debug"))
    skills.save(tmp_path / "skills")
    depth = np.tile(np.linspace(0.8, 1.4, 32, dtype=np.float32), (32, 1))
    whole, cut = TrainedPolicy(tmp_path / "skills"), TrainedPolicy(tmp_path / "skills")
    assert np.array_equal(whole({"depth": depth}), cut({"depth": View(24, 32).cut(depth)}))
    with pytest.raises(FovealError, match=r"24 x 24 pixels, or cuts that from 32 x 32, and the camera reads 30 x 40"):
        whole({"depth": np.ones((30, 40), np.float32)})
    with pytest.raises(FovealError, match="name a --camera"):
        whole({"vector": np.zeros(14)})


@pytest.mark.parametrize(
    ("name", "message"),
    [("nameless", "do not say of which task"), ("blind", "scripted experts"), (".", "no policy of the arm")],
)
def test_what_can_move_no_arm(folders: Path, name: str, message: str) -> None:
    with pytest.raises(FovealError, match=message):
        TrainedPolicy(folders / name)
    with pytest.raises(FovealError, match="MODULE:NAME, or the folder of a trained one"):
        load_policy(str(folders / "nowhere"))


@pytest.mark.slow
def test_foveal_arm_run_takes_a_folder(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_lens.py").write_text(
        "import numpy as np\n\n\nclass Lens:\n    reads = 0\n\n    def read(self):\n        Lens.reads += 1\n"
        "        depth = np.full((32, 32), 1.2 + 0.001 * Lens.reads, np.float32)\n        return {'depth': depth}\n\n"
        "    def close(self):\n        pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    pid = os.getpid()  # the ports are fixed, so side by side every process has an address of its own
    arm = StandIn(f"127.79.{pid >> 8 & 255}.{pid & 255}" if sys.platform == "linux" else "127.0.0.1")
    try:
        words = ["--host", arm.host, "--camera", "my_lens:Lens", "--steps", "3", "--dry-run"]
        assert main(["arm", "run", str(folders / "master"), *words]) == 0
    finally:
        arm.close()
    assert "would have given 3 commands" in capsys.readouterr().out


def test_pictures_are_as_large_as_frames_are_cut_from(tmp_path: Path) -> None:
    SkillPolicy(SkillSet("pick", ("a", "b", "c"), View(24, 32)), clone_config("debug")).save(tmp_path / "skills")
    assert TrainedPolicy(tmp_path / "skills").picture_size == 32
