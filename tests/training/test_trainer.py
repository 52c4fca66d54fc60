"""The loop: the same again, watched by callbacks, stopped by what is not finite, never at the cost of what is saved."""

from __future__ import annotations

import errno
import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import foveal
from foveal import FovealError
from foveal.checkpoint import files
from foveal.evaluation.results import Results
from foveal.training import ReplayWork, RunOptions, Trainer
from foveal.training.run_folder import read_records
from small_env import LENGTH, Careless, Counter, SavedCounter, differing, small_agent, weights


def learn(agent: foveal.Agent, steps: int = 30, **options: Any) -> foveal.Agent:
    return agent.learn(steps, progress=False, **options)


# --- the same again ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights() -> None:
    one, same, other = (learn(small_agent(seed=seed), 59) for seed in (5, 5, 6))
    assert one.updates == 50
    assert differing(weights(one), weights(same)) == []
    assert any("critics" in name for name in differing(weights(one), weights(other)))


@pytest.mark.parametrize("env", [SavedCounter, Careless])
@pytest.mark.slow
def test_evaluating_does_not_change_what_is_learnt(env: type[Counter]) -> None:
    torch.manual_seed(0)
    seen = []
    for every in (0, 4):
        foveal.checkpoint.load_global_random_state(*GLOBAL)
        agent = learn(small_agent(env), evaluate_every=every, evaluate_episodes=2)
        seen.append((weights(agent), torch.rand(())))
    assert differing(seen[0][0], seen[1][0]) == []
    assert seen[0][1] == seen[1][1]


GLOBAL = foveal.checkpoint.global_random_state()


@pytest.mark.slow
def test_what_is_learnt_does_not_depend_on_whether_it_is_kept(tmp_path: Path) -> None:
    kept = learn(small_agent(), run=tmp_path / "run", checkpoint_every=7)
    assert differing(weights(learn(small_agent())), weights(kept)) == []


@pytest.mark.slow
def test_updates_come_as_often_as_asked() -> None:
    settings = {"initial_random_steps": 10, "catch_up_updates": 5, "updates_per_step": 0.5}
    agent = learn(small_agent(training=settings), 20)
    assert agent.updates == 5 + int(11 * 0.5)
    agent = learn(small_agent(training={**settings, "environments": 2, "updates_per_step": 2}), 20)
    assert agent.updates == 5 + 2 * 12  # the steps that end the random phase count: two at once


# --- callbacks --------------------------------------------------------------------------------------------------------


class Watch(foveal.Callback):
    """Writes down what happened, and stops at a step."""

    def __init__(self, stop_at: int = 10**9) -> None:
        self.stop_at = stop_at
        self.seen: list[Any] = []

    def on_step(self, trainer: Trainer) -> bool | None:
        self.seen.append("step")
        return False if trainer.agent.steps == self.stop_at else None

    def on_evaluation(self, trainer: Trainer, results: Results) -> None:
        self.seen.append(("evaluation", trainer.agent.steps, [c.perturbation for c in results.conditions]))

    def on_checkpoint(self, trainer: Trainer, folder: Path) -> None:
        self.seen.append(("checkpoint", trainer.agent.steps, folder.name))

    def on_end(self, trainer: Trainer) -> None:
        self.seen.append(("end", trainer.agent.steps))


@pytest.mark.slow
def test_callbacks_hear_of_everything_and_may_stop(tmp_path: Path) -> None:
    first, second = Watch(stop_at=22), Watch()
    agent = small_agent()
    learn(
        agent,
        run=tmp_path / "run",
        callbacks=[first, second],
        evaluate_every=8,
        evaluate_episodes=1,
        checkpoint_every=10,
    )
    assert agent.steps == 22
    assert first.seen == second.seen
    assert [event for event in first.seen if event != "step"] == [
        ("evaluation", 8, ["train"]),
        ("checkpoint", 10, "000000010"),
        ("evaluation", 16, ["train"]),
        ("checkpoint", 20, "000000020"),
        ("checkpoint", 22, "000000022"),
        ("end", 22),
    ]
    resets = 2  # Gymnasium spends a step on each
    assert first.seen.count("step") == 22 + resets


@pytest.mark.slow
def test_the_best_agent_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    returns = iter([3.0, 8.0, 5.0])
    monkeypatch.setattr("foveal.evaluation.pixel_world.rollout", fake_rollout(lambda: next(returns)))
    learn(small_agent(), run=tmp_path / "run", evaluate_every=10, evaluate_episodes=1)
    assert foveal.load(tmp_path / "run" / "best").steps == 20
    assert foveal.load(tmp_path / "run").steps == 30


def fake_rollout(value: Callable[[], float]) -> Callable[..., Any]:
    from foveal.evaluation.results import Episode

    return lambda env, act, seed, index, watch, adapt: Episode(index, seed, value(), 1, False, "draft")


# --- stopping ---------------------------------------------------------------------------------------------------------


