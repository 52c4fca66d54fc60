"""Every setting of an Atari agent arrives in Stable-Baselines3's PPO, in the games or in the run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("ale_py", reason="needs the extra 'atari'")
pytest.importorskip("stable_baselines3", reason="needs the extra 'atari'")

from foveal.atari import training as atari_training
from foveal.atari import training as loop
from foveal.atari.agent import AtariAgent
from foveal.atari.config import PRESETS, AtariConfig, HardwareConfig, PPOConfig, configure
from foveal.atari.training import AtariCallback, AtariRunOptions, AtariTrainer
from foveal.errors import FovealError
from foveal.results import Results
from foveal.training.run_folder import RunFolder
from wires import Room, Wire, assert_complete, cases

BREAKOUT = "atari/breakout"


def agent_with(encoder: str = "nature", env: str = BREAKOUT, seed: int = 0, **sections: Any) -> AtariAgent:
    sections = {"training": {"precision": "float32"}, **sections}
    return AtariAgent(env, encoder, "debug", seed, **sections)


def in_ppo(setting: str, read: Any, *values: Any, expected: Any = lambda value: value) -> Wire:
    """What Stable-Baselines3's PPO has of a setting."""

    def observe(room: Room, value: Any) -> Any:
        trainer = AtariTrainer(agent_with(ppo={setting: value}), progress=False)
        try:
            return read(trainer.ppo)
        finally:
            trainer.close()

    return Wire(*values, observe=observe, expected=expected)


def trained(ppo: dict[str, Any], steps: int = 1, **named: Any) -> AtariTrainer:
    trainer = AtariTrainer(agent_with(ppo=ppo), progress=False, **named)
    trainer.train(steps)
    return trainer


def gradient_norm(room: Room, value: float) -> Any:
    """To what gradients are shortened before Adam sees them, where they are longer."""
    norms: list[float] = []
    real = torch.optim.Adam.step

    def step(self: Any, *arguments: Any, **named: Any) -> Any:
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))
        return real(self, *arguments, **named)

    room.patch.setattr(torch.optim.Adam, "step", step)
    trained({"gradient_norm": value, "entropy": 100.0, "clip_values": False})
    return pytest.approx(max(norms), rel=1e-3)


def epochs(room: Room, value: int) -> int:
    """Steps of Adam that an update takes, by two minibatches."""
    steps = room.watch(torch.optim.Adam, "step")
    trained({"epochs": value})
    return len(steps) // 2


def learning_rate(room: Room, value: float) -> list[float]:
    """Adam's at the start and half way."""
    rates: list[float] = []

    class Note(AtariCallback):
        def on_update(self, trainer: AtariTrainer) -> None:
            rates.append(trainer.agent.policy.optimizer.param_groups[0]["lr"])

    trained({"learning_rate": value}, 64, callbacks=[Note()])
    return rates


