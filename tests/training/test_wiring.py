"""Every setting of environment, loop and run changes what it names. A new setting needs a line in a table."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image

import foveal
from foveal.agent import Agent
from foveal.config.presets import PRESETS
from foveal.config.sections import EnvironmentConfig, TrainingConfig
from foveal.config.tree import Config
from foveal.envs import make
from foveal.errors import FovealError
from foveal.evaluation.world import WorldOptions
from foveal.learners import LEARNERS
from foveal.methods import METHODS
from foveal.pictures import BLOCK
from foveal.training import RunOptions, Trainer, agent_work, run_folder, trainer
from foveal.training.run_folder import RunFolder
from foveal.types import Batch
from settled import decided
from small_env import LENGTH, Counter, SavedCounter, small_agent
from wires import Room, Wire, assert_complete, cases


class Clean(SavedCounter):
    """A counter without noise: every pixel of a picture is its number."""

    def _noise(self) -> np.ndarray[Any, Any]:
        return np.full((8, 8, 3), self.made % 251, np.uint8)


def learned(steps: int = 30, env: Any = Clean, *, method: str = "none", **settings: Any) -> Agent:
    """An agent after some steps of training with these settings of the loop."""
    return small_agent(env, method=method, training=settings).learn(steps, progress=False, evaluate_every=0)


def sampled(agent: Agent, size: int = 400) -> Batch:
    assert agent.replay is not None
    return agent.replay.sample(size)


def newest(image: torch.Tensor) -> list[int]:
    """The number of the latest frame of each stacked observation of ``Clean``."""
    return [int(number) for number in image[:, -1, 20, 20]]


# --- the loop ---------------------------------------------------------------------------------------------------------


def batch_size(room: Room, value: int) -> set[int]:
    agent = small_agent(Clean, method="none", training={"batch_size": value})
    updates = room.watch(agent.updater, "update")
    agent.learn(14, progress=False, evaluate_every=0)
    return {len(batch.reward) for (batch, _), _ in updates} | {len(batch.obs.image) for (batch, _), _ in updates}


def discount(room: Room, value: float) -> list[float]:
    """gamma ** k of the batch, and gamma from sums of two rewards: of steps t and t + 1, which pay t and t + 1."""
    batch = sampled(learned(discount=value, n_step=2))
    two = next(i for i, d in enumerate(batch.discount.tolist()) if abs(d - value**2) < 1e-6)
    start = (newest(batch.obs.image)[two]) % (LENGTH + 1)  # an episode has that many pictures
    implied = (float(batch.reward[two]) - (start + 1)) / (start + 2)
    return [*sorted({round(d, 4) for d in batch.discount.tolist()}), round(implied, 4)]


def n_step(room: Room, value: int) -> tuple[int, int]:
    """How far the next observation is away, and how many rewards of 1 are summed where no episode ends."""
    batch = sampled(learned(40, lambda: Clean(rewards=lambda _: 1.0), n_step=value, discount=1.0))
    ahead = [after - now for now, after in zip(newest(batch.obs.image), newest(batch.next_obs.image), strict=True)]
    return max(ahead), int(batch.reward.max())


def replay_capacity(room: Room, value: int) -> int:
    """Frames from the oldest that can still be sampled to the newest one written."""
    agent = small_agent(Clean, method="none", environment={"frame_stack": 1}, training={"replay_capacity": value})
    agent.learn(80, progress=False, evaluate_every=0)
    batch = sampled(agent, 3000)
    return max(newest(batch.next_obs.image)) - min(newest(batch.obs.image)) + 1


def initial_random_steps(room: Room, value: int) -> tuple[int, int]:
    """Agent steps at which the policy acted first, and updates began."""
    agent = small_agent(Clean, method="none", training={"initial_random_steps": value})
    acted: list[int] = []
    updated: list[int] = []
    predict, update = agent.predict, agent.updater.update
    room.patch.setattr(agent, "predict", lambda *a, **k: (acted.append(agent.steps), predict(*a, **k))[1])
    room.patch.setattr(agent.updater, "update", lambda *a: (updated.append(agent.steps), update(*a))[1])
    agent.learn(24, progress=False, evaluate_every=0)
    return acted[0], updated[0]


def updates(steps: int, **settings: Any) -> int:
    return learned(steps, **settings).updates


def processes(room: Room, value: bool) -> bool:
    """Whether rewards come out of another process."""
    reward = sampled(learned(12, lambda: Clean(rewards=lambda _: float(os.getpid())), processes=value)).reward
    return bool((reward != float(os.getpid())).all())


def overlaid(agent: Agent) -> torch.Tensor:
    """What the method's augmentation makes of black pictures, with pixels of full weight."""
    agent.method.get_ready()
    black = torch.zeros(64, *agent.shapes.image)
    return 2.0 * agent.method.augment(black, agent.generator)  # type: ignore[misc]


