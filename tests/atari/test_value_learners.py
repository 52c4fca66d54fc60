"""Value learners on Atari games: what replay holds, whole games and their scores, resuming, every method, settings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytest.importorskip("ale_py", reason="needs the extra 'atari'")

import foveal
from foveal import checkpoint
from foveal.atari import evaluation
from foveal.atari.training import LOST, REPLAY_RUN
from foveal.atari.vector import AtariVector, finished_games
from foveal.augmentations import AUGMENTATIONS
from foveal.cli import main
from foveal.config.sections import GameConfig
from foveal.config.tree import configure
from foveal.errors import FovealError
from foveal.evaluation.rollouts import world_of
from foveal.evaluation.world import TRAIN, Bar, WorldOptions
from foveal.gaze.agents import looks_of
from foveal.learners import LEARNERS
from foveal.learners.dqn import DQN
from foveal.methods import METHODS, Method, Requirements
from foveal.methods.none import NoneConfig
from foveal.saliency import gradient
from foveal.training import Callback, Trainer
from foveal.training.run_folder import read_records
from foveal.types import ExtraField, Observation
from small_env import differing

BREAKOUT = "atari/breakout"


def small(method: str = "none", env: str = BREAKOUT, seed: int = 0, **more: Any) -> foveal.Agent:
    training = {"precision": "float32", **more.pop("training", {})}
    return foveal.Agent(env, method, "dqn", preset="debug", seed=seed, training=training, **more)


def trained(agent: foveal.Agent, steps: int = 60, **options: Any) -> foveal.Agent:
    return agent.learn(steps, progress=False, **options)


def games_of(agent: foveal.Agent, seed: int, count: int = 1) -> AtariVector:
    """The same games as training plays."""
    return AtariVector(agent.env_id, count, seed, repeat_first=True)


# --- what replay holds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("games", [1, 2])
@pytest.mark.slow
def test_transitions_are_what_happened_in_the_games(games: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where lives are lost: no transition leads over the end of an episode, and its last picture is its own."""
    happened: dict[bytes, list[tuple[Any, ...]]] = {}
    shown: list[Any] = []
    step, reset = AtariVector.step, AtariVector.reset

    def noting_reset(self: AtariVector, **options: Any) -> Any:
        found = reset(self, **options)
        shown[:] = [found[0]]
        return found

    def noting_step(self: AtariVector, actions: Any) -> Any:
        found = step(self, actions)
        seen, rewards, terminated, truncated, infos = found
        for index in range(self.num_envs):
            after = infos["final_obs"][index] if terminated[index] | truncated[index] else seen[index]
            what = int(actions[index]), float(rewards[index]), bool(terminated[index]), after.tobytes()
            happened.setdefault(shown[0][index].tobytes(), []).append(what)
        shown[:] = [seen]
        return found

    monkeypatch.setattr(AtariVector, "step", noting_step)
    monkeypatch.setattr(AtariVector, "reset", noting_reset)
    agent = trained(small(training={"environments": games, "initial_random_steps": 1000}), 200)
    assert agent.replay is not None and len(agent.replay) == 200
    assert agent.replay.nbytes < 2000 * (84 * 84 + 100)  # one grey frame for each step
    batch = agent.replay.sample(400)
    assert batch.obs.image.shape == (400, 4, 84, 84) and batch.obs.image.dtype == torch.uint8
    for now, action, reward, discount, after in zip(
        batch.obs.image, batch.action, batch.reward, batch.discount, batch.next_obs.image, strict=True
    ):
        what = int(action), float(reward), float(discount) == 0, after.numpy().tobytes()
        assert what in happened[now.numpy().tobytes()]
    assert 0 < int((batch.discount == 0).sum()) < 100  # lives are lost on the way


@pytest.mark.slow
def test_an_episode_begins_with_its_first_frame_four_times_or_with_black_ones() -> None:
    for repeat_first, wanted in ((True, 4), (False, 1)):
        games = AtariVector(BREAKOUT, 1, seed=0, repeat_first=repeat_first)
        frames = games.reset()[0][0]
        assert sum(np.array_equal(frame, frames[-1]) for frame in frames) == wanted
        assert (frames[0] == 0).all() is not repeat_first or not repeat_first
        games.close()
    assert small().env_options["repeat_first"]
    assert not foveal.Agent(BREAKOUT, preset="debug").env_options["repeat_first"]  # PPO's, as before


@pytest.mark.slow
def test_the_record_has_true_scores_of_whole_games(tmp_path: Path) -> None:
    agent = small(training={"initial_random_steps": 600})
    trained(agent, 500, run=tmp_path / "run")
    told = read_records(tmp_path / "run" / "episodes.jsonl")
    games = games_of(agent, seed=0)
    games.reset(seed=0)
    actions = np.random.default_rng(0).integers(4, size=500)
    scores = [score for action in actions for _, score, _ in finished_games(games.step(np.array([action]))[4])]
    assert [record["return"] for record in told] == scores and len(scores) > 1


