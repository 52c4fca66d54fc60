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

import foveal
from small_skills import small_policy

pytest.importorskip("h5py", reason='needs the extra "skills"')

from foveal.checkpoint import CheckpointStore
from foveal.cli import main
from foveal.errors import FovealError
from foveal.skills import cloning
from foveal.skills.actor_critic import ActorCritic
from foveal.skills.arms import ArmSettings
from foveal.skills.cloning import CloningWork, clone
from foveal.skills.config import MasterConfig, clone_config, master_config
from foveal.skills.flat import FlatPolicy
from foveal.skills.groups import Deciding
from foveal.skills.master import Master
from foveal.skills.noise import DepthNoise
from foveal.skills.policy import SkillPolicy
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
    """As if the process had been killed after so many steps."""
    store = CheckpointStore(run)
    for step in store.steps():
        if step > steps:
            shutil.rmtree(store.path(step))
    assert store.steps()[-1] == steps


def gone_on_with(run: Path) -> Any:
    """What becomes of a run that is resumed."""
    trainer = foveal.resume(run, progress=False)
    trainer.train()
    return trainer.agent


@pytest.mark.parametrize(("cloned", "workers"), [(False, 1), (False, 2), (True, 1)])
@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, cloned: bool, workers: int) -> None:
    def new() -> Master:
        return Master("pick", small_policy() if cloned else None, config(), seed=3)

    run = tmp_path / "run"
    whole = new().learn(run, workers=workers)
    assert CheckpointStore(run, kind=Master.kind).steps() == [8, 12]
    if workers == 1 and not cloned:
        assert same(whole, new().learn())  # keeping a run changes nothing
    forget(run, 8)
    stopped = foveal.load(run)
    assert isinstance(stopped, Master) and len(stopped.curve) == 2 and not same(stopped, whole)
    before = torch.get_rng_state()
    resumed = gone_on_with(run)
    assert same(resumed, whole) and whole.curve[-1]["episodes"] == 4
    assert same(Master.load(run), whole)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.slow
def test_learning_from_scratch_goes_on_too(tmp_path: Path) -> None:
    def new() -> FlatPolicy:
        return FlatPolicy("pick", View(36, 36), master_config("debug", {"decisions": 12}), seed=3)

    run = tmp_path / "run"
    whole = new().learn(run)
    assert CheckpointStore(run, kind=FlatPolicy.kind).steps() == [8, 12]
    with pytest.raises(FovealError, match="run exists already: choose another folder, or continue it"):
        new().learn(run)
    with pytest.raises(FovealError, match="is trained already"):
        whole.learn()
    forget(run, 8)
    assert not same(FlatPolicy.load(run), whole)
    assert same(gone_on_with(run), whole)
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
    observations, actions = trained.arms().spaces
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
    whole = Master("pick", None, config()).learn(tmp_path / "run")
    tensors = tmp_path / "run" / "checkpoints" / "000000012" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    assert len(Master.load(tmp_path / "run").curve) == 2
    assert same(gone_on_with(tmp_path / "run"), whole)


