"""A run that was killed goes on as if nothing had happened; a checkpoint that is damaged is told and stepped over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import foveal
from foveal import FovealError, checkpoint
from foveal.cli import main
from foveal.evaluation.results import Results
from foveal.training import Trainer
from foveal.training.run_folder import read_records
from small_env import Careless, Counter, SavedCounter, differing, small_agent, weights

# 25 agent steps are an episode, so that steps 30 and 60 are in the middle of one, and an episode ends between them.
COMMAND = """train dmc/cartpole-swingup --preset debug --steps 76 --environment.action-repeat 40 --checkpoint-every 30
--evaluate-every 45 --evaluate-episodes 1 --evaluate-on train color_hard --training.initial-random-steps 35"""

# A module for --import. SIGKILL can't be caught: nothing gets to tidy up.
KILLER = """
import os, signal
import foveal.{module} as home

original = home.{function}

def deadly(*args, **kwargs):
    result = original(*args, **kwargs)
    if {condition}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

home.{function} = deadly
"""


def kill_when(module: str, function: str, condition: str, command: list[str], folder: Path) -> Path:
    """Runs the command in a process that is killed as soon as a call of a function of foveal meets the condition."""
    (folder / "killer.py").write_text(KILLER.format(module=module, function=function, condition=condition))
    run = folder / "killed"
    program = "import sys; from foveal.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, *command, "--import", "killer", "--out", str(run)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    return run


def everything(run: Path, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that a checkpoint holds, replay too, but for the generators that belong to nobody."""
    held = checkpoint.load(run / "checkpoints" / f"{step:09d}", kind="foveal.agent")
    arrays = {f"{name}/{key}": value for name, part in held.segments.items() for key, value in part.items()}
    tensors = held.tensors | {name: torch.from_numpy(array.view("uint8").copy()) for name, array in arrays.items()}
    del held.state["run"]["global_random"]
    return {n: t for n, t in tensors.items() if not n.startswith("run/global_random")}, held.state


def assert_alike(run: Path, other: Path, step: int) -> None:
    """Two runs ended in the same state, and tell the same story."""
    (tensors, state), (other_tensors, other_state) = everything(run, step), everything(other, step)
    assert differing(tensors, other_tensors) == []
    assert state == other_state
    assert read_records(run / "episodes.jsonl") == read_records(other / "episodes.jsonl")
    assert evaluations(run) == evaluations(other)


def evaluations(run: Path) -> list[tuple[int, str, list[float]]]:
    records = read_records(run / "evaluations.jsonl")
    return [
        (record["step"], condition.perturbation, condition.returns.tolist())
        for record in records
        for condition in Results.from_dict(record).conditions
    ]


@pytest.mark.parametrize(
    ("module", "function", "condition", "settings"),
    [
        pytest.param(
            "training.updater", "Updater.update", "args[0].updates == 40", [], id="in the middle of an episode"
        ),
        pytest.param(
            "checkpoint.files",
            "write",
            "'.000000060.partial' in str(args[0])",
            ["--training.environments", "2", "--training.n-step", "3", "--method", "svea"],
            id="while saving, of two environments and 3-step returns",
        ),
    ],
)
@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    module: str, function: str, condition: str, settings: list[str], tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    command = COMMAND.split() + settings
    assert main([*command, "--out", str(whole)]) == 0
    killed = kill_when(module, function, condition, command, tmp_path)
    assert not (killed / "checkpoints" / "000000076").exists()

    assert main(["train", "--resume", str(killed)]) == 0

    assert_alike(killed, whole, 76)
    assert len(evaluations(whole)) == 2
    assert sum(path.name.startswith("events") for path in (killed / "tensorboard").iterdir()) == 2


@pytest.mark.slow
def test_the_comparison_of_runs_can_fail(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("other", 2)):
        small_agent(seed=seed).learn(30, run=tmp_path / name, progress=False)
    with pytest.raises(AssertionError):
        assert_alike(tmp_path / "one", tmp_path / "other", 30)


# --- without a simulator: every step, quickly -------------------------------------------------------------------------


