"""PPO as the learner of an ``Agent``, in environments that are no games."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import yaml
from gymnasium import spaces

import foveal
from foveal.cli import main
from foveal.config.sections import RolloutTrainingConfig
from foveal.config.tree import config_from_dict, configure
from foveal.errors import FovealError
from foveal.networks.encoders import EncoderChoice, EncoderConfig
from foveal.training import Callback, Trainer
from foveal.training.run_folder import read_records
from small_env import LENGTH, SIZE, Counter, SavedCounter, differing

WALKER = "dmc/walker-walk"


class Lamp(gymnasium.Env[Any, Any]):
    """One half of the picture is lit; naming it, or pointing there, brings up to 1. Episodes take 8 steps."""

    def __init__(self, *, discrete: bool) -> None:
        self.observation_space = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.action_space = spaces.Discrete(2, start=3) if discrete else spaces.Box(-2.0, 2.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._picture(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        chosen = action - 3 if isinstance(self.action_space, spaces.Discrete) else float(action[0]) / 4 + 0.5
        self.steps += 1
        reward = 1 - abs(float(chosen) - self.lit)
        return self._picture(), reward, self.steps == 8, False, {}

    def _picture(self) -> Any:
        self.lit = int(self.np_random.integers(2))
        picture = np.zeros((SIZE, SIZE, 3), np.uint8)
        picture[:, self.lit * SIZE // 2 : (self.lit + 1) * SIZE // 2] = 255
        return picture


def agent_in(env: Any, **settings: Any) -> foveal.Agent:
    settings = {"preset": "debug", "encoder": "nature", "seed": 1, **settings}
    training = {"precision": "float32", **settings.pop("training", {})}
    return foveal.Agent(env, learner="ppo", training=training, **settings)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.slow
def test_it_learns(discrete: bool) -> None:
    """Of 8, chance has 4: half of the lamps, or the middle between them."""
    ppo = {"rollout": 32, "epochs": 4, "minibatches": 4, "learning_rate": 1e-3, "entropy": 0.0}
    agent = agent_in(partial(Lamp, discrete=discrete), ppo=ppo, training={"environments": 4})
    before = foveal.evaluate(agent, episodes=4, progress=False)["train"].summary["mean"]
    agent.learn(3000, progress=False, evaluate_every=0)
    after = foveal.evaluate(agent, episodes=4, progress=False)["train"].summary["mean"]
    assert before < 5.5 and after > 7


class StopAfter(Callback):
    """Ends training, as a kill after a checkpoint would."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step(self, trainer: Trainer) -> bool:
        return trainer.agent.steps < self.steps


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, discrete: bool) -> None:
    env, ppo = partial(SavedCounter, discrete=discrete), {"rollout": 13}
    whole = agent_in(env, ppo=ppo).learn(120, tmp_path / "whole", progress=False, evaluate_every=0)
    cut = agent_in(env, ppo=ppo)
    cut.learn(120, tmp_path / "cut", progress=False, evaluate_every=0, callbacks=[StopAfter(70)])
    assert cut.updater.beginning.all()  # the next step only begins episodes, which is to be remembered
    torch.manual_seed(99)  # another process has other global generators
    resumed = foveal.resume(tmp_path / "cut", env=env, progress=False)
    assert (resumed.agent.steps, resumed.target) == (72, 120)
    resumed.train()
    assert differing(whole.state()[0], resumed.agent.state()[0]) == []
    episodes = read_records(tmp_path / "whole" / "episodes.jsonl")
    assert episodes == read_records(tmp_path / "cut" / "episodes.jsonl") and len(episodes) > 10
    assert {episode["return"] for episode in episodes} == {LENGTH * (LENGTH + 1) / 2}