@pytest.mark.slow
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
    plain = CheckpointStore.save

    def interrupted(self: Any, *arguments: Any, **options: Any) -> Path:
        os.kill(os.getpid(), signal.SIGINT)
        return plain(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", interrupted)
        assert main(["master", "train", "ur5e/pick", "--out", str(out), *common]) == 130
    assert f"to go on: foveal master train --resume {out}" in capsys.readouterr().out
    assert len(Master.load(out).curve) == 1
    assert main(["master", "train", "ur5e/pick", "--out", str(out), *common]) == 2
    assert f"or continue it: foveal train --resume {out}" in capsys.readouterr().err
    assert main(["master", "train", "--resume", str(out)]) == 0
    bar = capsys.readouterr().err
    assert "/12 [" in bar and " 0/12 [" not in bar  # it starts where training stands, so that its time left is right
    assert same(Master.load(out), Master.load(whole))


@pytest.mark.slow
def test_what_can_not_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("master", "skills"):
        assert main([command, "train", "--resume", str(tmp_path / "nowhere")]) == 2
        assert "nowhere is no run folder" in capsys.readouterr().err
        assert main([command, "train"]) == 2
        assert "or a run: --resume" in capsys.readouterr().err
        with pytest.raises(SystemExit):  # what a run does is settled
            main([command, "train", "--resume", "run", "--seed", "3"])
        assert "unrecognized arguments: --seed 3" in capsys.readouterr().err
    Master("pick", None, config()).save(tmp_path / "saved")
    with pytest.raises(FovealError, match="saved is no run folder"):
        foveal.resume(tmp_path / "saved")


# --- cloning --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demos") / "demos"
    options = ["--preset", "debug", "--size", "32", "--render", "40", "--workers", "1"]
    assert main(["demos", "collect", "ur5e/pick", "--out", str(folder), *options]) == 0
    return folder


def equal(one: SkillPolicy, other: SkillPolicy) -> bool:
    (tensors, state), (others, again) = one.state(), other.state()
    return state == again and all(torch.equal(tensors[name], others[name]) for name in tensors)


@pytest.mark.slow
def test_cloning_goes_on_after_a_kill(demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"epochs": 3, "rollouts": 1, "decay": True, "augmentation": (("scale", 0.5, 0.5),)}
    config, run = clone_config("debug", {**changes, "precision": "float32"}), tmp_path / "run"
    monkeypatch.setattr(cloning, "_tried", lambda policy, *_: float(len(policy.about.get("epochs", [])) == 1))
    whole = clone(demos, config, seed=1, run=run)
    steps = CheckpointStore(run, kind=SkillPolicy.kind).steps()
    assert len(steps) == 2 and 2 * steps[1] == 3 * steps[0]  # after every epoch
    assert whole.about["best"] == 2 and equal(SkillPolicy.load(run), whole)
    forget(run, steps[0])
    stopped = SkillPolicy.load(run)
    assert len(stopped.about["epochs"]) == 2 and not equal(stopped, whole)
    resumed = gone_on_with(run)
    assert equal(resumed, whole) and equal(SkillPolicy.load(run), whole)
    with pytest.raises(FovealError, match="run exists already"):
        clone(demos, config, run=run)


@pytest.mark.slow
def test_the_weights_that_go_on_are_the_latest_and_not_the_best(
    demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = clone_config("debug", {"epochs": 3, "rollouts": 1, "precision": "float32"})
    monkeypatch.setattr(cloning, "_tried", lambda policy, *_: [0.6, 0.4, 0.8][len(policy.about.get("epochs", []))])
    whole, run = clone(demos, config), tmp_path / "run"
    clone(demos, config, run=run)
    forget(run, CheckpointStore(run).steps()[0])
    assert SkillPolicy.load(run).about["best"] == 1 and whole.about["best"] == 3
    assert equal(gone_on_with(run), whole)


@pytest.mark.slow
def test_ctrl_c_stops_cloning_after_a_batch(demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, run = clone_config("debug", {"epochs": 2, "rollouts": 0, "precision": "float32"}), tmp_path / "run"
    whole, learn = clone(demos, config), CloningWork.learn

    def interrupted(work: CloningWork, after_update: Any) -> None:
        learn(work, after_update)
        if work.steps == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(CloningWork, "learn", interrupted)
        with pytest.raises(KeyboardInterrupt):
            clone(demos, config, run=run)
    assert CheckpointStore(run, kind=SkillPolicy.kind).steps()[-1] == 2
    assert equal(gone_on_with(run), whole)


@pytest.mark.slow
def test_cloning_goes_on_from_the_same_demonstrations_alone(demos: Path, tmp_path: Path) -> None:
    copy, run = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(demos, copy)
    clone(copy, clone_config("debug", {"epochs": 2, "rollouts": 0}), run=run)
    forget(run, CheckpointStore(run).steps()[0])
    shutil.rmtree(copy)
    with pytest.raises(FovealError, match="holds no demonstrations"):
        foveal.resume(run)
    other = ["--preset", "debug", "--size", "32", "--render", "40", "--workers", "1", "--episodes", "2"]
    assert main(["demos", "collect", "ur5e/pick", "--out", str(copy), *other]) == 0
    with pytest.raises(FovealError, match="bring those demonstrations back"):
        foveal.resume(run)


@pytest.mark.slow
def test_the_command_goes_on_with_cloning(
    demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "skills"
    command = ["skills", "train", str(demos), "--out", str(out), "--preset", "debug", "--workers", "1"]
    command += ["--epochs", "2", "--rollouts", "0"]
    plain = CheckpointStore.save

    def stopping(self: Any, *arguments: Any, **options: Any) -> Path:
        plain(self, *arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", stopping)
        assert main(command) == 130
    assert main(command) == 2
    said = capsys.readouterr()
    assert f"foveal skills train --resume {out}" in said.out and "exists already" in said.err
    assert main(["skills", "train", "--resume", str(out)]) == 0
    assert SkillPolicy.load(out).about["best"] == 2


@pytest.mark.slow
def test_cloning_ends_with_its_epochs(demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    policy = clone(demos, clone_config("debug", {"rollouts": 0}), run=run)
    assert main(["train", "--resume", str(run), "--steps", "1000"]) == 2
    assert "batches, 1 epochs, not 1000" in capsys.readouterr().err
    assert equal(SkillPolicy.load(run), policy)
