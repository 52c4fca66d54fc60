"""Every setting of an Atari agent arrives in PPO, in the games or in the run."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import nn

pytest.importorskip("ale_py", reason="needs the extra 'atari'")

import foveal
from foveal.atari import vector as vector_module
from foveal.config.presets import PRESETS
from foveal.config.sections import GameConfig, RolloutTrainingConfig
from foveal.config.tree import configure
from foveal.errors import FovealError
from foveal.evaluation.results import Results
from foveal.learners import ppo as ppo_module
from foveal.learners import rollouts as rollouts_module
from foveal.learners.pixel_ppo import PixelPPOConfig
from foveal.learners.rollouts import Rollout
from foveal.training import Callback, RunOptions, Trainer, agent_work, run_folder
from foveal.training import trainer as loop_module
from foveal.training.run_folder import RunFolder
from wires import Room, Wire, assert_complete, cases

BREAKOUT = "atari/breakout"


def agent_with(encoder: str | None = "nature", env: str = BREAKOUT, seed: int = 0, **sections: Any) -> foveal.Agent:
    sections = {"training": {"precision": "float32"}, **sections}
    return foveal.Agent(env, preset="debug", seed=seed, encoder=encoder, **sections)


def called_with(setting: str, *values: Any, module: Any, name: str, position: int) -> Wire:
    """With what a function is called in the first update."""

    def observe(room: Room, value: Any) -> Any:
        calls = room.watch(module, name)
        trained({setting: value})
        return calls[0][0][position]

    return Wire(*values, observe=observe)


def trained(ppo: dict[str, Any], steps: int = 1, **named: Any) -> Trainer:
    trainer = Trainer(agent_with(ppo=ppo).work(), progress=False, **named)
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
    trained({"gradient_norm": value, "entropy": 100.0, "value_loss": "plain"})
    return pytest.approx(max(norms), rel=1e-3)


def epochs(room: Room, value: int) -> int:
    """Steps of Adam that an update takes, by two minibatches."""
    steps = room.watch(torch.optim.Adam, "step")
    trained({"epochs": value})
    return len(steps) // 2


def learning_rate(room: Room, value: float) -> list[float]:
    """Adam's at the start and half way."""
    rates: list[float] = []

    class Note(Callback):
        def on_step(self, trainer: Trainer) -> None:
            rates.append(trainer.agent.updater.optimizer.param_groups[0]["lr"])

    trained({"learning_rate": value}, 64, callbacks=[Note()])
    return rates


def rollout(setting: str, read: Any, *values: Any, expected: Any = lambda value: value) -> Wire:
    """What a rollout and an update have of a setting."""

    def observe(room: Room, value: Any) -> Any:
        return read(trained({setting: value}))

    return Wire(*values, observe=observe, expected=expected)


def minibatch_sizes(room: Room, value: int) -> set[int]:
    calls = room.watch(Rollout, "take")
    trained({"minibatches": value})
    return {len(rows) for (_, rows), _ in calls}


def decays(setting: str) -> Any:
    """A rate at the start and half way, over its value at the start."""

    def observe(room: Room, value: bool) -> list[float]:
        rates: list[float] = []

        class Note(Callback):
            def on_step(self, trainer: Trainer) -> None:
                rates.append(trainer.work.metrics()[f"train/{setting}"])

        trained({f"decay_{'clip' if setting == 'clip_range' else setting}": value}, 64, callbacks=[Note()])
        return [rate / rates[0] for rate in rates]

    return observe


def coefficient(setting: str, term: str) -> Any:
    """By how much more the loss is than it would be without a term, over the term; of the first minibatch."""

    def observe(room: Room, value: float) -> Any:
        metrics = trained({setting: value, "minibatches": 1, "epochs": 1, OTHER[setting]: 0.0}).work.metrics()
        return (metrics["train/loss"] - metrics["train/policy_gradient_loss"]) / metrics[term]

    return observe


OTHER = {"entropy": "value", "value": "entropy"}


def normalised_where(room: Room, value: str) -> tuple[bool, bool]:
    """Whether advantages are normalised in the rollout, and before the loss."""
    losses = room.watch(ppo_module, "surrogate_loss")
    trainer = trained({"normalise_advantages": value})
    held = trainer.agent.updater.rollout
    assert held is not None
    given = [arguments[2].mean().abs().item() < 1e-5 for arguments, _ in losses]
    return bool(held.advantages.mean().abs() < 1e-5), all(given)


def bootstrap_timeouts(room: Room, value: bool) -> bool:
    """Whether a return says more than the rewards do, where the frame limit ended a game."""
    agent = agent_with(env="atari/freeway", ppo={"bootstrap_timeouts": value}, environment={"frame_limit": 40})
    with torch.no_grad():
        agent.learner.policy.critic.bias.fill_(50.0)
    Trainer(agent.work(), progress=False).train(1)
    held = agent.updater.rollout
    assert held is not None and held.truncations[9].all()
    return bool((held.returns[9] > 40).all())