class Stop(foveal.Callback):
    """Ends training after a step, as a kill would: without a word to the run's folder."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer) -> None:
        if trainer.agent.steps == self.step:
            raise ConnectionAbortedError


def stopped(run: Path, step: int, env: Any = SavedCounter, **options: Any) -> Path:
    training = options.pop("training", {})
    with pytest.raises(ConnectionAbortedError):
        small_agent(env, training=training).learn(
            40, run=run, callbacks=[Stop(step)], progress=False, **{"checkpoint_every": 5, **options}
        )
    return run


def resumed(run: Path, env: Any = SavedCounter, steps: int | None = None) -> foveal.Agent:
    trainer = foveal.resume(run, env=env, progress=False)
    trainer.train(steps)
    return trainer.agent


OFTEN = {"checkpoint_every": 3, "evaluate_every": 8, "evaluate_episodes": 1}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    small_agent().learn(40, run=run, progress=False, **OFTEN)
    return run


# While actions are random; right before the checkpoint of an episode's end; right after it.
@pytest.mark.parametrize("step", [7, 17, 19])
@pytest.mark.slow
def test_stopped_anywhere(step: int, whole: Path, tmp_path: Path) -> None:
    resumed(stopped(tmp_path / "run", step, **OFTEN))
    assert_alike(tmp_path / "run", whole, 40)


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.slow
def test_several_environments_and_a_memory_that_is_full(vector: bool, tmp_path: Path) -> None:
    env = lambda: SavedCounter(vector=vector)  # noqa: E731
    settings = {"training": {"environments": 2, "n_step": 3, "replay_capacity": 30}}  # the ring wraps around
    small_agent(env, **settings).learn(40, run=tmp_path / "whole", checkpoint_every=5, progress=False)
    resumed(stopped(tmp_path / "run", 24, env, **settings), env)
    assert_alike(tmp_path / "run", tmp_path / "whole", 40)


@pytest.mark.slow
def test_pictures_that_training_replaces_are_the_same_again(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for index in range(200):
        Image.new("RGB", (9, 9), (index, 255 - index, 90)).save(tmp_path / "photos" / f"{index}.png")
    pictures = {"overlays": str(tmp_path / "photos"), "overlay_count": 90, "overlay_refresh": 16.0}
    settings: dict[str, Any] = {"training": pictures}
    small_agent(SavedCounter, **settings).learn(40, run=tmp_path / "whole", checkpoint_every=5, progress=False)
    resumed(stopped(tmp_path / "run", 24, **settings))
    assert_alike(tmp_path / "run", tmp_path / "whole", 40)


@pytest.mark.slow
def test_a_method_that_begins_after_the_latest_checkpoint(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"training": {"plain_updates": 8}}  # steps 15 and 20 are saved, and it begins between
    small_agent(**settings).learn(40, run=tmp_path / "whole", checkpoint_every=5, progress=False)
    resumed(stopped(tmp_path / "run", 19, **settings))
    assert_alike(tmp_path / "run", tmp_path / "whole", 40)


@pytest.mark.slow
def test_generators_that_belong_to_nobody_come_back(tmp_path: Path) -> None:
    held = checkpoint.global_random_state()
    whole = small_agent(Careless).learn(40, progress=False)
    checkpoint.load_global_random_state(*held)
    stopped(tmp_path / "run", 19, Careless)
    assert differing(weights(whole), weights(resumed(tmp_path / "run", Careless))) == []


@pytest.mark.slow
def test_a_run_may_be_resumed_again_and_made_longer(tmp_path: Path) -> None:
    small_agent().learn(50, run=tmp_path / "whole", checkpoint_every=5, progress=False)
    run = stopped(tmp_path / "run", 12)
    for step in (17, 28):
        trainer = foveal.resume(run, env=SavedCounter, callbacks=[Stop(step)], progress=False)
        with pytest.raises(ConnectionAbortedError):
            trainer.train()
    assert resumed(run).steps == 40
    assert resumed(run).steps == 40  # nothing is left to do
    assert "steps: 40\n" in (run / "config.yaml").read_text()
    resumed(run, steps=10)
    assert "steps: 50\n" in (run / "config.yaml").read_text()
    assert_alike(run, tmp_path / "whole", 50)


@pytest.mark.slow
def test_an_environment_that_cant_be_saved_starts_a_new_episode_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stopped(tmp_path / "run", 17, Counter)  # the checkpoint of step 15, 6 steps into an episode
    env = Counter()
    agent = resumed(run, env)
    assert "can't be saved: the episode that was running starts again" in capsys.readouterr().out
    assert agent.steps == 40
    assert env.resets[0] not in {None, 0}  # not the episodes again that the run began with
    ends = [record["step"] for record in read_records(run / "episodes.jsonl")]
    assert ends == [9, 24, 33]  # the one cut short by the kill is not counted
    assert all(record["return"] == 45 for record in read_records(run / "episodes.jsonl"))
    batch = agent.replay.sample(1000)  # type: ignore[union-attr]
    assert 15 in len_of_episodes(batch)


def len_of_episodes(batch: Any) -> set[int]:
    """Steps at which sampled transitions begin, counted in pictures."""
    return {int(value) for value in batch.obs.image[:, -1, -1, -1]}


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped_at_23(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stopped(tmp_path_factory.mktemp("runs") / "run", 23)


@pytest.fixture
def run(stopped_at_23: Path, tmp_path: Path) -> Path:
    """Checkpoints of the steps 15 and 20, and nothing after."""
    return Path(shutil.copytree(stopped_at_23, tmp_path / "run"))


def newest(run: Path) -> Path:
    return run / "checkpoints" / "000000020"


def truncate(run: Path) -> None:
    path = newest(run) / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def flip(run: Path) -> None:
    path = newest(run) / "tensors.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_replay(run: Path) -> None:
    path = next((newest(run) / "replay").glob("*.frames.npy"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def lose_manifest(run: Path) -> None:
    (newest(run) / "manifest.json").unlink()


@pytest.mark.parametrize("damage", [truncate, flip, flip_replay, lose_manifest])
@pytest.mark.slow
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(
    damage: Any, run: Path, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage(run)
    trainer = foveal.resume(run, env=SavedCounter, progress=False)
    assert trainer.agent.steps == 15
    assert "000000020" in caplog.text and "trying the one before it" in caplog.text
    trainer.train()
    assert differing(agent_weights(whole, 40), agent_weights(run, 40)) == []


def agent_weights(run: Path, step: int) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in everything(run, step)[0].items() if not name.startswith(("run/", "s0"))}


@pytest.mark.slow
def test_evaluating_a_run_does_not_read_its_memory(run: Path) -> None:
    flip_replay(run)
    assert foveal.load(run).steps == 20


@pytest.mark.slow
def test_no_good_checkpoint_is_left(run: Path) -> None:
    truncate(run)
    shutil.rmtree(run / "checkpoints" / "000000015")
    with pytest.raises(FovealError, match=r"no checkpoint in .* is undamaged.*tensors.safetensors has \d+ bytes"):
        foveal.resume(run, env=SavedCounter)


@pytest.mark.slow
def test_a_foreign_checkpoint_is_refused_and_the_one_before_it_stays_usable(run: Path) -> None:
    shutil.rmtree(newest(run))
    checkpoint.save(newest(run), {}, {}, kind="another.program")
    with pytest.raises(FovealError, match=r"000000020 is a checkpoint of 'another\.program'"):
        foveal.resume(run, env=SavedCounter)
    assert foveal.load(run / "checkpoints" / "000000015").steps == 15
    shutil.rmtree(newest(run))
    assert foveal.resume(run, env=SavedCounter, progress=False).agent.steps == 15


@pytest.mark.slow
def test_an_agent_alone_is_no_run_to_resume(tmp_path: Path, run: Path) -> None:
    small_agent().save(tmp_path / "agent")
    with pytest.raises(FovealError, match=r"agent is no run folder: it has no config.yaml"):
        foveal.resume(tmp_path / "agent")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(FovealError, match=r"has no checkpoint to resume from"):
        foveal.resume(run)


@pytest.mark.slow
def test_a_run_of_another_environment_is_refused(run: Path) -> None:
    with pytest.raises(FovealError, match=r"this state is of SavedCounter, and this environment is dmc/"):
        foveal.resume(run, env="dmc/cartpole-swingup")


@pytest.mark.slow
def test_what_was_logged_after_the_checkpoint_is_forgotten(run: Path) -> None:
    with (run / "episodes.jsonl").open("a") as file:
        file.write(json.dumps({"step": 21, "environment": 0, "return": -1.0}) + '\n{"step": 22, "env')
    resumed(run)
    assert [record["step"] for record in read_records(run / "episodes.jsonl")] == [9, 18, 27, 36]
