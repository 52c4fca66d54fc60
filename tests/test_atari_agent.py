"""Atari agents: PPO as Stable-Baselines3 computes it, resumed as if nothing had happened, scored by whole games."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("ale_py", reason="needs the extra 'atari'")
pytest.importorskip("stable_baselines3", reason="needs the extra 'atari'")

from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

import foveal
from foveal import checkpoint
from foveal.atari import evaluation
from foveal.atari.agent import AtariAgent
from foveal.atari.evaluation import random_scores
from foveal.atari.extractors import AtariFeatures
from foveal.atari.policy import PictureRollout
from foveal.atari.training import AtariCallback, AtariTrainer, _ppo
from foveal.atari.vector import AtariVecEnv
from foveal.cli import main
from foveal.errors import FovealError
from foveal.results import Results
from foveal.training.run_folder import read_records
from small_env import differing

STEPS = 32  # of one update in the debug preset


def small(**more: Any) -> AtariAgent:
    return AtariAgent("atari/breakout", "nature", "debug", training={"precision": "float32"}, **more)


# --- the mathematics --------------------------------------------------------------------------------------------------


def act_randomly(ppo: Any, random: np.random.Generator) -> None:
    """Let the policy's forward pass take random actions: a fresh policy's are too much alike."""
    evaluate = ppo.policy.evaluate_actions

    def forward(obs: torch.Tensor, deterministic: bool = False) -> Any:
        actions = torch.from_numpy(random.integers(4, size=len(obs)))
        values, log_probabilities, _ = evaluate(obs, actions)
        return actions, values, log_probabilities

    ppo.policy.forward = forward


@pytest.mark.slow
def test_updates_are_those_of_stable_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our policy and rollout memory in SB3's PPO, against SB3's own: same games, same minibatches, same weights."""
    agent = small(ppo={"environments": 4, "rollout": 64, "minibatches": 2, "epochs": 2, "learning_rate": 1e-3})
    envs = [AtariVecEnv("atari/breakout", 4, seed=0) for _ in range(2)]
    ours = _ppo(agent, envs[0])
    with torch.random.fork_rng():
        theirs = PPO(
            "CnnPolicy",
            envs[1],
            learning_rate=lambda left: left * 1e-3,
            n_steps=64,
            batch_size=128,
            n_epochs=2,
            clip_range=lambda left: left * 0.1,
            clip_range_vf=lambda left: left * 0.1,
            ent_coef=0.01,
            policy_kwargs={"net_arch": [], "features_extractor_class": AtariFeatures},
            device="cpu",
        )
    theirs.set_logger(Logger(None, []))
    start = {name: weight.clone() for name, weight in agent.policy.state_dict().items()}
    theirs.policy.load_state_dict(start)
    orders: list[np.ndarray[Any, Any]] = []
    plain = torch.randperm

    def noted(size: int, **options: Any) -> torch.Tensor:
        order = plain(size, **options)
        step, game = order.numpy() // 4, order.numpy() % 4
        orders.append(game * 64 + step)  # SB3 counts its steps game by game
        return order

    monkeypatch.setattr(torch, "randperm", noted)
    monkeypatch.setattr(np.random, "permutation", lambda size: orders.pop(0))
    for ppo, env in ((ours, envs[0]), (theirs, envs[1])):
        _, callback = ppo._setup_learn(512, None)
        act_randomly(ppo, np.random.default_rng(5))
        ppo.collect_rollouts(env, callback, ppo.rollout_buffer, 64)
        ppo._update_current_progress_remaining(256, 512)
        ppo.train()
        assert ppo.policy.optimizer.param_groups[0]["lr"] == 0.5e-3
        assert ppo.rollout_buffer.rewards.sum() > 0 and ppo.rollout_buffer.episode_starts.sum() > 4
    assert not orders
    for name, weight in theirs.policy.state_dict().items():
        torch.testing.assert_close(ours.policy.state_dict()[name], weight, rtol=1e-3, atol=2e-5)
        assert not torch.allclose(weight, start[name], rtol=1e-3, atol=2e-5), name