PPO_WIRES = {
    "environments": in_ppo(
        "environments", lambda p: (p.n_envs, len(p.env._emulators)), 2, 4, expected=lambda n: (n, n)
    ),
    "rollout": in_ppo("rollout", lambda p: (p.n_steps, p.rollout_buffer.buffer_size), 16, 8, expected=lambda n: (n, n)),
    "minibatches": in_ppo("minibatches", lambda p: p.batch_size, 2, 4, expected=lambda n: 32 // n),
    "epochs": Wire(1, 3, observe=epochs),
    "learning_rate": Wire(2.5e-4, 1e-3, observe=learning_rate, expected=lambda r: [r, r / 2]),
    "clip": in_ppo(
        "clip",
        lambda p: (p.clip_range(1.0), p.clip_range(0.5), p.clip_range_vf(1.0)),
        0.1,
        0.3,
        expected=lambda c: (c, c / 2, c),
    ),
    "clip_values": in_ppo("clip_values", lambda p: p.clip_range_vf is not None, True, False),
    "discount": in_ppo("discount", lambda p: (p.gamma, p.rollout_buffer.gamma), 0.99, 0.9, expected=lambda g: (g, g)),
    "gae_lambda": in_ppo(
        "gae_lambda", lambda p: (p.gae_lambda, p.rollout_buffer.gae_lambda), 0.95, 0.5, expected=lambda g: (g, g)
    ),
    "entropy": in_ppo("entropy", lambda p: p.ent_coef, 0.01, 0.2),
    "value": in_ppo("value", lambda p: p.vf_coef, 0.5, 0.9),
    "gradient_norm": Wire(0.5, 0.1, observe=gradient_norm),
    "adam_epsilon": in_ppo("adam_epsilon", lambda p: p.policy.optimizer.param_groups[0]["eps"], 1e-5, 1e-3),
    "life_loss": in_ppo("life_loss", lambda p: p.env.life_loss, True, False),
}


def test_no_setting_of_ppo_is_forgotten() -> None:
    assert_complete(PPOConfig, PPO_WIRES)


@cases(PPO_WIRES)
@pytest.mark.slow
def test_settings_of_ppo_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


# --- what it runs on, and the agent -----------------------------------------------------------------------------------


def precision(room: Room, value: str) -> set[torch.dtype]:
    agent = agent_with(training={"precision": value})
    seen: list[torch.dtype] = []
    first = next(m for m in agent.policy.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    agent.values(torch.zeros(1, 4, 84, 84))
    return {agent.policy.picture_dtype, *seen}


def device(room: Room, value: str) -> str:
    try:
        agent = agent_with(training={"device": value})
    except FovealError:
        return "refused"
    return "/".join(sorted({p.device.type for p in agent.policy.parameters()} | {agent.acting.device.type}))


HARDWARE = {
    "precision": Wire("float32", "bfloat16", observe=precision, expected=lambda v: {getattr(torch, v)}),
    "device": Wire(
        "cpu", "cuda", observe=device, expected=lambda v: v if torch.cuda.is_available() or v == "cpu" else "refused"
    ),
}


def seed(room: Room, value: int) -> list[bool]:
    """Whether two agents of seeds 0 and ``value`` begin alike: weights, actions, minibatches, games."""
    one, other = agent_with(seed=0), agent_with(seed=value)
    games = [AtariTrainer(agent, progress=False) for agent in (one, other)]
    starts = [trainer.env._random.bit_generator.state["state"] for trainer in games]
    for trainer in games:
        trainer.close()
    return [
        all(torch.equal(a, b) for a, b in zip(one.policy.parameters(), other.policy.parameters(), strict=True)),
        torch.equal(one.acting.get_state(), other.acting.get_state()),
        torch.equal(one.shuffling.get_state(), other.shuffling.get_state()),
        starts[0] == starts[1],
    ]


WHOLE = {
    "env": Wire(
        BREAKOUT,
        "atari/pong",
        observe=lambda _, env: agent_with(env=env).policy.action_net.out_features,
        expected=lambda env: {BREAKOUT: 4, "atari/pong": 6}[env],
    ),
    "encoder": Wire(
        "nature", "sparse-fls", observe=lambda _, name: agent_with(name).has_attention, expected=lambda n: n != "nature"
    ),
    "preset": Wire(
        *PRESETS,
        observe=lambda _, name: configure(BREAKOUT, preset=name).ppo.rollout,
        expected=lambda name: 16 if name == "debug" else 128,
    ),
    "seed": Wire(0, 1, observe=seed, expected=lambda s: [s == 0] * 4),
}


def test_no_other_setting_is_forgotten() -> None:
    assert_complete(HardwareConfig, HARDWARE)
    sections = {"training", "ppo"}  # tables of their own
    assert set(AtariConfig.__dataclass_fields__) == set(WHOLE) | sections


@cases({**HARDWARE, **WHOLE})
@pytest.mark.slow
def test_other_settings_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


# --- the run ----------------------------------------------------------------------------------------------------------


def run(room: Room, **options: Any) -> list[int]:
    """Steps of the checkpoints of a run of 96 steps, 32 to an update."""
    folder = room.folder / "run"
    agent_with().learn(96, folder, progress=False, **options)
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def evaluations(room: Room, **options: Any) -> list[tuple[int, int]]:
    """Steps at which it was evaluated, and by how many games."""
    seen: list[tuple[int, int]] = []

    class Note(AtariCallback):
        def on_evaluation(self, trainer: AtariTrainer, results: Results) -> None:
            seen.append((trainer.agent.steps, results))  # type: ignore[arg-type]

    class Fake:
        conditions = [type("Condition", (), {"summary": {"mean": 0.0}})()]

        def __init__(self, episodes: int) -> None:
            self.episodes = episodes

    room.patch.setattr(loop, "evaluate", lambda agent, episodes, seed, progress: Fake(episodes))
    agent_with().learn(96, progress=False, callbacks=[Note()], **options)
    return [(step, results.episodes) for step, results in seen]  # type: ignore[attr-defined]


def log_every(room: Room, value: int) -> list[int]:
    calls = room.watch(RunFolder, "log_metrics")
    run(room, log_every=value)
    return [step for (_, step, _, _), _ in calls]


def adapt_threads(room: Room, value: bool) -> list[bool]:
    calls = room.watch(atari_training, "Threads")
    run(room, adapt_threads=value)
    return [named["adapt"] for _, named in calls]


RUN = {
    "evaluate_every": Wire(
        0,
        32,
        64,
        observe=lambda room, n: [step for step, _ in evaluations(room, evaluate_every=n)],
        expected=lambda n: list(range(n, 97, n)) if n else [],
    ),
    "evaluate_episodes": Wire(
        1, 4, observe=lambda room, n: evaluations(room, evaluate_every=96, evaluate_episodes=n)[0][1]
    ),
    "checkpoint_every": Wire(
        0, 32, observe=lambda room, n: run(room, checkpoint_every=n), expected=lambda n: [64, 96] if n else [96]
    ),
    "log_every": Wire(1, 2, observe=log_every, expected=lambda n: list(range(32 * n, 97, 32 * n))),
    "adapt_threads": Wire(True, False, observe=adapt_threads, expected=lambda v: [v]),
}


def test_no_setting_of_the_run_is_forgotten() -> None:
    assert_complete(AtariRunOptions, RUN)


@cases(RUN)
@pytest.mark.slow
def test_settings_of_the_run_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)