def grey(folder: Path, values: list[int]) -> str:
    folder.mkdir(exist_ok=True)
    for value in values:
        Image.new("RGB", (40, 40), (value, value, value)).save(folder / f"{value}.png")
    return str(folder)


def overlays(room: Room, value: str) -> tuple[int, ...]:
    """Grey levels of the pictures laid over, at most three of them."""
    if value != "generated":
        value = grey(room.folder / "grey", [40, 80, 120])
    seen = overlaid(small_agent(method="svea", training={"overlays": value}))
    return (
        tuple(int(level) for level in seen.round().unique()[:4])
        if value != "generated"
        else (int(len(seen.unique()) > 50),)
    )


def overlay_count(room: Room, value: int) -> int:
    """Pictures that the bank has room for."""
    return len(bank(overlay_count=value))


def overlay_refresh(room: Room, value: float) -> int:
    """Pictures that were drawn before update 2 * BLOCK, whole blocks of them."""
    agent = small_agent(method="svea", training={"overlay_count": BLOCK, "overlay_refresh": value})
    agent.method.get_ready()
    agent.method.begin_update(2 * BLOCK)
    agent.method.close()
    return agent.method.augment.build().bank.drawn  # type: ignore[union-attr]


def overlay_detail(room: Room, value: float) -> int:
    """Side of the pictures that the bank keeps, of observations of 20 pixels."""
    return bank(overlay_detail=value).pictures.shape[1]


def bank(**training: Any) -> Any:
    agent = small_agent(method="svea", environment={"image_size": 20}, training=training)
    return agent.method.augment.build().bank  # type: ignore[union-attr]


def precision(room: Room, value: str) -> bool:
    """Whether features are no finer than bfloat16."""
    agent = small_agent(method="none", training={"precision": value})
    features = agent.learner.features(foveal.types.Observation(torch.rand(2, *agent.shapes.image) * 255))
    return bool((features == features.bfloat16().float()).all())


def device(room: Room, value: str) -> str:
    """Kind of device of weights and generators, or "refused" where there is none."""
    try:
        agent = small_agent(method="none", training={"device": value})
    except FovealError:
        return "refused"
    places = {p.device.type for p in agent.learner.parameters()} | {agent.generator.device.type}
    return "/".join(sorted(places))


def replay_device(room: Room, value: str) -> str:
    made: list[str] = []
    real = foveal.training.collecting.ReplayBuffer
    room.patch.setattr(
        foveal.training.collecting,
        "ReplayBuffer",
        lambda *a, **k: (made.append(k["device"]), real(*a, **{**k, "device": "cpu"}))[1],
    )
    learned(3, replay_device=value)
    return made[0]


def plain_updates(room: Room, value: int) -> int:
    """The first update in which the method takes a step of its own."""
    agent = small_agent(Clean, method="svea", training={"plain_updates": value})
    steps = room.watch(agent.method, "auxiliary")
    agent.learn(20, progress=False, evaluate_every=0)
    ((context,), _), *_ = steps
    return int(context.update)


def cuda_graphs(room: Room, value: bool) -> bool:
    """Whether updates would be recorded on a GPU."""
    agent = small_agent(method="none", training={"cuda_graphs": value})
    agent.device = SimpleNamespace(type="cuda")  # type: ignore[assignment]
    return agent._can_capture()