@pytest.mark.slow
def test_rewards_are_clipped_by_a_setting() -> None:
    """In Ms. Pac-Man pills are worth 10."""
    for clip, wanted in ((True, {0.0, 1.0}), (False, {0.0, 10.0})):
        agent = small(env="atari/ms_pacman", environment={"clip_rewards": clip}, training={"initial_random_steps": 500})
        trained(agent, 120)
        assert agent.replay is not None and set(agent.replay.sample(300).reward.tolist()) == wanted
    ppo = foveal.Agent("atari/ms_pacman", preset="debug", environment={"clip_rewards": False}).work()
    assert not ppo.env.clip_rewards  # type: ignore[union-attr]
    ppo.close()


# --- settings ---------------------------------------------------------------------------------------------------------


def test_the_paper_preset_is_mnihs() -> None:
    config = configure(BREAKOUT, "none", "dqn")
    training, dqn = config.training, config.learner_config
    assert (training.batch_size, training.updates_per_step, training.initial_random_steps) == (32, 0.25, 50_000)
    assert (training.replay_capacity, training.catch_up_updates) == (1_000_000, 0)
    assert (dqn.encoder.name, dqn.target_period, config.environment) == ("nature", 10_000, GameConfig())
    assert configure(BREAKOUT, "none", "dqn", encoder="sparse-fls").learner_config.encoder.name == "sparse-fls"
    assert configure("dmc/walker-walk", "none", "dqn").learner_config.encoder.name == "conv"
    chosen = configure(BREAKOUT, "none", "dqn", overrides={"dqn": {"encoder": {"name": "conv", "filters": 7}}})
    assert chosen.learner_config.encoder.filters == 7


