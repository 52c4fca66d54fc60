"""Atari agents: PPO as Stable-Baselines3 computes it too, resumed as if nothing had happened, scored by whole games."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("ale_py", reason="needs the extra 'atari'")

import foveal
from foveal import checkpoint
from foveal.atari import evaluation
from foveal.atari.evaluation import random_scores
from foveal.atari.training import RUN
from foveal.atari.vector import AtariVector, finished_games
from foveal.cli import main
from foveal.config.tree import config_from_dict
from foveal.errors import FovealError
from foveal.evaluation.results import Results
from foveal.training import Callback, Trainer
from foveal.training.run_folder import read_records
from small_env import differing

STEPS = 32  # of one update in the debug preset


def small(games: int = 2, **more: Any) -> foveal.Agent:
    training = {"precision": "float32", "environments": games}
    return foveal.Agent("atari/breakout", preset="debug", encoder="nature", training=training, **more)


# --- the mathematics --------------------------------------------------------------------------------------------------


def stable_baselines(env: Any, **more: Any) -> Any:
    """Stable-Baselines3's PPO with the network of Mnih et al., as foveal's Atari agents were trained before."""
    pytest.importorskip("stable_baselines3", reason="needs the extra 'sb3'")
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import Logger

    from foveal.atari.extractors import AtariFeatures

    with torch.random.fork_rng():
        ppo = PPO(
            "CnnPolicy",
            env,
            learning_rate=lambda left: left * 1e-3,
            n_steps=64,
            batch_size=128,
            n_epochs=2,
            clip_range=lambda left: left * 0.1,
            clip_range_vf=lambda left: left * 0.1,
            ent_coef=0.01,
            policy_kwargs={"net_arch": [], "features_extractor_class": AtariFeatures},
            device="cpu",
            **more,
        )
    ppo.set_logger(Logger(None, []))
    return ppo


def stable_baselines_games(count: int) -> Any:
    pytest.importorskip("stable_baselines3", reason="needs the extra 'sb3'")
    from foveal.atari.sb3 import AtariVecEnv

    return AtariVecEnv("atari/breakout", count, seed=0)


def former_names(agent: foveal.Agent) -> dict[str, torch.Tensor]:
    """Its weights as Stable-Baselines3's policy calls them."""
    former: dict[str, torch.Tensor] = {}
    for name, weight in agent.learner.policy.state_dict().items():
        if name.startswith("encoder."):
            kinds = ("features_extractor", "pi_features_extractor", "vf_features_extractor")
            former |= {f"{kind}.{name}": weight.clone() for kind in kinds}
        else:
            head = name.replace("actor.linear", "action_net").replace("critic", "value_net")
            former[head] = weight.clone()
    return former