def frozen(room: Room, value: bool) -> bool:
    agent = agent_with(ppo={"freeze_encoder": value})
    before = agent.learner.policy.encoder.linear.weight.clone()
    Trainer(agent.work(), progress=False).train(1)
    return agent.learner.policy.encoder.linear.weight.equal(before)


PPO_WIRES = {
    "rollout": rollout("rollout", lambda t: t.agent.updater.rollout.values.shape[0], 16, 8),
    "minibatches": Wire(2, 4, observe=minibatch_sizes, expected=lambda n: {32 // n}),
    "epochs": Wire(1, 3, observe=epochs),
    "learning_rate": Wire(2.5e-4, 1e-3, observe=learning_rate, expected=lambda r: [r, r / 2]),
    "decay_learning_rate": Wire(True, False, observe=decays("learning_rate"), expected=lambda v: [1, 0.5 if v else 1]),
    "clip": called_with("clip", 0.1, 0.3, module=ppo_module, name="surrogate_loss", position=3),
    "decay_clip": Wire(True, False, observe=decays("clip_range"), expected=lambda v: [1, 0.5 if v else 1]),
    "value_loss": called_with(
        "value_loss", "baselines", "clipped", "plain", module=ppo_module, name="value_loss", position=0
    ),
    "normalise_advantages": Wire(
        "minibatch",
        "rollout",
        "none",
        observe=normalised_where,
        expected=lambda v: (v == "rollout", v == "minibatch"),
    ),
    "bootstrap_timeouts": Wire(True, False, observe=bootstrap_timeouts),
    "discount": called_with("discount", 0.99, 0.9, module=rollouts_module, name="generalized_advantages", position=4),
    "gae_lambda": called_with(
        "gae_lambda", 0.95, 0.5, module=rollouts_module, name="generalized_advantages", position=5
    ),
    "entropy": Wire(
        0.01, 0.2, observe=coefficient("entropy", "train/entropy_loss"), expected=lambda e: pytest.approx(e, rel=1e-4)
    ),
    "value": Wire(
        0.5, 0.9, observe=coefficient("value", "train/value_loss"), expected=lambda v: pytest.approx(v, rel=1e-4)
    ),
    "gradient_norm": Wire(0.5, 0.1, observe=gradient_norm),
    "adam_epsilon": rollout("adam_epsilon", lambda t: t.agent.updater.optimizer.param_groups[0]["eps"], 1e-5, 1e-3),
    "freeze_encoder": Wire(True, False, observe=frozen),
    "encoder": Wire(
        "nature",
        "sparse-fls",
        observe=lambda _, name: agent_with(ppo={"encoder": {"name": name}}, encoder=None).has_attention,
        expected=lambda name: name != "nature",
    ),
}


def test_no_setting_of_ppo_is_forgotten() -> None:
    assert_complete(PixelPPOConfig, PPO_WIRES)


@cases(PPO_WIRES)
@pytest.mark.slow
def test_settings_of_ppo_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


# --- what it runs on, and the agent -----------------------------------------------------------------------------------


def precision(room: Room, value: str) -> set[torch.dtype]:
    agent = agent_with(training={"precision": value})
    seen: list[torch.dtype] = []
    first = next(m for m in agent.learner.policy.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    agent.values(torch.zeros(1, 4, 84, 84))
    return {agent.learner.policy.encoder.dtype, *seen}


def device(room: Room, value: str) -> str:
    try:
        agent = agent_with(training={"device": value})
    except FovealError:
        return "refused"
    return "/".join(
        sorted({p.device.type for p in agent.learner.policy.parameters()} | {agent.acting_generator.device.type})
    )


def environments(room: Room, value: int) -> tuple[int, int]:
    """Games that are played, and columns of a rollout."""
    trainer = Trainer(agent_with(training={"precision": "float32", "environments": value}).work(), progress=False)
    trainer.train(1)
    return trainer.work.env.num_envs, trainer.agent.updater.rollout.values.shape[1]  # type: ignore[attr-defined]


def processes(room: Room, value: bool) -> str:
    """Whether games are refused, which have threads."""
    try:
        agent_with(training={"processes": value}).work().close()
    except FovealError:
        return "refused"
    return "played"


def life_loss(room: Room, value: bool) -> tuple[bool, bool]:
    """In the games of training and of evaluation."""
    agent = agent_with(environment={"life_loss": value})
    work = agent.work()
    work.close()
    return work.env.life_loss, agent.env_options["life_loss"]  # type: ignore[union-attr]


TRAINING = {
    "environments": Wire(2, 4, observe=environments, expected=lambda n: (n, n)),
    "processes": Wire(False, True, observe=processes, expected=lambda v: "refused" if v else "played"),
    "precision": Wire("float32", "bfloat16", observe=precision, expected=lambda v: {getattr(torch, v)}),
    "device": Wire(
        "cpu", "cuda", observe=device, expected=lambda v: v if torch.cuda.is_available() or v == "cpu" else "refused"
    ),
}


def played_by(name: str) -> Any:
    """What the emulators of training and those of evaluation are made with."""

    def observe(room: Room, value: Any) -> list[Any]:
        calls = room.watch(vector_module, "Emulator")
        agent = agent_with(env="atari/freeway", environment={"frame_limit": 40, name: value})
        agent.work().close()
        foveal.evaluate(agent, episodes=1, progress=False)
        made = [(arguments[1], named["sticky"]) for arguments, named in calls]
        return sorted(set(made))

    return observe


def seed(room: Room, value: int) -> list[bool]:
    """Whether two agents of seeds 0 and ``value`` begin alike: weights, actions, minibatches, games."""
    one, other = agent_with(seed=0), agent_with(seed=value)
    games = [Trainer(agent.work(), progress=False) for agent in (one, other)]
    starts = [trainer.work.env._random.bit_generator.state["state"] for trainer in games]
    for trainer in games:
        trainer.close()
    return [
        all(
            torch.equal(a, b)
            for a, b in zip(one.learner.policy.parameters(), other.learner.policy.parameters(), strict=True)
        ),
        torch.equal(one.acting_generator.get_state(), other.acting_generator.get_state()),
        torch.equal(one.updater.shuffling.get_state(), other.updater.shuffling.get_state()),
        starts[0] == starts[1],
    ]


def clip_rewards(room: Room, value: bool) -> tuple[bool, bool]:
    """In the games of training from rollouts and from replay; no evaluation has rewards."""
    works = [agent_with(environment={"clip_rewards": value}).work(), from_replay(value).work()]
    clipped = works[0].env.clip_rewards, works[1].collector._envs.clip_rewards  # type: ignore[union-attr]
    for work in works:
        work.close()
    return clipped


def from_replay(clip: bool) -> foveal.Agent:
    environment = {"clip_rewards": clip}
    return foveal.Agent(BREAKOUT, "none", "dqn", preset="debug", environment=environment)


ENVIRONMENT = {
    "life_loss": Wire(True, False, observe=life_loss, expected=lambda v: (v, v)),
    "clip_rewards": Wire(True, False, observe=clip_rewards, expected=lambda v: (v, v)),
    "protocol": Wire("v4", "v5", observe=played_by("protocol"), expected=lambda v: [(40, {"v4": 0.0, "v5": 0.25}[v])]),
    "sticky": Wire(None, 0.5, observe=played_by("sticky"), expected=lambda v: [(40, v or 0.0)]),
    "frame_limit": Wire(40, 80, observe=played_by("frame_limit"), expected=lambda v: [(v, 0.0)]),
}
WHOLE = {
    "env": Wire(
        BREAKOUT,
        "atari/pong",
        observe=lambda _, env: agent_with(env=env).learner.policy.actor.linear.out_features,
        expected=lambda env: {BREAKOUT: 4, "atari/pong": 6}[env],
    ),
    "preset": Wire(
        *PRESETS,
        observe=lambda _, name: configure(BREAKOUT, preset=name).learner_config.rollout,
        expected=lambda name: 16 if name == "debug" else 128,
    ),
    "seed": Wire(0, 1, observe=seed, expected=lambda s: [s == 0] * 4),
}


def test_no_other_setting_is_forgotten() -> None:
    assert_complete(RolloutTrainingConfig, TRAINING)
    assert_complete(GameConfig, ENVIRONMENT)


@cases({**TRAINING, **ENVIRONMENT, **WHOLE})
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

    class Note(Callback):
        def on_evaluation(self, trainer: Trainer, results: Results) -> None:
            seen.append((trainer.agent.steps, results))  # type: ignore[arg-type]

    class Fake:
        conditions = [type("Condition", (), {"summary": {"mean": 0.0}})()]

        def __init__(self, episodes: int) -> None:
            self.episodes = episodes

    room.patch.setattr(agent_work, "evaluate", lambda agent, on, episodes, **_: Fake(episodes))
    agent_with().learn(96, progress=False, callbacks=[Note()], **options)
    return [(step, results.episodes) for step, results in seen]  # type: ignore[attr-defined]


def log_every(room: Room, value: int) -> list[int]:
    calls = room.watch(RunFolder, "log_metrics")
    run(room, log_every=value)
    return [step for (_, step, _, _), _ in calls]


def adapt_threads(room: Room, value: bool) -> list[bool]:
    calls = room.watch(loop_module, "Threads")
    run(room, adapt_threads=value)
    return [named["adapt"] for _, named in calls]


def wandb(room: Room, value: str | None) -> list[str]:
    """Projects of runs that were opened at Weights & Biases."""
    opened: list[str] = []
    room.patch.setattr(run_folder, "WandbLog", lambda project, *_: (opened.append(project), MagicMock())[1])
    run(room, wandb=value)
    return opened


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
    "log_every": Wire(1, 2, observe=log_every, expected=lambda n: sorted({*range(32 * n, 97, 32 * n), 96})),
    "adapt_threads": Wire(True, False, observe=adapt_threads, expected=lambda v: [v]),
    "wandb": Wire(None, "looks", observe=wandb, expected=lambda v: [v] if v else []),
}


def test_no_setting_of_the_run_is_forgotten() -> None:
    assert set(RUN) | {"evaluate_on", "data"} == set(RunOptions.__dataclass_fields__)  # these are not for games


@cases(RUN)
@pytest.mark.slow
def test_settings_of_the_run_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)
