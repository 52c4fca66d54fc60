"""Masters and skills whose training was stopped: what is resumed is what would have been, to the last bit."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_skills import small_policy

pytest.importorskip("h5py", reason='needs the extra "skills"')

from foveal.checkpoint import CheckpointStore
from foveal.cli import main
from foveal.errors import FovealError
from foveal.skills.actor_critic import ActorCritic
from foveal.skills.arms import ArmSettings
from foveal.skills.cloning import CloningWork, Epoch, clone
from foveal.skills.config import MasterConfig, clone_config, master_config
from foveal.skills.flat import FlatPolicy
from foveal.skills.groups import Deciding
from foveal.skills.master import Master
from foveal.skills.noise import DepthNoise
from foveal.skills.unfinished import unfinished
from foveal.skills.vector import GroupVector
from foveal.skills.view import View

OPTIONS = {"decisions": 12, "skill_steps": 70}  # three updates; an episode of pick is three decisions


def config() -> MasterConfig:
    return master_config("debug", OPTIONS)


def same(one: ActorCritic, other: ActorCritic) -> bool:
    (tensors, state), (others, again) = one.state(), other.state()
    return (
        state == again and tensors.keys() == others.keys() and all(torch.equal(tensors[n], others[n]) for n in tensors)
    )


def forget(run: Path, steps: int) -> None:
    """As if the process had been killed after so many decisions."""
    store = CheckpointStore(run, kind=Master.run_kind)
    for step in store.steps():
        if step > steps:
            shutil.rmtree(store.path(step))
    assert store.steps()[-1] == steps


@pytest.mark.parametrize(("cloned", "workers"), [(False, 1), (False, 2), (True, 1)])
@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, cloned: bool, workers: int) -> None:
    def new() -> Master:
        return Master("pick", small_policy() if cloned else None, config(), seed=3)

    whole = new().learn(run=tmp_path / "run", workers=workers)
    assert CheckpointStore(tmp_path / "run", kind=Master.run_kind).steps() == [8, 12]
    if workers == 1:
        assert same(whole, new().learn())  # keeping a run changes nothing
    forget(tmp_path / "run", 8)
    before = torch.get_rng_state()
    resumed = Master.resume(tmp_path / "run")
    assert len(resumed.curve) == 2 and not same(resumed, whole)
    resumed.learn(run=tmp_path / "run", workers=workers)
    assert same(resumed, whole) and whole.curve[-1]["episodes"] == 4
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.slow
def test_learning_from_scratch_goes_on_too(tmp_path: Path) -> None:
    def new() -> FlatPolicy:
        return FlatPolicy("pick", View(36, 36), master_config("debug", {"decisions": 12}), seed=3)

    whole = new().learn(run=tmp_path / "run")
    store = CheckpointStore(tmp_path / "run", kind=FlatPolicy.run_kind)
    assert store.steps() == [8, 12]
    shutil.rmtree(store.path(12))
    with pytest.raises(FovealError, match="not trained to its end"):
        new().learn(run=tmp_path / "run")
    resumed = FlatPolicy.resume(tmp_path / "run")
    assert not same(resumed, whole)
    assert same(resumed.learn(run=tmp_path / "run"), whole)
    assert same(FlatPolicy.load(whole.save(tmp_path / "policy")), whole)
    with pytest.raises(FovealError, match=r"foveal\.flat"):
        Master.load(tmp_path / "policy")


def moved(values: np.ndarray, offset: int) -> torch.Tensor:
    """A copy that begins so many bytes after a multiple of 64."""
    memory = torch.empty(4 * values.size + 64, dtype=torch.uint8)
    return memory[offset : offset + 4 * values.size].view(torch.float32).view(values.shape).copy_(torch.tensor(values))


@pytest.mark.parametrize("what", ["state", "features", "depth"])
def test_decisions_do_not_depend_on_where_observations_begin(what: str) -> None:
    """MKL's sums do, and a checkpoint's observations begin elsewhere than those of a simulator."""
    flat = master_config("debug", {"decisions": 12})
    scratch = FlatPolicy("pick", View(36, 36), flat) if what == "depth" else None
    trained: ActorCritic = scratch or Master("pick", small_policy() if what == "features" else None, config())
    network: Any = trained.network
    beginnings: list[int] = []

    def watch(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        beginnings.append(inputs[0].data_ptr() % 64)

    for module in [network.encoder[1]] if what == "depth" else [network.actor.body, network.critic]:
        module.register_forward_pre_hook(watch)
    observations, actions = trained._settings().spaces
    seen = np.random.default_rng(0).uniform(-1, 1, (2, *observations.shape)).astype(np.float32)
    taken = torch.as_tensor(np.stack([actions.sample() for _ in range(2)]))
    found = set()
    with torch.inference_mode():
        for offset in range(0, 64, 4):
            features = network.features(moved(seen, offset))
            values, (log_prob, _) = network.value(features), network.actor.evaluate(features, taken)
            found.add((values.numpy().tobytes(), log_prob.numpy().tobytes()))
    assert len(found) == 1 and beginnings and not any(beginnings)


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_one_update(tmp_path: Path) -> None:
    whole = Master("pick", None, config()).learn(run=tmp_path / "run")
    tensors = tmp_path / "run" / "checkpoints" / "000000012" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    resumed = Master.resume(tmp_path / "run")
    assert len(resumed.curve) == 2
    assert same(resumed.learn(run=tmp_path / "run"), whole)


def test_arms_and_what_their_cameras_add_are_saved() -> None:
    settings = Deciding(ArmSettings("pick", View(16, 20), noise=DepthNoise()), 7, seed=1)
    group, other = settings.make(0, 2), settings.make(0, 2)
    group.reset(), other.reset()
    group.step(np.array([2, 0]))
    other.set_state(group.get_state())
    for actions in ([0, 1], [1, 1]):
        one, two = group.step(np.array(actions)), other.step(np.array(actions))
        for a, b in zip(one[:3], two[:3], strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(group.arms.frames(), other.arms.frames())
    group.close(), other.close()


@pytest.mark.slow
def test_ctrl_c_stops_after_an_update_and_the_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--preset", "debug", "--workers", "1", "--decisions", "12", "--skill-steps", "70"]
    whole, out = tmp_path / "whole", tmp_path / "stopped"
    assert main(["master", "train", "ur5e/pick", "--out", str(whole), *common]) == 0
    assert not unfinished(whole).exists()
    plain = CheckpointStore.save

    def interrupted(self: Any, *arguments: Any, **options: Any) -> Path:
        os.kill(os.getpid(), signal.SIGINT)
        return plain(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", interrupted)
        assert main(["master", "train", "ur5e/pick", "--out", str(out), *common]) == 130
    assert f"to go on: foveal master train --resume {out}" in capsys.readouterr().out
    assert len(Master.resume(unfinished(out)).curve) == 1 and not out.exists()
    assert main(["master", "train", "ur5e/pick", "--out", str(out), *common]) == 2
    assert "did not end: go on with" in capsys.readouterr().err
    assert main(["master", "train", "--resume", str(out), "--workers", "1"]) == 0
    bar = capsys.readouterr().err
    assert "/12 [" in bar and " 0/12 [" not in bar  # it starts where training stands, so that its time left is right
    assert same(Master.load(out), Master.load(whole)) and not unfinished(out).exists()


@pytest.mark.slow
def test_processes_of_arms_leave_ctrl_c_to_their_parent() -> None:
    arms = GroupVector(Deciding(ArmSettings("pick", View(size=0)), 5, seed=0), 2, workers=2)
    arms.reset()
    for group in arms._groups:
        os.kill(group._process.pid, signal.SIGINT)
    assert arms.step(np.array([0, 1]))[1].shape == (2,)
    arms.close()


def test_a_run_of_stable_baselines_is_not_gone_on_with(tmp_path: Path) -> None:
    master = Master("pick", None, config())
    tensors, state = master.state()
    CheckpointStore(tmp_path / "run", kind=Master.run_kind).save(4, tensors, {**state, "run": {"random": {}}})
    with pytest.raises(FovealError, match="an earlier version of foveal began"):
        Master.resume(tmp_path / "run")


def test_what_can_not_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FovealError, match="no master that could be resumed"):
        Master.resume(tmp_path / "nowhere")
    assert main(["master", "train", "--resume", str(tmp_path / "nowhere")]) == 2
    assert main(["master", "train"]) == 2
    said = capsys.readouterr().err
    assert "nowhere.unfinished to go on with" in said and "name the task" in said
    Master("pick", None, config()).learn(run=tmp_path / "run")
    with pytest.raises(FovealError, match="resume it, or delete"):
        Master("pick", None, config()).learn(run=tmp_path / "run")


# --- cloning --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demos") / "demos"
    options = ["--preset", "debug", "--size", "32", "--render", "40", "--workers", "1"]
    assert main(["demos", "collect", "ur5e/pick", "--out", str(folder), *options]) == 0
    return folder


class Stopped(Exception):
    pass


@pytest.mark.slow
def test_cloning_goes_on_after_a_kill_and_after_ctrl_c(demos: Path, tmp_path: Path) -> None:
    changes = {"epochs": 3, "rollouts": 0, "decay": True, "augmentation": (("scale", 0.5, 0.5),)}
    config, run = clone_config("debug", {**changes, "precision": "float32"}), tmp_path / "run"

    def after(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise Stopped

    whole = clone(demos, config, seed=1)
    with pytest.raises(Stopped):
        clone(demos, config, seed=1, run=run, told=after)
    steps = CheckpointStore(run, kind=CloningWork.kind).steps()
    assert len(steps) == 2 and steps[1] == 2 * steps[0]  # after every epoch
    seen: list[Epoch] = []
    resumed = clone(demos, config, seed=1, run=run, told=seen.append)
    assert [epoch.number for epoch in seen] == [3] and resumed.epochs == whole.epochs and resumed.best == whole.best
    for name, value in whole.policy.network.state_dict().items():
        assert torch.equal(value, resumed.policy.network.state_dict()[name]), name
    for options, message in (({"seed": 2}, "with other .*seed"), ({"flat": True, "seed": 1}, "with other flat")):
        with pytest.raises(FovealError, match=message):
            clone(demos, config, run=run, **options)


@pytest.mark.slow
def test_ctrl_c_stops_cloning_after_a_batch(demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = clone_config("debug", {"epochs": 2, "rollouts": 0, "precision": "float32"})
    whole, learn = clone(demos, config), CloningWork.learn

    def interrupted(work: CloningWork, after_update: Any) -> None:
        learn(work, after_update)
        if work.steps == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(CloningWork, "learn", interrupted)
        with pytest.raises(KeyboardInterrupt):
            clone(demos, config, run=tmp_path / "run")
    assert CheckpointStore(tmp_path / "run", kind=CloningWork.kind).steps()[-1] == 2
    resumed = clone(demos, config, run=tmp_path / "run")
    assert resumed.epochs == whole.epochs
    for name, value in whole.policy.network.state_dict().items():
        assert torch.equal(value, resumed.policy.network.state_dict()[name]), name


def test_the_command_goes_on_with_cloning(
    demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "skills"
    command = ["skills", "train", str(demos), "--out", str(out), "--preset", "debug", "--workers", "1"]
    command += ["--epochs", "2", "--rollouts", "0"]
    assert main([*command, "--resume"]) == 2
    plain = CheckpointStore.save

    def stopping(self: Any, *arguments: Any, **options: Any) -> Path:
        plain(self, *arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", stopping)
        assert main(command) == 130
    assert main(command) == 2
    said = capsys.readouterr()
    assert "the same command with --resume" in said.out
    assert "leave --resume out" in said.err and "add --resume to go on" in said.err
    assert main([*command, "--resume"]) == 0
    assert "best epoch 2" in capsys.readouterr().out and not unfinished(out).exists()