@pytest.mark.slow
def test_environments_in_processes_and_evaluations_on_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = partial(SavedCounter, discrete=True)
    here, away = (
        agent_in(env, training={"processes": processes}).learn(
            64, tmp_path / str(processes), progress=False, evaluate_every=every, evaluate_episodes=1
        )
        for processes, every in ((False, 0), (True, 32))
    )
    assert differing(here.state()[0], away.state()[0]) == []
    evaluations = read_records(tmp_path / "True" / "evaluations.jsonl")
    assert len(evaluations) == 2 and evaluations[0]["policy"]["learner"] == "ppo"
    foveal.resume(tmp_path / "True", env=env, progress=False).train(16)
    assert "these environments can't be saved: the episodes that were running start again" in capsys.readouterr().out


@pytest.mark.slow
def test_an_environment_of_the_users_stays_open() -> None:
    env = SavedCounter(discrete=True)
    agent = agent_in(env, training={"environments": 1}, ppo={"minibatches": 1})
    agent.learn(16, progress=False)
    agent.learn(16, progress=False)
    assert not env.closed and agent.steps >= 32


@pytest.mark.parametrize("encoder", ["sparse-fls", "conv"])
@pytest.mark.slow
def test_it_is_evaluated_explained_saved_and_exported(encoder: str, tmp_path: Path) -> None:
    env = partial(SavedCounter, discrete=encoder == "conv")
    small = {"strides": [2, 2], "filters": 4} if encoder == "conv" else {}
    agent = agent_in(env, encoder=encoder, ppo={"encoder": small}).learn(32, progress=False)
    assert foveal.evaluate(agent, episodes=1, progress=False).policy["method"] == encoder
    saliency = ["gradient"] if encoder == "conv" else ["gradient", "attention"]
    page = foveal.explain(agent, out=tmp_path / "page.html", saliency=saliency, frames=2, moments=3, progress=False)
    numbers = [] if encoder == "conv" else ["action1", "action2"]
    assert "<html" in page.read_text() and list(agent.insides().scalars) == ["value", "log_prob", *numbers]
    frames = np.random.default_rng(0).integers(0, 256, (3, 9, SIZE, SIZE), np.uint8)
    wanted = agent.predict(frames, deterministic=True)[0]
    loaded = foveal.load(agent.save(tmp_path / "agent"), env=env)
    np.testing.assert_array_equal(loaded.predict(frames, deterministic=True)[0], wanted)
    pytest.importorskip("onnxruntime", reason='needs the extra "onnx"')
    import onnxruntime

    session = onnxruntime.InferenceSession(str(agent.export(tmp_path / "policy.onnx")))
    np.testing.assert_allclose(session.run(None, {"image": frames})[0], wanted, atol=1e-3)


def test_actions_are_within_bounds_and_values_are_of_states() -> None:
    agent = agent_in(SavedCounter)
    frames = np.zeros((50, 9, SIZE, SIZE), np.uint8)
    actions, _ = agent.predict(frames)
    assert actions.shape == (50, 2) and actions.dtype == np.float32 and np.abs(actions).max() == 1.0
    with torch.no_grad():
        agent.learner.policy.actor.linear.bias.fill_(7.0)
    assert (agent.predict(frames, deterministic=True)[0] == 1.0).all()
    pixels = torch.rand(2, 9, SIZE, SIZE).mul(255).requires_grad_()
    values = agent.values(pixels)
    assert values.shape == (1, 2) and agent.values(pixels, torch.zeros(2, 2)).equal(values)
    (gradient,) = torch.autograd.grad(values.sum(), pixels)
    assert gradient.any()


# --- the configuration ------------------------------------------------------------------------------------------------


def test_the_configuration_is_one_tree() -> None:
    config = configure(WALKER, learner="ppo", preset="compact")
    assert (config.method, config.environment.image_size) == ("none", 40)
    assert config.training == RolloutTrainingConfig(environments=8)
    assert config_from_dict(config.as_dict()) == config
    assert configure(WALKER, learner="ppo", preset="debug").training.environments == 2
    own = configure(WALKER, learner="ppo", encoder="conv", overrides={"ppo": {"encoder": {"filters": 5}}})
    assert own.learner_config.encoder == EncoderConfig(filters=5)
    assert configure(WALKER, encoder="nature").learner_config.encoder == EncoderChoice("nature")
    assert configure(WALKER, encoder="fls").learner_config.encoder == EncoderConfig(attention="fls")
    assert config_from_dict(own.as_dict()) == own