@pytest.mark.slow
def test_the_rollout_memory_holds_what_happened() -> None:
    agent = small(ppo={"environments": 2, "rollout": 8, "minibatches": 2})
    env = AtariVecEnv("atari/breakout", 2, seed=0)
    ppo = _ppo(agent, env)
    _, callback = ppo._setup_learn(16, None)
    assert isinstance(ppo.rollout_buffer, PictureRollout)
    ppo.collect_rollouts(env, callback, ppo.rollout_buffer, 8)
    parts = list(ppo.rollout_buffer.get(8))
    assert [len(part.actions) for part in parts] == [8, 8]
    found = torch.cat([part.old_values for part in parts])
    held = torch.from_numpy(ppo.rollout_buffer.values).flatten()
    torch.testing.assert_close(found.sort()[0], held.sort()[0], rtol=0, atol=0)
    for part in parts:  # pictures and actions stay beside their values
        with torch.no_grad():
            values, log_probabilities, _ = agent.policy.evaluate_actions(part.observations, part.actions)
        torch.testing.assert_close(values[:, 0], part.old_values, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(log_probabilities, part.old_log_prob, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_rates_decay_to_zero() -> None:
    seen = []

    class Note(AtariCallback):
        def on_update(self, trainer: AtariTrainer) -> None:
            seen.append((trainer.metrics["train/learning_rate"], trainer.metrics["train/clip_range"]))
            assert trainer.metrics["train/clip_range_vf"] == trainer.metrics["train/clip_range"]

    small().learn(4 * STEPS, callbacks=[Note()], progress=False)
    np.testing.assert_allclose(seen, [(2.5e-4 * left, 0.1 * left) for left in (1, 0.75, 0.5, 0.25)])
    seen.clear()
    agent = small().learn(40, callbacks=[Note()], progress=False)  # 1.25 rollouts, so 2, the second beyond the target
    assert agent.steps == 2 * STEPS
    np.testing.assert_allclose(seen, [(2.5e-4 * left, 0.1 * left) for left in (1, 0.2)])


@pytest.mark.slow
def test_the_bar_ends_where_training_does(capsys: pytest.CaptureFixture[str]) -> None:
    small().learn(40, progress=True)
    assert "100%" in (shown := capsys.readouterr().err) and f"{2 * STEPS}/{2 * STEPS}" in shown


@pytest.mark.slow
def test_a_game_that_is_cut_off_counts_what_was_still_to_come() -> None:
    """At the time limit Stable-Baselines3 adds the discounted value of the last observation to the reward."""
    agent = small(ppo={"environments": 1, "rollout": 64, "minibatches": 2, "life_loss": False})
    env = AtariVecEnv("atari/breakout", 1, seed=0, life_loss=False, frame_limit=120)
    ppo = _ppo(agent, env)
    with torch.no_grad():
        agent.policy.value_net.bias.fill_(10.0)
    infos: list[Any] = []
    rewards: list[float] = []
    step = env.step_wait

    def noting() -> Any:
        found = step()
        rewards.append(float(found[1][0]))
        infos.append(found[3][0])
        return found

    env.step_wait = noting  # type: ignore[method-assign]
    _, callback = ppo._setup_learn(64, None)
    ppo.collect_rollouts(env, callback, ppo.rollout_buffer, 64)
    cut = [index for index, info in enumerate(infos) if info.get("TimeLimit.truncated")]
    assert cut
    expected = np.array(rewards)
    for index in cut:
        last = torch.from_numpy(infos[index]["terminal_observation"][None])
        expected[index] += 0.99 * agent.policy.predict_values(last).item()
    assert expected[cut[0]] > 5
    np.testing.assert_allclose(ppo.rollout_buffer.rewards[:, 0], expected, rtol=1e-4)


def test_sizes_and_hyperparameters_are_the_published_ones() -> None:
    agent = AtariAgent("atari/breakout", "nature")
    assert sum(weight.numel() for weight in agent.policy.parameters()) == 1_686_693
    ppo = agent.config.ppo
    assert (ppo.environments, ppo.rollout, ppo.minibatches, ppo.epochs, ppo.batch_size) == (8, 128, 4, 4, 256)
    assert (ppo.discount, ppo.gae_lambda, ppo.entropy, ppo.value) == (0.99, 0.95, 0.01, 0.5)
    assert (ppo.gradient_norm, ppo.learning_rate, ppo.clip, ppo.clip_values) == (0.5, 2.5e-4, 0.1, True)


# --- acting -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frames() -> Any:
    env = AtariVecEnv("atari/breakout", 3, seed=0)
    env.reset()
    for _ in range(10):
        env.step(np.array([2, 3, 1]))
    return env.observation


@pytest.mark.slow
def test_predict(frames: Any) -> None:
    agent = small()
    actions, state = agent.predict(frames, deterministic=True)
    assert actions.shape == (3,) and actions.dtype == np.int64 and state is None
    assert agent.predict(frames[1], deterministic=True)[0] == actions[1]
    drawn = np.stack([agent.predict(frames)[0] for _ in range(60)])
    assert set(drawn.ravel()) == {0, 1, 2, 3}
    again = small()
    np.testing.assert_array_equal([again.predict(frames)[0] for _ in range(60)], drawn)


@pytest.mark.parametrize("wrong", [np.zeros((4, 84, 84)), np.zeros((84, 84, 4), np.uint8), np.zeros((4, 84), np.uint8)])
@pytest.mark.slow
def test_predict_refuses_other_frames(wrong: Any) -> None:
    with pytest.raises(FovealError, match=r"expected uint8 frames of shape \(4, 84, 84\)"):
        small().predict(wrong)


def test_values_have_a_graph_to_the_pixels(frames: Any) -> None:
    agent = small()
    pixels = torch.from_numpy(frames).float().requires_grad_()
    values = agent.values(pixels)
    values.sum().backward()
    assert values.shape == (3,) and pixels.grad is not None and bool((pixels.grad != 0).any(3).any(2).any(1).all())
    with torch.no_grad():
        torch.testing.assert_close(agent.policy.predict_values(torch.from_numpy(frames))[:, 0], values.detach())


@pytest.mark.bfloat16
def test_convolutions_in_bfloat16_are_close(frames: Any) -> None:
    halves = AtariAgent("atari/breakout", "nature", training={"precision": "bfloat16"})
    whole = AtariAgent("atari/breakout", "nature", training={"precision": "float32"})
    with torch.no_grad():
        one, other = (agent.policy.extract_features(torch.from_numpy(frames)) for agent in (halves, whole))
    assert one.dtype == torch.float32 and not one.equal(other)
    assert (one - other).abs().max() < 0.02 * other.abs().max()


def test_a_network_without_attention_says_so(frames: Any) -> None:
    with pytest.raises(FovealError, match="the encoder 'nature' has no attention"):
        small().attention(frames)


# --- scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_scores_are_of_whole_games(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "SIDE_BY_SIDE", 2)
    results = small().scores(3, seed=5, progress=False)
    assert [episode.index for episode in results["train"].episodes] == [0, 1, 0]
    assert results.policy["method"] == "nature" and results.environment["id"] == "atari/breakout"
    alone = foveal.evaluate(small(), episodes=1, seed=5, progress=False)
    assert alone["train"].returns.tolist() == small().scores(1, seed=5, progress=False)["train"].returns.tolist()

    env = AtariVecEnv("atari/breakout", 2, seed=5)
    env.reset()
    agent, scores = small(), ([], [])  # type: ignore[var-annotated]
    while len(scores[0]) < 2 or len(scores[1]) < 1:
        infos = env.step(agent.predict(env.observation)[0])[3]
        for game, info in zip(scores, infos, strict=True):
            game.extend([info["episode"]["r"]] if "episode" in info else [])
    assert results["train"].returns.tolist() == [*scores[0][:2], scores[1][0]]


@pytest.mark.slow
def test_scores_of_chance() -> None:
    results = random_scores("atari/Breakout", 2, seed=1, progress=False)
    assert len(results["train"].returns) == 2 and results.policy == {"name": "random"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "color_hard"}, "scores of atari/breakout are taken on 'train' alone"),
        ({"quality": "fast"}, "scores of atari/breakout are taken on 'train' alone"),
        ({"episodes": 0}, "episodes must be at least 1, not 0"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_bad_evaluations(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        foveal.evaluate(small(), **options)


# --- on disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_save_and_load(tmp_path: Path, frames: Any) -> None:
    agent = small(seed=2).learn(STEPS, progress=False)
    agent.save(tmp_path / "agent")
    names = {path.name for path in (tmp_path / "agent").iterdir()}
    assert names == {"manifest.json", "state.json", "tensors.safetensors"}
    loaded = foveal.load(tmp_path / "agent")
    assert isinstance(loaded, AtariAgent)
    assert loaded.config == agent.config and (loaded.steps, loaded.updates) == (agent.steps, agent.updates)
    drawn = [agent.predict(frames)[0].tolist() for _ in range(20)]
    assert [loaded.predict(frames)[0].tolist() for _ in range(20)] == drawn
    for one in (agent, loaded):
        one.learn(STEPS, progress=False)
    assert differing(agent.state()[0], loaded.state()[0]) == []

    agent.save(tmp_path / "small", policy_only=True)
    sizes = [(tmp_path / name / "tensors.safetensors").stat().st_size for name in ("agent", "small")]
    assert 2.9 < sizes[0] / sizes[1] < 3.1
    wanted = agent.predict(frames, deterministic=True)[0].tolist()
    assert foveal.load(tmp_path / "small").predict(frames, deterministic=True)[0].tolist() == wanted


def test_weights_of_another_network_are_refused() -> None:
    agent = small()
    tensors, state = agent.state()
    tensors["policy/action_net.weight"] = torch.zeros(5, 512)
    with pytest.raises(FovealError, match=r"do not fit the network of their configuration: size mismatch for action_"):
        small().load_state(tensors, state)


# --- stopping and going on --------------------------------------------------------------------------------------------


class StopAfter(AtariCallback):
    """Ends training, as a kill after a checkpoint would."""

    def __init__(self, updates: int) -> None:
        self.left = updates

    def on_update(self, trainer: AtariTrainer) -> bool:
        self.left -= 1
        return self.left > 0


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = small(seed=3)
    whole.learn(16 * STEPS, tmp_path / "whole", progress=False)

    cut = small(seed=3)
    trainer = AtariTrainer(cut, run=tmp_path / "cut", callbacks=[StopAfter(9)], progress=False)
    trainer.train(16 * STEPS)
    assert cut.steps == 9 * STEPS
    torch.manual_seed(99)  # another process has other global generators
    np.random.seed(99)  # noqa: NPY002
    resumed = AtariTrainer.resume(tmp_path / "cut", progress=False)
    resumed.train()

    assert resumed.agent.steps == whole.steps == 16 * STEPS
    tensors, state = whole.state()
    others, other = resumed.agent.state()
    assert differing(tensors, others) == [] and state == other
    first, second = (
        checkpoint.load(tmp_path / run / "checkpoints" / f"{16 * STEPS:09d}", kind="foveal.atari")
        for run in ("whole", "cut")
    )
    assert differing(first.tensors, second.tensors) == [] and first.state == second.state
    episodes = read_records(tmp_path / "whole" / "episodes.jsonl")
    assert episodes == read_records(tmp_path / "cut" / "episodes.jsonl") and len(episodes) >= 2


@pytest.mark.slow
def test_games_that_can_not_be_brought_back_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small().learn(2 * STEPS, tmp_path / "run", progress=False)
    lost = AtariVecEnv.load_state

    def another_emulator(env: AtariVecEnv, state: Any) -> bool:
        return lost(env, state | {"stacks": state["stacks"] + 1})

    monkeypatch.setattr(AtariVecEnv, "load_state", another_emulator)
    trainer = AtariTrainer.resume(tmp_path / "run", progress=False)
    assert "plays the saved games differently: they start again" in capsys.readouterr().out
    trainer.train(STEPS)
    assert trainer.agent.steps == 3 * STEPS


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_learnt(tmp_path: Path) -> None:
    class Press(AtariCallback):
        def on_update(self, trainer: AtariTrainer) -> None:
            if trainer.agent.steps == 2 * STEPS:
                signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # some shells start tests with it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            small().learn(5 * STEPS, tmp_path / "run", callbacks=[Press()], progress=False)
    finally:
        signal.signal(signal.SIGINT, before)
    trainer = AtariTrainer.resume(tmp_path / "run", progress=False)
    assert (trainer.agent.steps, trainer.target) == (2 * STEPS, 5 * STEPS)
    trainer.train()
    assert trainer.agent.steps == 5 * STEPS
    with pytest.raises(FovealError, match="this trainer has trained already"):
        trainer.train(1)
    with pytest.raises(FovealError, match="training takes at least 1 more agent step, not 0"):
        trainer.agent.learn(0)


@pytest.mark.slow
def test_weights_that_break_are_never_saved(tmp_path: Path) -> None:
    agent = small(ppo={"learning_rate": 1e30})
    with pytest.raises(
        FovealError, match=r"is not finite at agent step 32; training stopped, nothing was saved before"
    ):
        agent.learn(5 * STEPS, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_evaluations_leave_training_as_it_was(tmp_path: Path) -> None:
    watched = small().learn(2 * STEPS, tmp_path / "run", progress=False, evaluate_every=STEPS, evaluate_episodes=1)
    alone = small().learn(2 * STEPS, progress=False)
    assert differing(watched.state()[0], alone.state()[0]) == []
    records = read_records(tmp_path / "run" / "evaluations.jsonl")
    assert [record["step"] for record in records] == [STEPS, 2 * STEPS]
    assert Results.from_dict(records[0]).policy["steps"] == STEPS
    assert checkpoint.load(tmp_path / "run" / "best", kind="foveal.atari").state["steps"] in (STEPS, 2 * STEPS)


# --- the command line -------------------------------------------------------------------------------------------------

TRAIN = "train --preset debug atari/Breakout --encoder nature"


@pytest.mark.slow
def test_train_resume_evaluate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(f"{TRAIN} --steps 33 --ppo.clip 0.2 --seed 4 --checkpoint-every 32".split()) == 0
    told = capsys.readouterr().out
    assert "next: foveal evaluate runs/atari-breakout-nature-4 --random, or foveal explain" in told
    run = Path("runs/atari-breakout-nature-4")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["learner"], config["steps"], config["ppo"]["clip"]) == ("ppo", 33, 0.2)
    assert list((run / "tensorboard").iterdir())
    assert main(["train", "--resume", str(run), "--steps", "96"]) == 0
    assert "resumed runs/atari-breakout-nature-4 at agent step 64 of 96" in capsys.readouterr().out
    assert foveal.load(run).steps == 96
    assert main(["evaluate", str(run), "--episodes", "2", "--random", "--out", "scores.json"]) == 0
    out = capsys.readouterr().out
    assert "atari/breakout · nature on ppo, 3 updates" in out and "atari/breakout · random" in out
    assert len(Results.load("scores.json")["train"].returns) == 2

    assert main(["train", "--config", str(run / "config.yaml"), "--steps", "64", "--out", "again"]) == 0
    again = foveal.load("again")
    assert again.config == foveal.load(run).config and again.steps == 64


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train atari/brekout", "unknown Atari game 'brekout': did you mean 'breakout'"),
        ("train --preset debug atari/brekout", "unknown Atari game 'brekout': did you mean 'breakout'"),
        ("train atari/breakout --learner sac", "atari/breakout is trained by learner 'ppo', not 'sac'"),
        ("train dmc/walker-walk --learner ppo", "learner 'ppo' trains Atari agents, e.g. foveal train atari/breakout"),
        ("train atari/breakout --preset papr", "unknown preset 'papr': did you mean 'paper'?"),
        ("train atari/breakout --encoder natur", "unknown Atari encoder 'natur': did you mean 'nature'?"),
        ("train atari/breakout --encoder fls", "did you mean 'dense-fls' or 'sparse-fls' or"),
        ("train atari/joust", "the Atari game 'joust' needs two players"),
        ("train pong", "Atari games are called atari/...: foveal train atari/pong, instead of pong"),
        ("train ALE/MsPacman-v5", "foveal train atari/ms_pacman, instead of ALE/MsPacman-v5"),
        ("train BreakoutNoFrameskip-v4 --steps 9", "foveal train atari/breakout, instead of BreakoutNoFrameskip-v4"),
        ("train atari/breakout --ppo.minibatches 3", "ppo.minibatches is 3: it must divide environments * rollout"),
        ("train atari/breakout --ppo.epochs 0", "ppo.epochs must be at least 1, not 0"),
        ("train atari/breakout --steps 0", "--steps must be at least 1, not 0"),
        ("train atari/breakout --seed -1", "seed must be a whole number of at least 0, not -1"),
        ("train atari/breakout --training.precision half", "training.precision is 'half': choose one of: auto"),
        ("train atari/breakout --config method.yaml", "unknown section 'method'"),
        ("evaluate AGENT --on color_hard", "scores of atari/breakout are taken on 'train' alone"),
        ("explain AGENT --on color_hard", "atari/breakout is explained on 'train' alone"),
        ("explain AGENT --quantile 0.9", "atari/breakout is explained on 'train' alone"),
        ("explain AGENT --saliency attention", "the encoder 'nature' has no attention"),
        ("explain AGENT --saliency gradients", "unknown saliency map 'gradients': did you mean 'gradient'?"),
        ("explain AGENT --saliency gradient gradient", "the saliency map 'gradient' is named twice"),
        ("explain AGENT --video game.avi", "a film is an mp4 file: call it game.mp4, not game.avi"),
        ("explain AGENT --seed -1", "seed must not be negative, and it is -1"),
    ],
)
def test_mistakes(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "method.yaml").write_text("method: sgqn\n")
    if "AGENT" in line:
        small().save("AGENT", policy_only=True)
    before = sorted(tmp_path.rglob("*"))
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("foveal: error: ") and message in err
    assert sorted(tmp_path.rglob("*")) == before
