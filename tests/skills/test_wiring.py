"""Every setting of demonstrations, cloning and the master changes what it names."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from small_skills import episode, small_policy
from wires import Room, Wire, assert_complete, cases

pytest.importorskip("h5py", reason='needs the extra "skills"')

from foveal.envs.ur5e.experts import script, skills
from foveal.envs.ur5e.randomization import RANDOMIZATIONS, draw
from foveal.envs.ur5e.tasks import TASKS
from foveal.networks.film_resnet import Relief, SpatialPoints
from foveal.skills import cloning, demos
from foveal.skills.cloning import CloningWork, clone
from foveal.skills.config import (
    CLONE_PRESETS,
    MASTER_PRESETS,
    CloneConfig,
    MasterConfig,
    clone_config,
    master_config,
)
from foveal.skills.dataset import sampled
from foveal.skills.demos import DEMO_PRESETS, DemoOptions, _choices, collect, demo_options
from foveal.skills.groups import Deciding
from foveal.skills.master import Master
from foveal.skills.minari import DemoFolder, DemoWriter, open_demos
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.view import View

SIDE = 32


def shown(seed: int = 0, steps: int = 40) -> Any:
    """Forty steps of two skills, 20 each: the first velocity is the step's number, the gripper closes from 10 on."""
    draws = np.random.default_rng(seed)
    depth = draws.integers(500, 2000, (steps + 1, SIDE, SIDE)).astype(np.uint16)
    advice = np.zeros((steps, 4), np.float32)
    advice[:, 0], advice[:, 3] = np.arange(steps), np.where(np.arange(steps) >= 10, 1.0, -1.0)
    zeros = np.zeros((steps + 1, 14), np.float32)
    skill = np.repeat([0, 1], steps // 2)
    action = np.clip(advice, -1, 1)
    rewards = np.zeros(steps)
    return episode(steps, skill, depth=depth, advice=advice, actions=action, vector=zeros, rewards=rewards, seed=seed)


def folder(room: Room, episodes: int = 4) -> DemoFolder:
    writer = DemoWriter(room.folder / "demos", {"task": "bowl", "skills": ["a", "b"]})
    for number in range(episodes):
        writer.add(shown(number))
    return open_demos(room.folder / "demos")


def config(**changes: Any) -> CloneConfig:
    return clone_config("debug", {"precision": "float32", "rollouts": 0, **changes})


def policy(**changes: Any) -> SkillPolicy:
    return SkillPolicy(SkillSet("bowl", ("a", "b"), View(SIDE, SIDE)), config(**changes))


def trainer(**changes: Any) -> Any:
    settings = config(**changes)
    return CloningWork(policy(**changes), sampled([shown(0), shown(1)], settings), None)


def learn_an_epoch(made: CloningWork) -> None:
    for _ in range(made.batches):
        made.learn(lambda: None)


def pictures(room: Room, made: Any) -> list[torch.Tensor]:
    """What the network is shown in one epoch."""
    seen: list[torch.Tensor] = []
    made.agent.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    learn_an_epoch(made)
    return seen


def stack(room: Room, value: int) -> set[int]:
    return {int(image.shape[1]) for image in pictures(room, trainer(stack=value))} | {policy(stack=value).stack}


def seen_as(bound: str, end: float) -> Any:
    def observe(room: Room, value: float) -> Any:
        made = policy(**{bound: value})
        at, inside = (float(made.input(np.array([millimetres]))[0]) for millimetres in (1000 * value, 1250))
        assert abs(inside) < 1.0
        return (at, pytest.approx(inside))

    def expected(value: float) -> Any:
        near, far = (value, 2.0) if bound == "near" else (0.5, value)
        return (end, 2.0 * (1.25 - near) / (far - near) - 1.0)

    return observe, expected


def relief(room: Room, value: float) -> float:
    made = policy(relief=value, near=0.5, far=1.5)
    first = made.network.relief
    return round(first.height / 2.0, 6) if isinstance(first, Relief) else 0.0  # a metre is 2 there


def horizons(room: Room, value: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Outputs of the network, and which steps' velocities are the labels of step 0."""
    labels = sampled([shown()], config(horizons=value)).velocity[0, :, 0]
    out = policy(horizons=value).network(torch.zeros(2, 3, SIDE, SIDE), torch.eye(2))
    return out.shape[1] // 5, tuple(int(step) + 1 for step in labels)


def early(room: Room, value: int) -> int:
    """How long before the expert's gripper the label closes."""
    closes = sampled([shown()], config(early=value, horizons=(1,))).closes[:, 0]
    return 10 - int(np.flatnonzero(closes)[0])


def loss_weight(which: int) -> Any:
    def observe(room: Room, value: float) -> Any:
        name = ("gripper", "velocity")[which]
        made = trainer(**{name: value, ("velocity", "gripper")[which]: 0.0})
        parts: list[Any] = []
        real = cloning.losses
        room.patch.setattr(cloning, "losses", lambda *a: (parts.append(real(*a)), parts[-1])[1])
        loss = made._loss(made.training, np.arange(8), augmented=False)
        return pytest.approx(float((loss / parts[0][which]).detach()), rel=1e-4)

    return observe


def network(name: str, read: Any) -> Any:
    """What the network is like with a setting at its value."""
    return lambda room, value: read(policy(**{name: value}).network)


def computed_in(network: Any) -> torch.dtype:
    return network.features(torch.zeros(2, 3, SIDE, SIDE), torch.eye(2)).dtype


def first_step(room: Room, value: float) -> Any:
    made = trainer(learning_rate=value, batch_size=80)
    before = torch.cat([p.detach().flatten().clone() for p in made.agent.network.parameters()])
    learn_an_epoch(made)
    after = torch.cat([p.detach().flatten() for p in made.agent.network.parameters()])
    return pytest.approx(float((after - before).abs().max()), rel=1e-3)


def decay(room: Room, value: bool) -> Any:
    """The rate of the last of five batches, as a share of the first's."""
    made = trainer(decay=value, batch_size=16)
    learn_an_epoch(made)
    return pytest.approx(made.optimizer.param_groups[0]["lr"] / made.config.learning_rate)


def held_out(room: Room, value: float) -> int:
    """Episodes of eight that are kept back."""
    source = folder(room, 8)
    training, kept = cloning._samples(source, config(held_out=value), 0, False)
    count = 0 if kept is None else len(kept) // 40
    assert len(training) == 40 * (8 - count)
    return count


def tried(room: Room, **changes: Any) -> list[tuple[int, int]]:
    """Epochs after which rollouts were made, and how many."""
    found: list[tuple[int, int]] = []

    def note(policy: SkillPolicy, episodes: int, crew: Any) -> float:
        found.append((len(policy.about.get("epochs", [])) + 1, episodes))
        return 0.5

    room.patch.setattr(cloning, "_tried", note)
    clone(folder(room), config(epochs=4, **changes))
    return found


def augmented(room: Room, value: Any) -> bool:
    """Whether what the network learns from differs from the picture as it is."""
    made = trainer(augmentation=value, batch_size=80)
    plain = room.watch(made.agent, "input")
    (image,) = pictures(room, made)
    return not torch.equal(image, made.agent.input(*plain[0][0]))


NEAR, FAR = seen_as("near", -1.0), seen_as("far", 1.0)
CLONE = {
    "stack": Wire(3, 1, observe=stack, expected=lambda n: {n}),
    "near": Wire(0.5, 0.7, observe=NEAR[0], expected=NEAR[1]),
    "far": Wire(2.0, 1.5, observe=FAR[0], expected=FAR[1]),
    "relief": Wire(0.0, 0.05, 0.1, observe=relief),
    "horizons": Wire((1, 10), (1, 3, 7), observe=horizons, expected=lambda h: (len(h), h)),
    "early": Wire(0, 5, 3, observe=early),
    "gripper": Wire(0.1, 0.6, observe=loss_weight(0)),
    "velocity": Wire(0.9, 0.3, observe=loss_weight(1)),
    "stem": Wire(8, 5, observe=network("stem", lambda n: n.stem.out_channels)),
    "widths": Wire(
        (8, 8, 8, 8),
        (3, 5, 6, 7),
        observe=network("widths", lambda n: tuple(block.first.out_channels for block in n.blocks)),
    ),
    "blocks": Wire((1, 1, 1, 1), (1, 2, 1, 3), observe=network("blocks", lambda n: len(n.blocks)), expected=sum),
    "strides": Wire(
        (1, 2, 2, 2),
        (1, 2, 1, 1),
        observe=network("strides", lambda n: tuple(block.first.stride[0] for block in n.blocks)),
    ),
    "pooling": Wire(
        "average",
        "points",
        observe=network("pooling", lambda n: isinstance(n.head, SpatialPoints)),
        expected=lambda v: v == "points",
    ),
    "learning_rate": Wire(1e-3, 1e-2, observe=first_step),
    "decay": Wire(False, True, observe=decay, expected=lambda v: 0.5 * (1.0 + math.cos(math.pi * 4 / 5)) if v else 1.0),
    "batch_size": Wire(
        16, 10, observe=lambda room, n: {len(p) for p in pictures(room, trainer(batch_size=n))}, expected=lambda n: {n}
    ),
    "epochs": Wire(1, 3, observe=lambda room, n: len(clone(folder(room), config(epochs=n)).about["epochs"])),
    "held_out": Wire(0.0, 0.25, 0.5, observe=held_out, expected=lambda share: int(8 * share)),
    "rollouts": Wire(
        0, 1, 3, observe=lambda room, n: {count for _, count in tried(room, rollouts=n)}, expected=lambda n: {n} - {0}
    ),
    "rollouts_every": Wire(
        1,
        2,
        3,
        observe=lambda room, n: [epoch for epoch, _ in tried(room, rollouts=1, rollouts_every=n)],
        expected=lambda n: [epoch for epoch in (1, 2, 3, 4) if (4 - epoch) % n == 0],
    ),
    "augmentation": Wire((), (("posterize", 1.0, 1.0),), observe=augmented, expected=bool),
    "precision": Wire(
        "float32", "bfloat16", observe=network("precision", computed_in), expected=lambda v: getattr(torch, v)
    ),
}


def test_no_setting_of_cloning_is_forgotten() -> None:
    assert_complete(CloneConfig, CLONE)


@cases(CLONE)
@pytest.mark.slow
def test_settings_of_cloning_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


# --- the master -------------------------------------------------------------------------------------------------------


def master(**changes: Any) -> Master:
    return Master("pick", small_policy(), master_config("debug", changes))


class Still:
    """Arms in which nothing ever happens."""

    def __init__(self, settings: Deciding, first: int, count: int) -> None:
        self.seen, self.count = np.zeros((count, *settings.spaces[0].shape), np.float32), count

    def reset(self) -> Any:
        return self.seen

    def step(self, actions: Any) -> Any:
        return self.seen, np.zeros(self.count, np.float32), np.zeros(self.count, bool), [{"steps": 1}] * self.count

    def close(self) -> None:
        pass


def in_ppo(setting: str, read: Any, *values: Any, expected: Any = lambda value: value, decisions: int = 1) -> Wire:
    """What PPO has of a setting after so many decisions, or one rollout."""

    def observe(room: Room, value: Any) -> Any:
        room.patch.setattr(Deciding, "make", lambda *given: Still(*given))
        return read(Master("pick", None, master_config("debug", {"decisions": decisions, setting: value})).learn().ppo)

    return Wire(*values, observe=observe, expected=expected)


def channels(room: Room, value: int) -> set[int]:
    made = master(channels=value)
    heads: list[Any] = [made.network.actor.body, made.network.critic[0]]  # type: ignore[index]
    return {layer.out_channels for head in heads for layer in head.layers[::2]}


def decisions(room: Room, value: int) -> int:
    room.patch.setattr(Deciding, "make", lambda *given: Still(*given))
    return int(Master("pick", None, master_config("debug", {"decisions": value})).learn().curve[-1]["actions"])


def skill_steps(room: Room, value: int) -> float:
    """Steps of the simulator for each decision."""
    made = Master("pick", None, master_config("debug", {"skill_steps": value, "decisions": 4})).learn()
    return made.curve[-1]["steps"] / made.curve[-1]["actions"]


MASTER = {
    "decisions": Wire(4, 12, observe=decisions),
    "skill_steps": Wire(3, 5, observe=skill_steps),
    "environments": in_ppo("environments", lambda p: len(p.seen), 2, 3),
    "rollout": in_ppo("rollout", lambda p: (len(p.rollout.values), p.steps), 2, 4, expected=lambda n: (n, 2 * n)),
    "minibatches": in_ppo("minibatches", lambda p: p.config.minibatches, 2, 1),
    "epochs": in_ppo("epochs", lambda p: p.updates, 1, 4),
    "learning_rate": in_ppo("learning_rate", lambda p: p.optimizer.param_groups[0]["lr"], 7e-4, 1e-2),
    "discount": in_ppo("discount", lambda p: p.config.discount, 0.99, 0.5),
    "gae_lambda": in_ppo("gae_lambda", lambda p: p.config.gae_lambda, 1.0, 0.9),
    "clip": in_ppo("clip", lambda p: p.clip, 0.2, 0.3),
    "entropy": in_ppo("entropy", lambda p: p.config.entropy, 0.05, 0.3),
    "value": in_ppo("value", lambda p: p.config.value, 1.0, 0.3),
    "decay_learning_rate": in_ppo("decay_learning_rate", lambda p: p.learning_rate < 7e-4, False, True, decisions=8),
    "decay_clip": in_ppo("decay_clip", lambda p: p.clip < 0.2, False, True, decisions=8),
    "value_loss": in_ppo("value_loss", lambda p: p.config.value_loss, "plain", "clipped"),
    "normalise_advantages": in_ppo("normalise_advantages", lambda p: p.config.normalise_advantages, "rollout", "none"),
    "bootstrap_timeouts": in_ppo("bootstrap_timeouts", lambda p: p.config.bootstrap_timeouts, False, True),
    "freeze_encoder": in_ppo("freeze_encoder", lambda p: p.config.freeze_encoder, False, True),
    "gradient_norm": in_ppo("gradient_norm", lambda p: p.config.gradient_norm, 0.5, 0.1),
    "adam_epsilon": in_ppo("adam_epsilon", lambda p: p.optimizer.param_groups[0]["eps"], 1e-5, 1e-3),
    "channels": Wire(4, 6, observe=channels, expected=lambda n: {n}),
}


def test_no_setting_of_the_master_is_forgotten() -> None:
    assert_complete(MasterConfig, MASTER)


@pytest.mark.slow
@cases(MASTER)
def test_settings_of_the_master_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


# --- demonstrations ---------------------------------------------------------------------------------------------------


class Arm:
    """An arm that does nothing: each episode ends after 60 steps, and skills are done at their 5th step."""

    task_name = "pick"

    def __init__(self, **settings: Any) -> None:
        self.settings, self.taken = settings, 0
        self.actions: list[np.ndarray[Any, Any]] = []

    def reset(self, seed: int) -> Any:
        self.taken, self.seed = 0, seed
        return self._seen(), {}

    max_agent_steps = 60
    ranges = RANDOMIZATIONS["training"]

    def scene(self) -> Any:
        return draw(TASKS["pick"], self.ranges, np.random.default_rng(0))

    def depth_from(self, other: Any) -> Any:
        return self._seen()["depth"]

    def step(self, action: Any) -> Any:
        self.actions.append(action)
        self.taken += 1
        return self._seen(), 0.0, False, self.taken == 60, {}

    def _seen(self) -> Any:
        size = self.settings.get("size", 36)
        return {"depth": np.ones((size, size), np.float32), "vector": np.zeros(14, np.float32)}

    def truth(self) -> Any:
        return type("Truth", (), {"centres": np.zeros((1, 3))})()


def demonstrated(room: Room, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """What the first camera saw, and what the arm was made with."""
    found, settings = seen_by_all(room, **changes)
    return found[0], settings


def seen_by_all(room: Room, **changes: Any) -> tuple[list[Any], dict[str, Any]]:
    """What every camera saw, and what the arm was made with."""
    made: list[Arm] = []
    room.patch.setattr(demos, "make_arm", lambda task, **k: (made.append(Arm(**k)), made[-1])[1])
    done = iter(range(10**6))

    class Adviser:
        @staticmethod
        def expert(truth: Any) -> Any:
            return type("Advice", (), {"action": np.zeros(4, np.float32), "done": next(done) % 5 == 4})()

    room.patch.setattr(demos, "skills", lambda task: [Adviser] * 3)
    demos._arm.cache_clear()
    options = demo_options("debug", {"linger": None, **changes})
    found = demos._job(("pick", options, 0))
    demos._arm.cache_clear()
    return found, made[0].settings


def order(room: Room, value: str) -> bool:
    chosen = choices(order=value, follow=0.0)
    steps = script("pick")
    return chosen == [steps[number % len(steps)] for number in range(len(chosen))]


def choices(**changes: Any) -> list[int]:
    found = _choices("pick", DemoOptions(**changes), np.random.default_rng(0))
    return [next(found) for _ in range(400)]


def follow(room: Room, value: float) -> Any:
    """Share of skills that are the script's next one after the last, where chance would make it a third."""
    chosen, ordered = choices(follow=value), script("pick")
    after = {a: ordered[(place + 1) % len(ordered)] for place, a in enumerate(ordered)}
    share = np.mean([after[one] == other for one, other in itertools.pairwise(chosen)])
    return pytest.approx(share, abs=0.08)


def linger(room: Room, value: int | None) -> Any:
    """Steps of the first skill, which is done at its 5th."""
    draws = demonstrated(room, linger=value, order="script")[0].skill
    changes = np.flatnonzero(np.diff(draws))
    return int(changes[0]) + 1 if len(changes) else None


def noise(room: Room, value: float) -> Any:
    """Standard deviation of what was done where nothing was advised."""
    found = [demonstrated(room, noise=value, seed=seed)[0].actions[::20, :3] for seed in range(60)]
    assert not any(demonstrated(room, noise=value, seed=seed)[0].actions[10:20].any() for seed in range(3))
    return pytest.approx(float(np.std(np.concatenate(found))), rel=0.12, abs=1e-9)


def episodes(room: Room, value: int) -> int:
    room.patch.setattr(demos, "_job", lambda job: [shown(job[2])])
    return len(list(collect("pick", room.folder / "demos", demo_options("debug", {"episodes": value}))))


DEMOS = {
    "episodes": Wire(1, 3, observe=episodes),
    "order": Wire("random", "script", observe=order, expected=lambda v: v == "script"),
    "follow": Wire(0.0, 0.5, 1.0, observe=follow, expected=lambda f: f + (1 - f) / len(skills("pick"))),
    "linger": Wire(None, 0, 8, observe=linger, expected=lambda n: None if n is None else n + 5),
    "noise": Wire(0.0, 0.15, 0.3, observe=noise),
    "size": Wire(24, 32, observe=lambda room, n: demonstrated(room, size=n)[0].depth.shape[-1]),
    "render": Wire(36, 50, observe=lambda room, n: demonstrated(room, render=n)[1]["size"]),
    "cameras": Wire(1, 3, observe=lambda room, n: len(seen_by_all(room, cameras=n)[0])),
    "camera": Wire(0, 1, observe=lambda room, n: demonstrated(room, camera=n)[1]["camera"]),
    "randomization": Wire(
        "training", "none", observe=lambda room, n: demonstrated(room, randomization=n)[1]["randomization"]
    ),
    "seed": Wire(
        0,
        1,
        observe=lambda room, n: demonstrated(room, seed=n)[0].seed,
        expected=lambda n: demos.DEMONSTRATIONS_EACH * n,
    ),
}


def test_no_setting_of_demonstrations_is_forgotten() -> None:
    assert_complete(DemoOptions, DEMOS)


@pytest.mark.slow
@cases(DEMOS)
def test_settings_of_demonstrations_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


# --- presets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("presets", "make"),
    [(CLONE_PRESETS, clone_config), (MASTER_PRESETS, master_config), (DEMO_PRESETS, demo_options)],
)
def test_everything_that_a_preset_names_is_in_its_configuration(presets: Any, make: Any) -> None:
    for name, settings in presets.items():
        made = make(name)
        assert made == replace(type(made)(), **settings)