TRAINING = {
    "batch_size": Wire(8, 5, observe=batch_size, expected=lambda value: {value}),
    "discount": Wire(
        0.99, 0.98, 0.5, observe=discount, expected=lambda g: [*sorted({round(g, 4), round(g * g, 4)}), round(g, 4)]
    ),
    "n_step": Wire(1, 3, observe=n_step, expected=lambda n: (n, n)),
    "replay_capacity": Wire(23, 47, observe=replay_capacity),
    "initial_random_steps": Wire(5, 11, observe=initial_random_steps, expected=lambda n: (n, n)),
    "catch_up_updates": Wire(0, 4, 7, observe=lambda _, n: updates(12, catch_up_updates=n, updates_per_step=0.0)),
    "updates_per_step": Wire(
        1.0, 0.5, 2.0, observe=lambda _, n: updates(19, updates_per_step=n), expected=lambda n: int(10 * n)
    ),
    "plain_updates": Wire(0, 2, 5, observe=plain_updates, expected=lambda n: n),
    "environments": Wire(1, 3, observe=lambda _, n: len(learned(6, environments=n).replay.state()["rows"])),  # type: ignore[union-attr]
    "processes": Wire(False, True, observe=processes),
    "overlays": Wire(
        "generated", "folder", observe=overlays, expected=lambda v: (1,) if v == "generated" else (40, 80, 120)
    ),
    "overlay_count": Wire(5, 16, observe=overlay_count),
    "overlay_refresh": Wire(0.0, 0.5, 1.0, observe=overlay_refresh, expected=lambda r: BLOCK + int(2 * r) * BLOCK),
    "overlay_detail": Wire(1.0, 1.5, observe=overlay_detail, expected=lambda detail: int(20 * detail)),
    "precision": Wire("float32", "bfloat16", observe=precision, expected=lambda v: v == "bfloat16"),
    "device": Wire(
        "cpu", "cuda", observe=device, expected=lambda v: v if torch.cuda.is_available() or v == "cpu" else "refused"
    ),
    "replay_device": Wire("cpu", "cuda", observe=replay_device),
    "cuda_graphs": Wire(True, False, observe=cuda_graphs),
}


def test_no_setting_of_the_loop_is_forgotten() -> None:
    assert_complete(TrainingConfig, TRAINING)


@cases(TRAINING)
@pytest.mark.slow
def test_settings_of_the_loop_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


# --- the environment --------------------------------------------------------------------------------------------------


def shown(**environment: Any) -> Agent:
    agent = small_agent(Clean, method="none", environment=environment)
    return agent.learn(12, progress=False, evaluate_every=0)


def image_size(room: Room, value: int) -> set[int]:
    agent = shown(image_size=value)
    convolutions: Any = agent.learner.convolutions
    return {*sampled(agent, 2).obs.image.shape[-2:], *agent.shapes.image[1:], *convolutions.image_shape[1:]}