@pytest.mark.parametrize(("learner", "name"), [("ppo", "conv"), ("sac", "nature"), ("sac", "fls")])
def test_an_encoder_that_is_chosen_by_name_goes_over_that_of_a_file(learner: str, name: str) -> None:
    whole = configure(WALKER, learner=learner, preset="debug").as_dict()[learner]
    wanted = configure(WALKER, learner=learner, preset="debug", encoder=name).learner_config
    for held in (whole, configure(WALKER, learner=learner, preset="debug").learner_config):
        over = {learner: held}
        assert configure(WALKER, learner=learner, preset="debug", overrides=over, encoder=name).learner_config == wanted


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"method": "sgqn"},
            "method 'sgqn' is composed onto value learners, and 'ppo' is not one: leave",
        ),
        ({"training": {"n_step": 3}}, "unknown setting training.n_step"),
        ({"training": {"replay_capacity": 3}}, "unknown setting training.replay_capacity"),
        ({"sgqn": {"quantile": 0.9}}, "unknown section 'sgqn'"),
        ({"encoder": "natur"}, "unknown encoder 'natur': did you mean 'nature'?"),
        ({"ppo": {"minibatches": 3}}, "ppo.minibatches is 3: it must divide environments * rollout, which is 32"),
        ({"training": {"environments": 0}}, "training.environments must be at least 1, not 0"),
        ({"ppo": {"encoder": {"strides": [2]}}}, "unknown setting ppo.encoder.strides"),
    ],
)
def test_mistakes(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError) as caught:
        agent_in(SavedCounter, **settings)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_it_can_not_serve_is_refused() -> None:
    with pytest.raises(FovealError, match="learner 'ppo' sees pictures alone, and this environment has a vector of 3"):
        agent_in(partial(Counter, vector=True))
    with pytest.raises(FovealError, match="20x20 pixels is too small"):
        agent_in(SavedCounter, environment={"image_size": 20})
    with pytest.raises(FovealError, match="an environment can't move to another process"):
        agent_in(SavedCounter(), training={"environments": 1, "processes": True}).learn(1)
    agent = agent_in(partial(SavedCounter, rewards=lambda step: float("nan") if step == 5 else 1.0))
    with pytest.raises(FovealError, match="the environment gave reward nan, which must be finite; nothing was saved"):
        agent.learn(32, progress=False)


@pytest.mark.slow
def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    line = f"train {WALKER} --learner ppo --preset debug --encoder nature --steps 64 --seed 2 --ppo.clip 0.3"
    assert main([*line.split(), "--evaluate-every", "0", "--training.environments", "1"]) == 0
    run = Path("runs/dmc-walker-walk-nature-2")
    told = capsys.readouterr().out
    assert f"training nature on {WALKER}" in told and f"foveal evaluate {run} --on train color_hard" in told
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert (settings["learner"], settings["training"]["environments"], settings["ppo"]["clip"]) == ("ppo", 1, 0.3)
    assert settings["ppo"]["encoder"] == {"name": "nature", "projection": 100}
    assert main(["train", "--resume", str(run), "--steps", "128"]) == 0
    assert main(["train", "--config", str(run / "config.yaml"), "--out", "again"]) == 0
    one, other = foveal.load(run), foveal.load("again")
    assert one.config == other.config and one.steps == other.steps == 128


def test_time_limits_end_returns_on_games_alone() -> None:
    """As OpenAI Baselines on Atari; continuing tasks are cut off, not over."""
    made = {
        env: configure(env, learner="ppo").learner_config.bootstrap_timeouts
        for env in ("atari/pong", "dmc/walker-walk")
    }
    assert made == {"atari/pong": False, "dmc/walker-walk": True}
    assert configure("atari/pong", overrides={"ppo": {"bootstrap_timeouts": True}}).learner_config.bootstrap_timeouts