class CtrlC(foveal.Callback):
    """Presses Ctrl-C after a step, or two times."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.step, self.times = step, times

    def on_step(self, trainer: Trainer) -> None:
        if trainer.agent.steps == self.step:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_ctrl_c_saves_a_checkpoint_to_go_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        learn(small_agent(), run=tmp_path / "run", callbacks=[CtrlC(14)])
    assert "stopping after this step" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    trainer = foveal.resume(tmp_path / "run", env=SavedCounter, progress=False)
    assert (trainer.agent.steps, trainer.target) == (14, 30)
    trainer.train()
    assert differing(weights(learn(small_agent())), weights(trainer.agent)) == []


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_a_step_waits_for_its_end(tmp_path: Path) -> None:
    def pressed(steps: int) -> float:
        if steps == 13:
            signal.raise_signal(signal.SIGINT)
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        learn(small_agent(lambda: SavedCounter(rewards=pressed)), run=tmp_path / "run")
    assert foveal.load(tmp_path / "run").steps == 13


@pytest.mark.slow
def test_a_second_ctrl_c_is_obeyed_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        learn(small_agent(), run=tmp_path / "run", callbacks=[CtrlC(14, times=2)], checkpoint_every=10)
    assert foveal.load(tmp_path / "run").steps == 10


@pytest.mark.slow
def test_training_in_another_thread_leaves_signals_alone() -> None:
    agent = small_agent()
    thread = threading.Thread(target=learn, args=(agent, 12))
    thread.start()
    thread.join()
    assert agent.steps == 12


def test_a_trainer_trains_once() -> None:
    trainer = Trainer(ReplayWork(small_agent()), progress=False)
    trainer.train(5)
    with pytest.raises(FovealError, match=r"has trained already.*agent\.learn"):
        trainer.train(5)


# --- what is not finite -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
@pytest.mark.slow
def test_a_reward_that_is_not_finite_stops_training(reward: float, tmp_path: Path) -> None:
    env = lambda: SavedCounter(rewards=lambda step: reward if step == 17 else 1.0)  # noqa: E731
    with pytest.raises(FovealError, match=rf"agent step 17: the environment gave reward {reward}.*000000012"):
        learn(small_agent(env), run=tmp_path / "run", checkpoint_every=12)
    assert foveal.load(tmp_path / "run").steps == 12
    with pytest.raises(FovealError, match=r"agent step 17.*nothing was saved before"):
        learn(small_agent(env))


class Break(foveal.Callback):
    """Makes a weight NaN after a step."""

    def __init__(self, step: int, part: str) -> None:
        self.step, self.part = step, part

    def on_step(self, trainer: Trainer) -> None:
        if trainer.agent.steps == self.step:
            with torch.no_grad():
                next(getattr(trainer.agent.learner, self.part).parameters()).fill_(torch.nan)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "step", "options", "message"),
    [
        ("critics", 15, {"log_every": 1}, r"critic/\w+ became nan at update 7, agent step 16"),  # at once
        ("critics", 15, {}, r"critic/\w+ became nan at update \d, agent step 1[67]"),  # at the next action
        ("critics", 19, {"evaluate_every": 20}, r"critic/\w+ became nan at update 11, agent step 20"),
        ("critics", 23, {}, r"critic/\w+ became nan at update 15, agent step 24"),
        ("policy", 15, {}, r"agent step 16: the policy's action is not finite"),
    ],
)
def test_losses_that_are_not_finite_stop_training(
    part: str, step: int, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    agent = small_agent()
    with pytest.raises(FovealError, match=message + r".*the last checkpoint is .*000000012"):
        learn(agent, run=tmp_path / "run", callbacks=[Break(step, part)], checkpoint_every=12, **options)
    held = foveal.load(tmp_path / "run")
    assert held.steps == 12
    assert all(tensor.isfinite().all() for tensor in weights(held).values() if tensor.is_floating_point())


def test_broken_weights_are_never_kept_as_the_best(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match=r"learner/target_critics\S+ holds numbers that are not finite"):
        learn(
            small_agent(training={"initial_random_steps": 1000}),
            run=tmp_path / "run",
            callbacks=[Break(5, "target_critics")],
            evaluate_every=10,
            evaluate_episodes=1,
        )
    assert not (tmp_path / "run" / "best").exists()


# --- the run's folder -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_tensorboard_has_losses_and_returns(tmp_path: Path) -> None:
    agent = small_agent()
    learn(agent, run=tmp_path / "run", log_every=7, evaluate_every=10, evaluate_episodes=1)
    told = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    told.Reload()
    tags = set(told.Tags()["scalars"])
    assert {"critic/loss", "critic/td", "critic/consistency", "actor/loss", "actor/alpha", "attribution/loss"} <= tags
    assert {"return/train_episode", "return/evaluation/train", "updates"} <= tags
    assert [(event.step, event.value) for event in told.Scalars("updates")] == [(16, 7), (23, 14), (30, 21)]
    episodes = [(event.step, event.value) for event in told.Scalars("return/train_episode")]
    total = sum(range(1, LENGTH + 1))
    assert episodes == [(9, total), (18, total), (27, total)]
    assert [event.step for event in told.Scalars("return/evaluation/train")] == [10, 20, 30]


@pytest.mark.slow
def test_every_return_is_in_the_folder(tmp_path: Path) -> None:
    agent = small_agent(training={"environments": 2})
    learn(agent, 40, run=tmp_path / "run", evaluate_every=15, evaluate_episodes=3)
    total = sum(range(1, LENGTH + 1))
    assert read_records(tmp_path / "run" / "episodes.jsonl") == [
        {"step": step, "environment": stream, "return": total} for step in (18, 36) for stream in (0, 1)
    ]
    records = read_records(tmp_path / "run" / "evaluations.jsonl")
    assert [record["step"] for record in records] == [16, 30]
    assert all(Results.from_dict(record).conditions[0].summary["n"] == 3 for record in records)


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_records(path) == [{"step": 1}, {"step": 2}]
    assert read_records(tmp_path / "none.jsonl") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluate_evry": 3}, "unknown setting run.evaluate_evry: did you mean 'evaluate_every'"),
        ({"evaluate_on": ["color_hrd"]}, "unknown perturbation 'color_hrd': did you mean 'color_hard'"),
        ({"evaluate_on": []}, "nothing to evaluate on"),
        ({"evaluate_episodes": 0}, "run.evaluate_episodes must be at least 1"),
        ({"log_every": 0}, "run.log_every must be at least 1"),
        ({"checkpoint_every": -1}, "run.checkpoint_every must be at least 0"),
        ({"evaluate_on": ["color_hard"], "data": Path("nowhere")}, "data is 'nowhere', which is no folder"),
        ({"steps": 0}, "at least 1 more agent step, not 0"),
        ({"steps": -4}, "at least 1 more agent step, not -4"),
    ],
)
def test_bad_options_are_refused_before_any_work(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    agent = small_agent("dmc/cartpole-swingup")
    steps = options.pop("steps", 20)
    with pytest.raises(FovealError, match=message):
        learn(agent, steps, run=tmp_path / "run", **options)
    assert agent.steps == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    learn(small_agent(), 12, run=tmp_path / "mine")  # an empty one will do
    with pytest.raises(FovealError, match=r"mine exists already.*continue it: foveal train --resume"):
        learn(small_agent(), run=tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(FovealError, match=r"file exists already: choose another folder$"):
        learn(small_agent(), run=tmp_path / "file")
    with pytest.raises(FovealError, match=r"can't make .*Not a directory"):
        learn(small_agent(), run=tmp_path / "file" / "run")


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fill(foveal.Callback):
        def on_checkpoint(self, trainer: Trainer, folder: Path) -> None:
            monkeypatch.setattr(files.os, "fsync", full)

    with pytest.raises(FovealError, match=r"can't save checkpoint .*000000020: No space left on device; make room"):
        learn(small_agent(), run=tmp_path / "run", callbacks=[Fill()], checkpoint_every=10)
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["000000010"]
    trainer = foveal.resume(tmp_path / "run", env=SavedCounter, progress=False)
    trainer.train()
    assert differing(weights(learn(small_agent())), weights(trainer.agent)) == []


def test_a_full_disk_while_logging_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(FovealError, match=r"can't write to .*episodes.jsonl: No space left on device"):
        learn(small_agent(), run=tmp_path / "run")


@pytest.mark.slow
def test_options_are_what_the_folder_says(tmp_path: Path) -> None:
    learn(small_agent(), 12, run=tmp_path / "run", evaluate_every=0, data=None, checkpoint_every=6)
    held = foveal.checkpoint.load(tmp_path / "run" / "checkpoints" / "000000012", kind="foveal.agent")
    options = RunOptions(evaluate_every=0, checkpoint_every=6)
    assert RunOptions.from_settings(held.state["run"]["options"]) == options
    assert json.loads((tmp_path / "run" / "checkpoints" / "000000012" / "state.json").read_text())["steps"] == 12


# --- environments in processes ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_environments_in_processes_of_their_own(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"training": {"environments": 2, "processes": True}}
    one, other = (small_agent(SavedCounter, seed=3, **settings) for _ in range(2))
    one.learn(60, run=tmp_path / "run", progress=False, evaluate_every=0)
    other.learn(60, progress=False, evaluate_every=0)
    assert one.steps == 60 and one.updates > 20
    assert differing(weights(one), weights(other)) == []  # seeded, whichever process is faster
    here = small_agent(SavedCounter, seed=3, training={"environments": 2}).learn(60, progress=False, evaluate_every=0)
    returns = [record["return"] for record in read_records(tmp_path / "run" / "episodes.jsonl")]
    assert returns == [45.0] * 6 and here.steps == one.steps
    assert one.replay is not None
    batch = one.replay.sample(200)
    newest, first = batch.obs.image[:, -1, -1, -1].int(), batch.next_obs.image[:, -1, -1, -1].int()
    assert ((first - newest) == 1).all()  # each picture counts those before it, so none is missing or doubled
    resumed = foveal.resume(tmp_path / "run", env=SavedCounter, progress=False)
    resumed.train(20)
    assert resumed.agent.steps == 80


def test_an_environment_as_an_object_can_not_move_to_a_process() -> None:
    with pytest.raises(FovealError, match="can't move to another process: give a callable"):
        small_agent(SavedCounter(), training={"processes": True}).learn(5, progress=False)