@pytest.mark.slow
def test_the_paper_network_is_mnihs() -> None:
    """Three convolutions, a hidden layer of 512, one output for every action, and no more."""
    learner: Any = foveal.Agent(BREAKOUT, "none", "dqn", training={"precision": "float32", "device": "cpu"}).learner
    sizes = (32 * 4 * 8 * 8 + 32, 64 * 32 * 4 * 4 + 64, 64 * 64 * 3 * 3 + 64, 64 * 7 * 7 * 512 + 512, 512 * 4 + 4)
    assert sum(parameter.numel() for parameter in learner.critic_parameters()) == sum(sizes)
    layers = [layer for layer in learner.convolutions.modules() if isinstance(layer, nn.Conv2d)]
    image = torch.randint(0, 256, (3, 4, 84, 84), generator=torch.Generator().manual_seed(0)).float()
    hidden = image / 255
    for layer, stride in zip(layers, (4, 2, 1), strict=True):
        hidden = F.relu(F.conv2d(hidden, layer.weight, layer.bias, stride))
    hidden = hidden.permute(0, 2, 3, 1).flatten(1)  # features are pixel by pixel
    dense, last = learner.convolutions.linear, learner.critic[0]
    expected = F.relu(hidden @ dense.weight.T + dense.bias) @ last.weight.T + last.bias
    for action in range(4):
        values = learner.values(Observation(image), torch.full((3,), action))
        torch.testing.assert_close(values[0], expected[:, action], rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        last.weight.add_(1.0)
    learner.update_target_networks()
    assert torch.equal(learner.target_critic[0].weight, last.weight)
    assert learner.latent_size == learner.feature_size == 512


def test_a_game_leaves_out_what_its_protocol_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame stacks and encoders that methods bring are for other pictures; what they bring of training stays."""
    brings = {
        "environment": {"frame_stack": 3, "action_repeat": 2, "life_loss": False},
        "encoder": {"filters": 5},
        "training": {"overlay_count": 77},
    }
    monkeypatch.setattr(METHODS.get("drq"), "run_presets", {"*": brings})
    config = configure(BREAKOUT, "drq", "dqn")
    assert config.environment == GameConfig(life_loss=False) and config.training.overlay_count == 77
    assert config.learner_config.encoder.name == "nature"
    with pytest.raises(FovealError, match=r"environment\.frame_stack = 4 and drq wants 3: decide by setting"):
        configure("Other-v0", "drq", "dqn")


@pytest.mark.parametrize("learner", [name for name in LEARNERS.names() if not LEARNERS.get(name).on_policy])
@pytest.mark.parametrize("preset", ["paper", "compact", "debug"])
def test_every_value_learner_has_presets_for_games(learner: str, preset: str) -> None:
    config = configure(BREAKOUT, "none", learner, preset)
    environment = config.environment
    assert environment == GameConfig() and (environment.frame_stack, environment.image_size) == (4, 84)
    assert (config.learner_config.encoder.name == "nature") == (preset == "paper")


# --- methods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.slow
def test_every_method_trains_on_grey_frames_or_says_why_not(method: str) -> None:
    try:
        agent = small(method)
        trained(agent, 50)
    except FovealError as error:
        assert any(word in str(error) for word in ("atari/", "games", "policy", "colours"))  # noqa: PT017
        return
    assert agent.updates >= 4
    image = np.zeros((2, *agent._image_shape), np.uint8)
    assert agent.predict(image)[0].shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS.names() if name != "color_jitter"])
def test_strong_augmentations_change_all_four_grey_frames_alike(name: str) -> None:
    agent = small("svea", svea={"augmentation": name})
    method: Any = agent.method
    method.get_ready()
    frame = torch.rand(1, 1, 84, 84, generator=torch.Generator().manual_seed(0)) * 255
    image = frame.repeat(6, 4, 1, 1)
    changed = method.augment(image, agent.generator)
    method.close()
    assert changed.shape == image.shape and not torch.equal(changed, image)
    if name != "shifted-overlay":  # whose pictures move
        assert all(torch.equal(changed[:, 0], changed[:, frame]) for frame in range(1, 4))
    assert len({float(sample.mean()) for sample in changed}) == 6


@pytest.mark.slow
def test_the_mask_of_a_grey_frame_is_its_own() -> None:
    """SGQN's mask has the most salient pixels of every frame, whatever the others' saliency is."""
    agent = small("sgqn", encoder="nature")
    method: Any = agent.method
    draws = torch.Generator().manual_seed(0)
    image = (torch.rand(2, 4, 84, 84, generator=draws) * 255).requires_grad_()
    values = agent.learner.values(Observation(image), torch.tensor([0, 1]))
    mask = method.mask(values, image)
    share = mask.float().mean((2, 3))  # (2, 4)
    torch.testing.assert_close(share, torch.full((2, 4), 1 - method.config.quantile), rtol=0, atol=0.01)
    assert not torch.equal(mask[:, 0], mask[:, 3])


class Masks(Method):
    """One that learns from the simulator's segmentation."""

    Config = NoneConfig

    @classmethod
    def requirements(cls, config: Any, image_size: int) -> Requirements:
        return Requirements(image_size, extras=(ExtraField("mask", "agent_mask", (84, 84), "bool"),))


@pytest.mark.slow
def test_what_games_can_not_serve_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS._entries, "masks", Masks)
    agent = small("masks")
    with pytest.raises(FovealError, match=r"learns from agent_mask\(\), which games don't have: choose another one"):
        trained(agent, 10, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    jittered = small("svea", svea={"augmentation": "color_jitter"})
    with pytest.raises(FovealError, match="'color_jitter' changes colours, and these frames are grey: choose another"):
        trained(jittered, 10)
    with pytest.raises(FovealError, match="games are played in threads of their own, not in processes"):
        trained(small(training={"processes": True}), 10)


# --- stopping and going on --------------------------------------------------------------------------------------------


class StopAfter(Callback):
    """Ends training, as a kill after a checkpoint would."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step(self, trainer: Trainer) -> bool:
        return trainer.agent.steps < self.steps


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"seed": 3, "training": {"environments": 2}}
    whole = trained(small("svea", **settings), 160, run=tmp_path / "whole")
    trainer = Trainer(
        small("svea", **settings).work(), REPLAY_RUN, run=tmp_path / "cut", callbacks=[StopAfter(90)], progress=False
    )
    trainer.train(160)
    torch.manual_seed(99)  # another process has other global generators
    resumed = foveal.resume(tmp_path / "cut", progress=False)
    resumed.train()
    assert resumed.agent.steps == whole.steps == 160
    tensors, state = whole.state()
    others, other = resumed.agent.state()
    assert differing(tensors, others) == [] and state == other
    first, second = (
        checkpoint.load(tmp_path / run / "checkpoints" / f"{160:09d}", kind="foveal.agent") for run in ("whole", "cut")
    )
    assert differing(first.tensors, second.tensors) == []
    assert read_records(tmp_path / "whole" / "episodes.jsonl") == read_records(tmp_path / "cut" / "episodes.jsonl")


@pytest.mark.slow
def test_games_that_can_not_be_brought_back_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(small(), 60, run=tmp_path / "run")
    load_state = AtariVector.load_state

    def another_emulator(env: AtariVector, state: Any) -> bool:
        return load_state(env, state | {"stacks": state["stacks"] + 1})

    monkeypatch.setattr(AtariVector, "load_state", another_emulator)
    trainer = foveal.resume(tmp_path / "run", progress=False)
    assert LOST in capsys.readouterr().out
    trainer.train(10)
    assert trainer.agent.steps == 70


# --- evaluating, explaining, gaze -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_games_are_played_by_the_best_action_but_for_a_share_of_random_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = small("sgqn", env="atari/freeway")
    world: Any = world_of(agent, WorldOptions())
    frames = np.zeros((4000, 4, 84, 84), np.uint8)

    def predict(frames: Any, deterministic: bool) -> Any:
        return np.full(len(frames), int(deterministic)), None

    monkeypatch.setattr(agent, "predict", predict)
    assert float((world.act(frames) != 1).mean()) == pytest.approx(evaluation.EPSILON * 2 / 3, abs=0.012)
    assert world.policy["epsilon"] == 0.05 and world.rules["repeat_first"]
    best: Any = evaluation.game_world(agent, WorldOptions(), deterministic=True)
    assert (best.act(frames) == 1).all() and "epsilon" not in best.policy


@pytest.mark.slow
def test_whole_games_are_scored_and_their_recordings_are_what_the_agent_saw() -> None:
    agent = small()
    results = foveal.evaluate(agent, episodes=2, seed=7, progress=False)
    assert len(results["train"].returns) == 2 and results.policy["epsilon"] == 0.05
    before = agent.acting_generator.get_state()
    world = world_of(agent, WorldOptions(seed=7))
    recording = world.record(TRAIN, 20, Bar(1, visible=False))
    assert torch.equal(agent.acting_generator.get_state(), before)
    again = world.record(TRAIN, 20, Bar(1, visible=False))
    assert recording.episode == again.episode
    first = next(iter(recording.sights)).observation
    assert first.shape == (4, 84, 84) and all(np.array_equal(frame, first[0]) for frame in first)
    assert float(recording.rewards.sum()) == recording.episode.total
    assert "agent steps of DQN" in recording.words.played and "5% random ones" in recording.words.acting


@pytest.mark.slow
def test_maps_are_of_the_value_of_the_action(tmp_path: Path) -> None:
    """Of the one that was taken, or on pictures of other players, as gaze is compared, of the best one."""
    agent = small("soda", encoder="sparse-fls")
    insides = agent.insides()
    assert list(insides.scalars) == ["q1"] and insides.usual == ("attention", "gradient")
    agent = small()
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 84, 84), np.uint8)
    best = agent.predict(frames, deterministic=True)[0]
    pixels = torch.from_numpy(frames).float()

    def map_of(actions: Any) -> np.ndarray[Any, Any]:
        fn = lambda image: agent.values(image, torch.as_tensor(actions))[0]  # noqa: E731
        return gradient(fn, pixels).abs().sum(1).numpy()  # type: ignore[no-any-return]

    taken = (best + 1) % 4
    np.testing.assert_allclose(agent.insides().look("gradient", list(frames), list(taken)), map_of(taken), rtol=1e-4)
    look = looks_of(agent, "dqn")["dqn (gradient)"]
    np.testing.assert_allclose(np.asarray(look(frames)), map_of(best), rtol=1e-4)
    assert not np.allclose(map_of(best), map_of(taken))


@pytest.mark.slow
def test_train_resume_evaluate_explain_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = "train atari/Breakout --learner dqn --preset debug --steps 60 --seed 4"
    assert main(command.split()) == 0
    run = Path("runs/atari-breakout-sgqn-4")
    assert f"next: foveal evaluate {run} --random, or foveal explain" in capsys.readouterr().out
    assert main(["train", "--resume", str(run), "--steps", "90"]) == 0
    assert "resumed runs/atari-breakout-sgqn-4 at agent step 60 of 90" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--episodes", "1", "--random", "--out", "scores.json"]) == 0
    out = capsys.readouterr().out
    assert "atari/breakout · sgqn on dqn" in out and "atari/breakout · random" in out
    assert json.loads(Path("scores.json").read_text())["policy"]["epsilon"] == 0.05
    assert main(["explain", str(run), "--out", "page.html", "--frames", "2"]) == 0
    page = Path("page.html").read_text()
    text = re.sub(r"base64,[^\"]*", "", page)
    assert "One whole game of sgqn, after 90 agent steps of DQN" in text and "PPO" not in text
    agent = foveal.load(run)
    assert isinstance(agent, foveal.Agent) and isinstance(agent.learner, DQN)
    pytest.importorskip("onnxruntime")
    assert agent.export(tmp_path / "policy.onnx").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "train atari/breakout --learner sac --preset debug",
            "learner 'sac' needs Box actions, and this environment",
        ),
        ("train atari/breakout --learner dqn --environment.image-size 40", "nrecognized options"),
        ("train atari/breakout --learner dqn --preset debug --training.processes", "games are played in threads"),
    ],
)
def test_mistakes(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(line.split())
    except SystemExit as exit_:  # options that there are not are the parser's business
        status = int(str(exit_.code))
    out, err = capsys.readouterr()
    assert status == 2 and message in err + out
    assert list(tmp_path.iterdir()) == []
