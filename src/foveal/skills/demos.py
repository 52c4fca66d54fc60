"""Collecting demonstrations: scripted experts, one skill after the other, what fails included."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from foveal.config.bounds import SHARE, Bounded, at_least, one_of
from foveal.config.tree import checked_seed
from foveal.envs.ur5e import TASKS, make_arm
from foveal.envs.ur5e.env import ArmEnv
from foveal.envs.ur5e.experts import SKILL_STEPS, script, skills
from foveal.envs.ur5e.randomization import RANDOMIZATIONS, other_camera
from foveal.errors import FovealError
from foveal.progress import Progress
from foveal.registry import nearest
from foveal.skills.config import configured
from foveal.skills.minari import DemoFolder, DemoWriter, Episode, in_millimetres, open_demos, require_extra
from foveal.skills.seeds import DEMONSTRATIONS_EACH
from foveal.skills.view import View
from foveal.skills.workers import Workers

ORDERS = ("random", "script")


@dataclass(frozen=True)
class DemoOptions(Bounded, section="demos"):
    """How demonstrations are made.

    Attributes:
        episodes: how many.
        order: ``"random"``: any skill may follow any other; ``"script"``: the order that solves the task, again and
            again.
        follow: of skills in random order, the share that is the script's next one after the last. 0 is the published
            order; above it, states that only a sensible order reaches (the cube held above the bowl) are seen oftener.
        linger: steps that a skill goes on after its end, also where it has solved the task: what comes of letting go
            is seen. None gives each the whole ``SKILL_STEPS``, as published.
        noise: standard deviation of noise on the velocity that is carried out, in the action's units, constant for
            ten steps; in the ten after it there is none, so that experts come to where they let go. What is to be
            imitated stays the expert's advice, so its corrections are seen too.
        cameras: each demonstration is seen by so many, drawn from the same ranges. Every camera's view is stored as an
            episode.
        size: height and width of depth frames, pixels.
        render: height and width of the picture that they are cut from.
        camera: 0 front, 1 side, 2 wrist.
        randomization: name of the ranges of ``foveal.envs.ur5e.randomization``.
        seed: of all episodes, see ``foveal.skills.seeds``.

    Raises:
        FovealError: a value out of range, or an unknown name.
    """

    episodes: Annotated[int, at_least(1)] = 250
    order: Annotated[str, one_of(*ORDERS)] = "random"
    follow: Annotated[float, SHARE] = 0.0
    linger: Annotated[int | None, at_least(0)] = None
    noise: Annotated[float, at_least(0)] = 0.0
    size: Annotated[int, at_least(1)] = 84
    render: Annotated[int, at_least(1)] = 108
    cameras: Annotated[int, at_least(1)] = 5
    camera: Annotated[int, at_least(0)] = 0
    randomization: Annotated[str, one_of(*RANDOMIZATIONS)] = "training"
    seed: Annotated[int, at_least(0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_seed(self.seed)
        _ = self.view

    @property
    def view(self) -> View:
        """What frames show."""
        return View(self.size, self.render, self.camera)


# Published: 250 demonstrations of five cameras each, whole skills in random order: 10 GB of frames. Compact: more
# scenes and fewer frames, as skills end soon after they are done: scenes are what a network must learn to see.
DEMO_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "compact": {"episodes": 300, "follow": 0.5, "linger": 8, "noise": 0.2, "cameras": 1},
    "debug": {"episodes": 4, "follow": 0.5, "linger": 1, "size": 36, "render": 36, "cameras": 1},
}


def demo_options(preset: str = "compact", changes: Mapping[str, Any] | None = None) -> DemoOptions:
    """A preset with changes.

    Raises:
        FovealError: an unknown preset or setting, or a value out of range or of the wrong type.
    """
    return configured(DemoOptions(), DEMO_PRESETS, preset, changes or {}, "demos")


def task_of(env: str) -> str:
    """``ur5e/bowl`` or ``bowl`` -> ``bowl``.

    Raises:
        FovealError: no such task.
    """
    task = env.removeprefix("ur5e/")
    if task not in TASKS:
        raise FovealError(f"unknown task {env!r}: {nearest(env, [f'ur5e/{name}' for name in TASKS])}")
    return task


def collect(
    task: str,
    folder: str | Path,
    options: DemoOptions,
    *,
    workers: int = 1,
    progress: bool = False,
    resume: bool = False,
    finished: Callable[[int], None] = lambda demonstrations: None,
) -> DemoFolder:
    """Demonstrations of a task, on the disk.

    Args:
        task: such as ``"bowl"`` or ``"ur5e/bowl"``.
        folder: a new one, in the layout of ``foveal.skills.minari``.
        options: how they are made; the same options give the same episodes, whatever ``workers``.
        workers: processes.
        progress: show a bar.
        resume: go on with a folder that a call with the same options left unfinished.
        finished: called after every demonstration with how many there are.

    Raises:
        FovealError: an unknown task, the extra is missing, the folder exists, or there is nothing to go on with.
    """
    require_extra()
    task = task_of(task)
    about = {"task": task, "skills": [skill.name for skill in skills(task)], **dataclasses.asdict(options)}
    writer = DemoWriter.going_on(folder, about, options.cameras) if resume else DemoWriter(folder, about)
    done, total = writer.episodes // options.cameras, options.episodes
    jobs = [(task, options, number) for number in range(done, total)]
    solved = 0
    with Workers(workers) as crew, Progress(done, total, visible=progress, what="demos", unit="episode") as bar:
        for number, seen in enumerate(crew.map(_job, jobs), done + 1):
            for episode in seen:
                writer.add(episode)
            solved += seen[0].terminated
            bar.show(solved=solved)
            bar.advance(number)
            finished(number)
    return open_demos(folder)


def collected(folder: str | Path, options: DemoOptions) -> bool:
    """Whether a folder has all demonstrations that ``collect`` makes with these options."""
    try:
        found = open_demos(folder)
    except FovealError:
        return False
    asked = json.loads(json.dumps(dataclasses.asdict(options)))
    same = all(name in found.about and found.about[name] == value for name, value in asked.items())
    return same and found.episodes == options.episodes * options.cameras


def demonstrate(env: ArmEnv, options: DemoOptions, seed: int) -> list[Episode]:
    """One demonstration as each camera sees it.

    It ends with the skill that solves the task, when that has lingered, or with its time.
    """
    random = np.random.default_rng([options.seed, seed])
    choices = _choices(env.task_name, options, random)
    advisers = skills(env.task_name)
    observation, _ = env.reset(seed=seed)
    watch = _Watch(env, options, seed)
    watch.look(observation)
    steps: list[tuple[NDArray[np.float32], NDArray[np.float32], int, float]] = []
    current, left = next(choices), SKILL_STEPS
    push = np.zeros(3)
    solved = truncated = False
    while not (truncated or (solved and left == 0)):
        if left == 0:
            current, left = next(choices), SKILL_STEPS
        if len(steps) % 10 == 0:
            push = options.noise * random.standard_normal(3) * (len(steps) % 20 == 0)
        advice = advisers[current].expert(env.truth())
        action = np.clip(advice.action + np.array([*push, 0.0]), -1.0, 1.0).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(action)
        watch.look(observation)
        steps.append((action, advice.action, current, 0.0 if solved else reward))
        solved = solved or terminated
        truncated = truncated or len(steps) == env.max_agent_steps
        left -= 1
        if advice.done and options.linger is not None:
            left = min(left, options.linger)
    actions, advices, numbers, rewards = zip(*steps, strict=True)
    return [
        Episode(
            depth=depth,
            vector=np.stack(watch.vectors),
            actions=np.stack(actions),
            rewards=np.array(rewards, np.float64),
            terminated=solved,
            truncated=not solved,
            skill=np.array(numbers, np.int64),
            advice=np.stack(advices),
            things=np.stack(watch.things).astype(np.float32),
            seed=seed,
        )
        for depth in watch.depth()
    ]


class _Watch:
    """What all cameras see of a demonstration; the first is the episode's own."""

    def __init__(self, env: ArmEnv, options: DemoOptions, seed: int) -> None:
        random = np.random.default_rng([8, options.seed, seed])
        self._others = [other_camera(env.scene(), env.ranges, random) for _ in range(options.cameras - 1)]
        self._env, self._view = env, options.view
        self._frames: list[list[NDArray[np.uint16]]] = [[] for _ in range(options.cameras)]
        self.vectors: list[NDArray[np.float32]] = []
        self.things: list[NDArray[np.float64]] = []

    def look(self, observation: Any) -> None:
        """Keep what is seen now."""
        pictures = [observation["depth"], *map(self._env.depth_from, self._others)]
        for frames, picture in zip(self._frames, pictures, strict=True):
            frames.append(in_millimetres(self._view.cut(picture)))
        self.vectors.append(observation["vector"])
        self.things.append(self._env.truth().centres)

    def depth(self) -> list[NDArray[np.uint16]]:
        """(T + 1, H, W) millimetres of each camera."""
        return [np.stack(frames) for frames in self._frames]


def _choices(task: str, options: DemoOptions, random: np.random.Generator) -> Iterator[int]:
    """Numbers of skills, without end."""
    ordered = script(task)
    place = 0  # in the script, of the skill that would come next
    while True:
        if options.order == "script" or random.random() < options.follow:
            chosen = ordered[place]
        else:
            chosen = int(random.integers(len(skills(task))))
        yield chosen
        after: NDArray[Any] = np.flatnonzero(np.array(ordered) == chosen)
        if options.order == "script":
            place = (place + 1) % len(ordered)
        elif after.size:
            place = (int(random.choice(after)) + 1) % len(ordered)


def _job(job: tuple[str, DemoOptions, int]) -> list[Episode]:
    task, options, number = job
    return demonstrate(_arm(task, options), options, DEMONSTRATIONS_EACH * options.seed + number)


@lru_cache(maxsize=1)
def _arm(task: str, options: DemoOptions) -> ArmEnv:
    """One in every process."""
    return make_arm(task, size=options.render, camera=options.camera, randomization=options.randomization)