@pytest.mark.slow
def test_updates_are_those_of_stable_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its value loss, PPO and SB3's come to the same weights: same games, same actions, same minibatches."""
    agent = small(
        4,
        ppo={
            "rollout": 64,
            "minibatches": 2,
            "epochs": 2,
            "learning_rate": 1e-3,
            "value_loss": "clipped",
        },
    )
    theirs = stable_baselines(stable_baselines_games(4))
    start = former_names(agent)
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

    def randomly(seed: int) -> Any:  # a fresh policy's actions are too much alike
        random = np.random.default_rng(seed)
        return lambda count: torch.from_numpy(random.integers(4, size=count))

    ours, draw = agent.updater, randomly(5)
    head = agent.learner.policy.actor

    def sample(features: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        actions = draw(len(features))
        return actions, head.evaluate(features, actions)[0]

    monkeypatch.setattr(head, "sample", sample)
    ours.steps, ours.total = 256, 512
    rollout = ours.collect(AtariVector("atari/breakout", 4, seed=0))
    ours.update()
    assert ours.optimizer.param_groups[0]["lr"] == 0.5e-3
    assert rollout.rewards.sum() > 0 and rollout.terminations.sum() > 4

    evaluate, draw_theirs = theirs.policy.evaluate_actions, randomly(5)

    def forward(obs: torch.Tensor, deterministic: bool = False) -> Any:
        actions = draw_theirs(len(obs))
        values, log_probabilities, _ = evaluate(obs, actions)
        return actions, values, log_probabilities

    theirs.policy.forward = forward
    _, callback = theirs._setup_learn(512, None)
    theirs.collect_rollouts(theirs.env, callback, theirs.rollout_buffer, 64)
    theirs._update_current_progress_remaining(256, 512)
    theirs.train()
    assert not orders
    found = former_names(agent)
    for name, weight in theirs.policy.state_dict().items():
        torch.testing.assert_close(found[name], weight, rtol=1e-3, atol=2e-5)
        assert not torch.allclose(weight, start[name], rtol=1e-3, atol=2e-5), name


@pytest.mark.slow
def test_pictures_stay_beside_what_was_done() -> None:
    agent = small(ppo={"rollout": 8, "minibatches": 2})
    rollout = agent.updater.collect(AtariVector("atari/breakout", 2, seed=0))
    assert rollout.seen.dtype == torch.uint8
    for rows in torch.arange(16).split(8):
        part = rollout.take(rows)
        assert part.seen.is_contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            features = agent.learner.policy.features(part.seen)
            log_probabilities, _ = agent.learner.policy.actor.evaluate(features, part.actions)
            torch.testing.assert_close(agent.learner.policy.value(features), part.values, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(log_probabilities, part.log_probs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_rates_decay_to_zero() -> None:
    seen = []

    class Note(Callback):
        def on_step(self, trainer: Trainer) -> None:
            seen.append((trainer.work.metrics()["train/learning_rate"], trainer.work.metrics()["train/clip_range"]))

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


@pytest.mark.parametrize("bootstrap", [True, False])
@pytest.mark.slow
def test_a_game_that_is_cut_off_counts_what_was_still_to_come(bootstrap: bool) -> None:
    """At the time limit, the discounted value of the last observation is added to the reward."""
    agent = small(1, ppo={"rollout": 64, "minibatches": 2, "bootstrap_timeouts": bootstrap})
    with torch.no_grad():
        agent.learner.policy.critic.bias.fill_(10.0)
    finals: list[Any] = []
    env = AtariVector("atari/breakout", 1, seed=0, life_loss=False, frame_limit=120)
    rollout = agent.updater.collect(env, lambda infos: finals.append(infos.get("final_obs", [None])[0]))
    cut = np.flatnonzero(rollout.truncations[:, 0])
    assert len(cut) and not rollout.terminations[cut].any()
    for index in cut:
        expected = rollout.rewards[index, 0]
        if bootstrap:
            expected += 0.99 * agent.learner.policy.values(torch.from_numpy(finals[index][None])).item()
        assert (expected > 5) == bootstrap
        assert rollout.returns[index, 0].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_sizes_and_hyperparameters_are_the_published_ones() -> None:
    agent = foveal.Agent("atari/breakout", encoder="nature")
    assert sum(weight.numel() for weight in agent.learner.policy.parameters()) == 1_686_693
    ppo = agent.config.learner_config
    assert (agent.config.training.environments, ppo.rollout, ppo.minibatches, ppo.epochs) == (8, 128, 4, 4)
    assert (ppo.discount, ppo.gae_lambda, ppo.entropy, ppo.value) == (0.99, 0.95, 0.01, 0.5)
    assert (ppo.gradient_norm, ppo.learning_rate, ppo.clip, ppo.value_loss) == (0.5, 2.5e-4, 0.1, "baselines")
    assert (ppo.decay_clip, ppo.decay_learning_rate, ppo.normalise_advantages) == (True, True, "minibatch")
    assert (ppo.bootstrap_timeouts, ppo.adam_epsilon, agent.config.training.precision) == (False, 1e-5, "float32")


def plain_losses(minibatch: dict[str, Any], clip: float) -> tuple[float, float]:
    """OpenAI baselines' losses of the policy and of the value, written down plainly, in NumPy; (B,) each."""
    advantages = minibatch["returns"] - minibatch["old_values"]
    advantages = (advantages - advantages.mean()) / (advantages.std(ddof=1) + 1e-8)
    moved = minibatch["old_values"] + np.clip(minibatch["values"] - minibatch["old_values"], -clip, clip)
    worse = np.maximum((minibatch["values"] - minibatch["returns"]) ** 2, (moved - minibatch["returns"]) ** 2)
    ratio = np.exp(minibatch["log_probs"] - minibatch["old_log_probs"])
    policy = np.maximum(-advantages * ratio, -advantages * np.clip(ratio, 1 - clip, 1 + clip))
    return float(policy.mean()), float(0.5 * worse.mean())


@pytest.mark.slow
def test_the_loss_of_the_published_preset_is_that_of_openai_baselines() -> None:
    """One minibatch of the preset as it is, with values that have drifted, against a plain transcription."""
    agent = foveal.Agent("atari/breakout", encoder="nature", ppo={"minibatches": 1, "epochs": 1, "rollout": 16})
    ppo, policy = agent.updater, agent.learner.policy
    rollout = ppo.collect(AtariVector("atari/breakout", 8, seed=0))
    with torch.no_grad():
        policy.critic.bias.add_(0.3)  # beyond the clip range
        policy.actor.linear.weight.mul_(40)
        features = policy.features(rollout.seen.flatten(0, 1))
        log_probs, entropy = policy.actor.evaluate(features, rollout.actions.flatten())
        held = {
            "values": policy.value(features),
            "old_values": rollout.values.flatten(),
            "returns": rollout.returns.flatten(),
            "log_probs": log_probs,
            "old_log_probs": rollout.log_probs.flatten(),
        }
    of_policy, of_value = plain_losses({name: tensor.double().numpy() for name, tensor in held.items()}, 0.1)
    told = {name: float(value) for name, value in ppo.update().items()}
    assert told["train/policy_gradient_loss"] == pytest.approx(of_policy, rel=1e-3, abs=1e-6)
    assert told["train/value_loss"] == pytest.approx(of_value, rel=1e-4)
    whole = of_policy + 0.5 * of_value - 0.01 * float(entropy.mean())
    assert told["train/loss"] == pytest.approx(whole, rel=1e-3)


# --- acting -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frames() -> Any:
    env = AtariVector("atari/breakout", 3, seed=0)
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
    with pytest.raises(FovealError, match=r"expected an observation of (shape \(4, 84, 84\)|uint8)"):
        small().predict(wrong)


@pytest.mark.slow
def test_values_have_a_graph_to_the_pixels(frames: Any) -> None:
    agent = small()
    pixels = torch.from_numpy(frames).float().requires_grad_()
    values = agent.values(pixels)[0]
    values.sum().backward()
    assert values.shape == (3,) and pixels.grad is not None and bool((pixels.grad != 0).any(3).any(2).any(1).all())
    with torch.no_grad():
        torch.testing.assert_close(agent.learner.policy.values(torch.from_numpy(frames)), values.detach())


@pytest.mark.bfloat16
def test_convolutions_in_bfloat16_are_close(frames: Any) -> None:
    halves = foveal.Agent("atari/breakout", encoder="nature", training={"precision": "bfloat16"})
    whole = foveal.Agent("atari/breakout", encoder="nature", training={"precision": "float32"})
    with torch.no_grad():
        one, other = (agent.learner.policy.features(torch.from_numpy(frames)) for agent in (halves, whole))
    assert one.dtype == torch.float32 and not one.equal(other)
    assert (one - other).abs().max() < 0.02 * other.abs().max()


@pytest.mark.slow
def test_a_network_without_attention_says_so(frames: Any) -> None:
    with pytest.raises(FovealError, match="the encoder 'nature' has no attention module inside: explain"):
        small().attention(frames)


# --- scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_scores_are_of_whole_games(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "SIDE_BY_SIDE", 2)
    results = evaluation.evaluate(small(), 3, seed=5, progress=False)
    assert [episode.index for episode in results["train"].episodes] == [0, 1, 0]
    assert results.policy["method"] == "nature" and results.environment["id"] == "atari/breakout"
    alone = foveal.evaluate(small(), episodes=1, seed=5, progress=False)
    assert (
        alone["train"].returns.tolist()
        == evaluation.evaluate(small(), 1, seed=5, progress=False)["train"].returns.tolist()
    )

    env = AtariVector("atari/breakout", 2, seed=5)
    env.reset()
    agent, scores = small(), ([], [])  # type: ignore[var-annotated]
    while len(scores[0]) < 2 or len(scores[1]) < 1:
        for index, score, _ in finished_games(env.step(agent.predict(env.observation)[0])[4]):
            scores[index].append(score)
    assert results["train"].returns.tolist() == [*scores[0][:2], scores[1][0]]


@pytest.mark.slow
def test_scores_of_chance() -> None:
    results = random_scores("atari/Breakout", 2, seed=1, progress=False)
    assert len(results["train"].returns) == 2 and results.policy == {"name": "random"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "color_hard"}, "unknown condition 'color_hard': choose one of: train"),
        ({"quality": "fast"}, "quality means nothing for atari/breakout: leave it out"),
        ({"adapt": True}, "adapt means nothing for atari/breakout: leave it out"),
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
    assert isinstance(loaded, foveal.Agent)
    assert loaded.config == agent.config and (loaded.steps, loaded.updates) == (agent.steps, agent.updates)
    drawn = [agent.predict(frames)[0].tolist() for _ in range(20)]
    assert [loaded.predict(frames)[0].tolist() for _ in range(20)] == drawn
    for one in (agent, loaded):
        one.learn(STEPS, progress=False)
    assert differing(agent.state()[0], loaded.state()[0]) == []

    agent.save(tmp_path / "small", policy_only=True)
    sizes = [(tmp_path / name / "tensors.safetensors").stat().st_size for name in ("agent", "small")]
    assert 5.8 < sizes[0] / sizes[1] < 6.2  # Adam's moments, and half of the precision
    wanted = agent.predict(frames, deterministic=True)[0].tolist()
    assert foveal.load(tmp_path / "small").predict(frames, deterministic=True)[0].tolist() == wanted


@pytest.mark.slow
def test_weights_of_another_network_are_refused() -> None:
    agent = small()
    tensors, state = agent.state()
    tensors["learner/policy.actor.linear.weight"] = torch.zeros(5, 512)
    with pytest.raises(FovealError, match=r"do not fit the networks of their .*: size mismatch for policy\.actor\."):
        small().load_state(tensors, state)


def former_config(agent: foveal.Agent) -> dict[str, Any]:
    """Its configuration in the words of earlier versions."""
    today = agent.config.as_dict()
    games = {"environments": today["training"]["environments"], "life_loss": today["environment"]["life_loss"]}
    ppo = {name: value for name, value in today["ppo"].items() if name != "encoder"} | games
    return {
        "env": today["env"],
        "learner": "ppo",
        "encoder": today["ppo"]["encoder"]["name"],
        "preset": today["preset"],
        "seed": today["seed"],
        "training": {"precision": "float32", "device": "auto"},
        "ppo": ppo,
    }


def former_state(tensors: dict[str, torch.Tensor], state: dict[str, Any], config: dict[str, Any]) -> Any:
    """A checkpoint of an agent as the version before Atari agents were like all others wrote it."""
    former = (("learner/policy.", "policy/"), ("optimizers/ppo/", "optimizer/"))
    names = {name: next((b + name[len(a) :] for a, b in former if name.startswith(a)), name) for name in tensors}
    policy = {
        name.removeprefix("policy."): {"$tensor": names[entry["$tensor"]]}
        for name, entry in state["networks"]["learner"].items()
    }
    held = {
        "config": config,
        "actions": state["shapes"]["action"]["discrete"],
        **{name: state[name] for name in ("device", "steps", "updates")},
        "networks": {"policy": policy, "generators": state["networks"]["generators"]},
        "optimizer": state["optimizers"].get("ppo", {}),
    }
    return {names[name]: value for name, value in tensors.items()}, held


@pytest.mark.slow
def test_agents_of_earlier_versions_are_loaded_and_their_runs_resumed(tmp_path: Path) -> None:
    agent = small(seed=4).learn(4 * STEPS, tmp_path / "run", progress=False, checkpoint_every=2 * STEPS)
    tensors, state = former_state(*agent.state(), former_config(agent))
    assert "policy/encoder.linear.weight" in tensors and "optimizer/state/0/exp_avg" in tensors
    checkpoint.save(tmp_path / "agent", tensors, state, kind="foveal.atari")
    loaded = foveal.load(tmp_path / "agent")
    assert isinstance(loaded, foveal.Agent) and loaded.config.learner_config == agent.config.learner_config
    assert differing(agent.state()[0], loaded.state()[0]) == [] and loaded.steps == 4 * STEPS

    half_way = tmp_path / "run" / "checkpoints" / f"{2 * STEPS:09d}"
    held = checkpoint.load(half_way, kind="foveal.agent")
    run = {name: value for name, value in held.tensors.items() if name.startswith("run/")}
    own = {name: value for name, value in held.tensors.items() if name not in run}
    tensors, state = former_state(own, held.state, former_config(agent))
    before = tmp_path / "before"
    checkpoint.save(
        before / "checkpoints" / half_way.name, tensors | run, {**state, "run": held.state["run"]}, kind="foveal.atari"
    )
    (before / "config.yaml").write_text(yaml.safe_dump(former_config(agent)))
    trainer = foveal.resume(before, progress=False)
    trainer.train()
    assert trainer.agent.steps == 4 * STEPS
    assert differing(agent.state()[0], trainer.agent.state()[0]) == []
    again = foveal.load(before)
    assert differing(agent.state()[0], again.state()[0]) == []  # type: ignore[union-attr]


@pytest.mark.slow
def test_agents_that_stable_baselines_trained_are_loaded(tmp_path: Path, frames: Any) -> None:
    """As versions before wrote them: its policy's weights, its Adam, and ``clip_values`` in the configuration."""
    theirs = stable_baselines(stable_baselines_games(4))
    theirs.learn(256)
    policy = theirs.policy
    aliases = ("pi_features_extractor.", "vf_features_extractor.")
    weights = {name: weight for name, weight in policy.state_dict().items() if not name.startswith(aliases)}
    generators = [torch.Generator().manual_seed(seed).get_state() for seed in (5, 6)]
    tensors, networks = checkpoint.split({"policy": weights, "generators": generators})
    held, optimizer = checkpoint.optimizer_state(policy.optimizer)
    tensors |= held
    config = former_config(small())
    known = ("rollout", "minibatches", "epochs", "learning_rate", "clip", "entropy", "environments")
    config["ppo"] = {name: config["ppo"][name] for name in known} | {"clip_values": True}
    state = {
        "config": config,
        "actions": 4,
        "device": "cpu",
        "steps": 256,
        "updates": 2,
        "networks": networks,
        "optimizer": optimizer,
    }
    checkpoint.save(tmp_path / "agent", tensors, state, kind="foveal.atari")

    agent = foveal.load(tmp_path / "agent")
    assert isinstance(agent, foveal.Agent) and (agent.steps, agent.updates) == (256, 2)
    assert agent.config.learner_config.value_loss == "clipped" and agent.acting_generator.initial_seed() == 6
    with torch.no_grad():
        wanted = policy.predict_values(torch.from_numpy(frames))[:, 0]
        torch.testing.assert_close(agent.learner.policy.values(torch.from_numpy(frames)), wanted)
    named = dict(policy.named_parameters())
    for name, weight in agent.learner.policy.named_parameters():
        former = next(old for old in former_names(agent) if _same_weight(old, name))
        theirs_held = policy.optimizer.state[named[former]]
        for moment in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(agent.updater.optimizer.state[weight][moment], theirs_held[moment])
    agent.learn(STEPS, progress=False)


def _same_weight(former: str, name: str) -> bool:
    head = name.replace("actor.linear", "action_net").replace("critic", "value_net")
    return former in (head, f"features_extractor.{name}")


@pytest.mark.slow
def test_value_losses_of_former_configurations() -> None:
    config = former_config(small())
    for clips, more, wanted in (
        (True, {"value": 0.5}, ("clipped", 0.5)),
        (False, {"value": 0.25}, ("plain", 0.5)),
        (False, {}, ("plain", 1.0)),
    ):
        ppo = config_from_dict(config | {"ppo": {"clip_values": clips, **more}}).learner_config
        assert (ppo.value_loss, ppo.value) == wanted
    read = config_from_dict(config)
    assert read == small(environment={"frame_limit": 108_000}).config and read.learner_config.value_loss == "baselines"


# --- stopping and going on --------------------------------------------------------------------------------------------


class StopAfter(Callback):
    """Ends training, as a kill after a checkpoint would."""

    def __init__(self, updates: int) -> None:
        self.left = updates

    def on_step(self, trainer: Trainer) -> bool:
        self.left -= 1
        return self.left > 0


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = small(seed=3)
    whole.learn(16 * STEPS, tmp_path / "whole", progress=False)

    cut = small(seed=3)
    trainer = Trainer(cut.work(), RUN, run=tmp_path / "cut", callbacks=[StopAfter(9)], progress=False)
    trainer.train(16 * STEPS)
    assert cut.steps == 9 * STEPS
    torch.manual_seed(99)  # another process has other global generators
    np.random.seed(99)  # noqa: NPY002
    resumed = foveal.resume(tmp_path / "cut", progress=False)
    resumed.train()

    assert resumed.agent.steps == whole.steps == 16 * STEPS
    tensors, state = whole.state()
    others, other = resumed.agent.state()
    assert differing(tensors, others) == [] and state == other
    last = f"checkpoints/{16 * STEPS:09d}"
    first, second = (checkpoint.load(tmp_path / run / last, kind="foveal.agent") for run in ("whole", "cut"))
    assert differing(first.tensors, second.tensors) == [] and first.state == second.state
    episodes = read_records(tmp_path / "whole" / "episodes.jsonl")
    assert episodes == read_records(tmp_path / "cut" / "episodes.jsonl") and len(episodes) >= 2


@pytest.mark.slow
def test_games_that_can_not_be_brought_back_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small().learn(2 * STEPS, tmp_path / "run", progress=False)
    lost = AtariVector.load_state

    def another_emulator(env: AtariVector, state: Any) -> bool:
        return lost(env, state | {"stacks": state["stacks"] + 1})

    monkeypatch.setattr(AtariVector, "load_state", another_emulator)
    trainer = foveal.resume(tmp_path / "run", progress=False)
    assert "plays the saved games differently: they start again" in capsys.readouterr().out
    trainer.train(STEPS)
    assert trainer.agent.steps == 3 * STEPS


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_learnt(tmp_path: Path) -> None:
    class Press(Callback):
        def on_step(self, trainer: Trainer) -> None:
            if trainer.agent.steps == 2 * STEPS:
                signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # some shells start tests with it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            small().learn(5 * STEPS, tmp_path / "run", callbacks=[Press()], progress=False)
    finally:
        signal.signal(signal.SIGINT, before)
    trainer = foveal.resume(tmp_path / "run", progress=False)
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
        FovealError,
        match=r"train/loss became nan at update 1, agent step 32; training stopped, nothing was saved before",
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
    assert checkpoint.load(tmp_path / "run" / "best", kind="foveal.agent").state["steps"] in (STEPS, 2 * STEPS)


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


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an agent."""
    return small().save(tmp_path_factory.mktemp("saved") / "agent", policy_only=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train atari/brekout", "unknown Atari game 'brekout': did you mean 'breakout'"),
        ("train --preset debug atari/brekout", "unknown Atari game 'brekout': did you mean 'breakout'"),
        ("train atari/breakout --learner sac", "learner 'sac' needs Box actions, and this environment has Discrete"),
        (
            "train dmc/walker-walk --learner ppo --method svea",
            "method 'svea' is composed onto value learners",
        ),
        ("train atari/breakout --preset papr", "unknown preset 'papr': did you mean 'paper'?"),
        ("train atari/breakout --encoder natur", "unknown encoder 'natur': did you mean 'nature'?"),
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
        (
            "train atari/breakout --config method.yaml",
            "method 'sgqn' is composed onto value learners",
        ),
        ("train atari/breakout --training.processes", "games are played in threads of their own, not in processes"),
        ("evaluate AGENT --on color_hard", "unknown condition 'color_hard': choose one of: train"),
        ("explain AGENT --on color_hard", "unknown condition 'color_hard': choose one of: train"),
        ("explain AGENT --quantile 0.9", "maps of atari/breakout have no masks: leave quantile out"),
        ("explain AGENT --of q1", "this agent has no scalar 'q1': choose one of: log_prob, value"),
        ("explain AGENT --skill 1", "skill means nothing for atari/breakout"),
        ("explain AGENT --saliency attention", "this agent has no attention module whose map could be shown"),
        (
            "explain AGENT --saliency gradients",
            "unknown saliency map 'gradients': did you mean 'integrated_gradients' or 'gradient'?",
        ),
        ("explain AGENT --saliency gradient gradient", "the saliency map 'gradient' is named twice"),
        ("explain AGENT --video game.avi", "a film is an mp4 file: call it game.mp4, not game.avi"),
        ("explain AGENT --seed -1", "seed must not be negative, and it is -1"),
    ],
)
def test_mistakes(
    line: str,
    message: str,
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "method.yaml").write_text("method: sgqn\n")
    before = sorted(tmp_path.rglob("*"))
    assert main(line.replace("AGENT", str(saved)).split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("foveal: error: ") and message in err
    assert sorted(tmp_path.rglob("*")) == before