def frame_stack(room: Room, value: int) -> set[int]:
    agent = shown(frame_stack=value)
    first: Any = agent.learner.convolutions.layers[0]  # type: ignore[index]
    return {sampled(agent, 2).obs.image.shape[1] // 3, agent.shapes.image[0] // 3, first.in_channels // 3}


def action_repeat(room: Room, value: int | None) -> int:
    """Pictures from one observation to the next."""
    made: list[Counter] = []
    agent = small_agent(
        lambda: (made.append(Clean()), made[-1])[1], method="none", environment={"action_repeat": value}
    )
    agent.learn(4 if value == 2 else 9, progress=False, evaluate_every=0)
    return made[-1].steps // agent.steps


@cache
def first_picture(**settings: Any) -> np.ndarray[Any, Any]:
    env = make(WALKER, **settings, seed=0)
    picture: np.ndarray[Any, Any] = env.reset(seed=0)[0]
    env.close()
    return picture


def rendered(name: str) -> Callable[[Room, Any], bool]:
    """Whether the first picture is that of the environment with this setting at its value, and of no other value."""

    def observe(room: Room, value: Any) -> list[Any]:
        others = {"camera": [0, 1], "rendered_size": [None, 72]}.get(name, ["exact", "fast", "draft"])
        settings: dict[str, Any] = {"image_size": 36, "frame_stack": 1}
        agent = Agent(WALKER, "none", preset="debug", environment={**settings, name: value})
        agent.learn(1, progress=False, evaluate_every=0)
        start = sampled(agent, 1).obs.image[0].numpy()
        rest = {} if name == "quality" else {"quality": "draft"}
        pictures = {other: first_picture(**settings, **{**rest, name: other}) for other in others}
        return [other for other, picture in pictures.items() if np.array_equal(picture, start)]

    return observe  # type: ignore[return-value]


CARTPOLE, WALKER = "dmc/cartpole-balance", "dmc/walker-walk"
ENVIRONMENT = {
    "image_size": Wire(36, 40, observe=image_size, expected=lambda value: {value}),
    "frame_stack": Wire(3, 2, observe=frame_stack, expected=lambda value: {value}),
    "action_repeat": Wire(None, 1, 2, observe=action_repeat, expected=lambda value: value or 1),
    "quality": Wire("draft", "fast", "exact", observe=rendered("quality"), expected=lambda value: [value]),
    "camera": Wire(0, 1, observe=rendered("camera"), expected=lambda value: [value]),
    "rendered_size": Wire(None, 72, observe=rendered("rendered_size"), expected=lambda value: [value]),
}


def test_no_setting_of_the_environment_is_forgotten() -> None:
    assert_complete(EnvironmentConfig, ENVIRONMENT)


@cases(ENVIRONMENT)
@pytest.mark.slow
def test_settings_of_the_environment_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


@pytest.mark.slow
@pytest.mark.parametrize(("env", "repeat"), [(CARTPOLE, 8), ("dmc/finger-spin", 2), (WALKER, 4)])
def test_tasks_of_the_benchmark_repeat_actions_as_it_does(env: str, repeat: int) -> None:
    made = make(env, **Agent(env, "none", preset="debug").env_options)
    assert made.spec_info.action_repeat == repeat
    made.close()


# --- the run ----------------------------------------------------------------------------------------------------------


class Evaluations(foveal.Callback):
    def __init__(self) -> None:
        self.seen: list[tuple[int, Any]] = []

    def on_evaluation(self, trainer: Trainer, results: Any) -> None:
        self.seen.append((trainer.agent.steps, results))


def evaluations(steps: int, **options: Any) -> list[tuple[int, Any]]:
    watch = Evaluations()
    agent = small_agent(method="none", training={"initial_random_steps": 10**6})
    agent.learn(steps, progress=False, callbacks=[watch], **{"evaluate_episodes": 1, "evaluate_every": 4, **options})
    return watch.seen


def data(room: Room, value: str | None) -> list[Any]:
    """What rehearsing and evaluating are given as the benchmark's folder."""
    seen: list[Any] = []

    def world(_: Any, options: WorldOptions) -> Any:
        seen.append(options.data)
        return SimpleNamespace(rehearse=lambda: None)

    def noted(*_: Any, data: Any, **__: Any) -> Any:
        seen.append(data)
        return SimpleNamespace(conditions=[SimpleNamespace(summary={"mean": 0.0})])

    room.patch.setattr(agent_work, "world_of", world)
    room.patch.setattr(agent_work, "evaluate", noted)
    evaluations(4, data=value)
    return seen


def log_every(room: Room, value: int) -> list[int]:
    calls = room.watch(RunFolder, "log_metrics")
    learned_in(room, log_every=value)
    return [update for (_, _, update, _), _ in calls]


def adapt_threads(room: Room, value: bool) -> list[bool]:
    """What whoever keeps the number of threads is asked for."""
    calls = room.watch(trainer, "Threads")
    learned_in(room, adapt_threads=value)
    return [named["adapt"] for _, named in calls]


def learned_in(room: Room, **options: Any) -> Path:
    run = room.folder / "run"
    small_agent(method="none").learn(21, run, progress=False, **{"evaluate_every": 0, **options})
    return run


def checkpoints(run: Path) -> list[int]:
    return sorted(int(folder.name) for folder in (run / "checkpoints").iterdir())


def conditions(names: tuple[str, ...]) -> Any:
    """Conditions of an evaluation during the training of a cart-pole, which has colours to change."""
    watch = Evaluations()
    agent = Agent(CARTPOLE, "none", preset="debug", environment={"action_repeat": 125})
    agent.learn(1, progress=False, callbacks=[watch], evaluate_every=1, evaluate_episodes=1, evaluate_on=names)
    return watch.seen[0][1].conditions


def wandb(room: Room, value: str | None) -> list[str]:
    """Projects of runs that were opened at Weights & Biases."""
    opened: list[str] = []

    def stand_in(project: str, *_: Any) -> Any:
        opened.append(project)
        return MagicMock()

    room.patch.setattr(run_folder, "WandbLog", stand_in)
    learned_in(room, wandb=value)
    return opened


RUN = {
    "evaluate_every": Wire(
        0,
        4,
        5,
        observe=lambda _, n: [step for step, _ in evaluations(12, evaluate_every=n)],
        expected=lambda n: list(range(n, 13, n)) if n else [],
    ),
    "evaluate_episodes": Wire(
        1, 3, observe=lambda _, n: len(evaluations(4, evaluate_episodes=n)[0][1].conditions[0].episodes)
    ),
    "evaluate_on": Wire(
        ("train",),
        ("color_easy", "train"),
        observe=lambda _, names: tuple(condition.perturbation for condition in conditions(names)),
    ),
    "data": Wire(None, "some/folder", observe=data, expected=lambda v: [v, v]),
    "checkpoint_every": Wire(
        0,
        6,
        10,
        observe=lambda room, n: checkpoints(learned_in(room, checkpoint_every=n)),
        expected=lambda n: [n * (20 // n), 21] if n else [21],  # the last two are kept
    ),
    "log_every": Wire(4, 5, observe=log_every, expected=lambda n: [*range(n, 13, n), *([12] if 12 % n else [])]),
    "adapt_threads": Wire(True, False, observe=adapt_threads, expected=lambda v: [v]),
    "wandb": Wire(None, "looks", observe=wandb, expected=lambda v: [v] if v else []),
}


def test_no_setting_of_the_run_is_forgotten() -> None:
    assert_complete(RunOptions, RUN)


@cases(RUN)
@pytest.mark.slow
def test_settings_of_the_run_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


# --- presets and the whole configuration ------------------------------------------------------------------------------


def test_no_part_of_the_whole_configuration_is_forgotten() -> None:
    sections = {"environment", "training", "learner_config", "method_config"}  # tables of their own
    assert set(Config.__dataclass_fields__) == {"env", "method", "learner", "preset", "seed"} | sections


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.parametrize("learner", [name for name in LEARNERS.names() if not LEARNERS.get(name).on_policy])
def test_everything_that_a_preset_names_is_in_the_agents_configuration(preset: str, method: str, learner: str) -> None:
    config, decisions = decided("MyEnv-v0", method, learner, preset)
    told = config.as_dict()
    wanted = {
        **PRESETS[preset],
        learner: LEARNERS.get(learner).presets.get(preset, {}),
        method: METHODS.get(method).presets.get(preset, {}),
    }
    for part in (LEARNERS.get(learner), METHODS.get(method)):
        for section, brought in (*part.run_presets.get("*", {}).items(), *part.run_presets.get(preset, {}).items()):
            if section == "encoder":
                wanted[learner] = {**wanted[learner], "encoder": {**wanted[learner].get("encoder", {}), **brought}}
            else:
                wanted[section] = {**wanted.get(section, {}), **brought}
    for section, settings in decisions.items():
        wanted[section] = {**wanted[section], **settings}
    for section, settings in wanted.items():
        assert_within(settings, told[section], section)


def assert_within(settings: Any, told: Any, where: str) -> None:
    for name, value in settings.items():
        if isinstance(value, dict):
            assert_within(value, told[name], f"{where}.{name}")
        else:
            assert told[name] == value, f"{where}.{name}"
