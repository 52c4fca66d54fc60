"""Stepping the environments that an agent learns from, and filling its replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from foveal import checkpoint
from foveal.config.environment import requirements
from foveal.envs import PixelProcesses, make_vector
from foveal.envs.wrapper_state import Stateless
from foveal.errors import FovealError
from foveal.replay import ReplayBuffer
from foveal.training.agents import LearningAgent
from foveal.types import PREVIOUS_ACTION

FREE_SHARE = 0.6
"""Share of a GPU's free memory that replay takes at most, unless asked to."""


class Collector:
    """The environments of a training run, each with an episode that goes on from step to step.

    Attributes:
        episodes: (environment, return) of the episodes that ended in the latest step.
        early: whether the environments are asked for ``early`` extra fields, too.

    Raises:
        FovealError: as ``foveal.envs.make_vector`` and ``ReplayBuffer``.
    """

    def __init__(self, agent: LearningAgent) -> None:
        count = agent.config.training.environments
        self._agent = agent
        self._seed = first_seed(agent)
        self._envs = self._environments()
        # Where the step that ends an episode begins the next one, no step is an automatic reset.
        self._begins_at_once = self._envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
        self.replay = _replay(agent)
        self.episodes: list[tuple[int, float]] = []
        self.early = True
        self._obs: Any = None
        self._running: NDArray[Any] | None = None  # actions of a step that processes are taking
        self._ended = np.zeros(count, dtype=bool)
        self._returns = np.zeros(count)
        self._action_rng = np.random.default_rng(self._seed)

    def _environments(self) -> VectorEnv[Any, Any, Any]:
        return environments(self._agent, self._seed)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._envs.closed

    def begin(self) -> None:
        """Start an episode everywhere, unless one was restored and is running."""
        if self._obs is not None:
            return
        self._obs, _ = self._envs.reset(seed=self._seed)
        values = self._extra_values()
        for stream in range(self._envs.num_envs):
            self.replay.begin(stream, self._perceived(_one(self._obs, stream)), self._extras(values, stream))

    def step(self, *, random: bool) -> None:
        """One step of every environment, with random actions or the policy's.

        Environments in processes of their own finish the step that they began in the last call, and begin the next one.

        Raises:
            FovealError: a reward or an action of the policy is not finite; the agent step is named.
        """
        envs = self._envs
        if not isinstance(envs, PixelProcesses):
            actions = self._actions(random)
            self._record(actions, *envs.step(actions))
            return
        running = self._send(envs, random) if self._running is None else self._running
        self._running = None
        self._record(running, *envs.step_wait())
        self._running = self._send(envs, random)

    def _send(self, envs: PixelProcesses, random: bool) -> NDArray[Any]:
        actions = self._actions(random)
        envs.step_async(actions)
        return actions

    def _actions(self, random: bool) -> NDArray[Any]:
        return self._random_actions() if random else self._chosen_actions()

    def close(self) -> None:
        """Close the environments but one that the user made."""
        if self._running is not None:
            self._running = None
            self._envs.step_wait()  # type: ignore[attr-defined]
        self._envs.close()

    def state(self) -> dict[str, Any]:
        """What the rest of the run depends on: replay's counters, episodes, and the simulators if they can be saved."""
        return {
            "replay": self.replay.state(),
            "learning_starts": self._agent.learning_starts,
            "envs": self._saved(),
            "obs": self._obs,
            "ended": self._ended,
            "returns": self._returns,
            "action_rng": checkpoint.numpy_state(self._action_rng),
        }

    def load_state(self, state: Mapping[str, Any], segments: Mapping[str, Any]) -> bool:
        """Go on from ``state``; False where the episodes could not be saved, so that new ones begin."""
        self.replay.load_state(state["replay"], segments)
        self._agent.learning_starts = state["learning_starts"]
        checkpoint.load_numpy_state(self._action_rng, state["action_rng"])
        if not self._restored(state["envs"]):
            return False
        self._obs, self._ended = state["obs"], np.array(state["ended"], dtype=bool)
        self._returns = np.array(state["returns"], dtype=np.float64)
        return True

    def _saved(self) -> Any:
        """The running episodes, or None where they can't be saved."""
        return saved(self._envs)

    def _restored(self, envs: Any) -> bool:
        """Go on with the episodes that ``_saved`` gave, if it could."""
        if envs is not None:
            self._envs.set_state(envs)  # type: ignore[attr-defined]
        return envs is not None

    def _record(
        self, actions: NDArray[Any], obs: Any, rewards: Any, terminated: Any, truncated: Any, infos: Mapping[str, Any]
    ) -> None:
        """Store a step of all environments in replay."""
        self.episodes = []
        values = self._extra_values()
        for stream in range(self._envs.num_envs):
            if self._ended[stream]:  # this step was Gymnasium's automatic reset: no transition
                self.replay.begin(stream, self._perceived(_one(obs, stream)), self._extras(values, stream))
                continue
            reward, step = float(rewards[stream]), self._agent.steps + 1
            if not np.isfinite(reward):
                raise FovealError(f"agent step {step}: the environment gave reward {reward}, not a finite number")
            ends = bool(terminated[stream]), bool(truncated[stream])
            extras = self._extras(values, stream, actions[stream])
            begins = self._begins_at_once and any(ends)
            following = infos["final_obs"][stream] if begins else _one(obs, stream)
            self.replay.add(stream, actions[stream], reward, *ends, self._perceived(following), extras)
            if begins:
                self.replay.begin(stream, self._perceived(_one(obs, stream)), self._extras(values, stream))
            self._agent.steps = step
            self._returns[stream] += reward
            if any(ends):
                self.episodes.append((stream, float(self._returns[stream])))
                self._returns[stream] = 0.0
        self._obs = obs
        self._ended = (terminated | truncated) & (not self._begins_at_once)

    def _perceived(self, observation: Any) -> Any:
        """What replay keeps of one observation."""
        if self._agent.method.sees_all:
            return observation
        if isinstance(observation, Mapping):
            return {**observation, "image": self._perceived(observation["image"])}
        seen = torch.from_numpy(observation).to(self._agent.device)
        return self._agent.perceive(seen[None])[0].cpu().numpy()

    def _extra_values(self) -> dict[str, Sequence[Any]]:
        """What the environments' methods for extra fields return now: source -> one value of each environment."""
        wanted = (extra for extra in self.replay.extras if self.early or not extra.early)
        sources = {extra.source for extra in wanted} - {PREVIOUS_ACTION}
        return {source: self._envs.call("read", source) for source in sorted(sources)}  # type: ignore[attr-defined]

    def _extras(self, values: Mapping[str, Sequence[Any]], stream: int, action: Any = None) -> dict[str, Any]:
        """The extra fields of one environment: 0 where nothing was asked, and an action where an episode begins."""
        known = {source: value[stream] for source, value in values.items()}
        if action is not None:
            known[PREVIOUS_ACTION] = action
        return {
            extra.name: known[extra.source] if extra.source in known else np.zeros(extra.shape or (), extra.dtype)
            for extra in self.replay.extras
        }

    def _chosen_actions(self) -> NDArray[Any]:
        actions = self._agent.predict(self._obs)[0]
        if not np.isfinite(actions).all():
            raise FovealError(f"agent step {self._agent.steps + 1}: the policy's action is not finite: {actions}")
        return actions

    def _random_actions(self) -> NDArray[Any]:
        space, count = self._agent.shapes.action, self._envs.num_envs
        if isinstance(space, spaces.Discrete):
            return self._action_rng.integers(space.n, size=count)
        return self._action_rng.uniform(-1, 1, (count, *(space.shape or ()))).astype(np.float32)


class KeptOpen(Stateless, gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that the user made, which training does not close."""

    def close(self) -> None:
        """Leave it open."""


def environments(agent: LearningAgent, seed: int) -> VectorEnv[Any, Any, Any]:
    """The environments that an agent learns in.

    Args:
        seed: of the first.

    Raises:
        FovealError: as ``foveal.envs.make_vector``, or the user's own environment is to move to a process.
    """
    training, env = agent.config.training, agent.env
    if isinstance(env, gymnasium.Env):
        if training.processes:
            raise FovealError("an environment can't move to another process: give a callable that makes it, or its id")
        env = KeptOpen(env)
    return make_vector(env, training.environments, asynchronous=training.processes, seed=seed, **agent.env_options)


def first_seed(agent: LearningAgent) -> int:
    """The agent's own at first; later another, so as not to play the episodes again that it began with."""
    if agent.steps == 0:
        return agent.seed
    return int(np.random.SeedSequence([agent.seed, agent.steps]).generate_state(1)[0]) // 2


def _replay(agent: LearningAgent) -> ReplayBuffer:
    """The agent's replay, or a new one that must fill before learning starts."""
    if agent.replay is None:
        training = agent.config.training
        agent.replay = new_replay(agent, training.replay_capacity, training.environments)
        agent.learning_starts = agent.steps + agent.config.training.initial_random_steps
    return agent.replay


def new_replay(agent: LearningAgent, capacity: int, streams: int) -> ReplayBuffer:
    """An empty replay for an agent, of ``capacity`` frames over ``streams`` environments."""
    training, shapes, size = agent.config.training, agent.shapes, agent.env_options["image_size"]
    frame_stack = agent.config.environment.frame_stack
    channels = shapes.image[0] // frame_stack
    discrete = isinstance(shapes.action, spaces.Discrete)
    action_shape = () if discrete else shapes.action.shape or ()
    action_dtype = "int64" if discrete else "float32"
    extras = [
        replace(extra, shape=action_shape, dtype=action_dtype) if extra.source == PREVIOUS_ACTION else extra
        for extra in requirements(agent.config).extras
    ]
    return ReplayBuffer(
        capacity,
        frame_shape=(channels, size, size),
        frame_stack=frame_stack,
        action_shape=action_shape,
        action_dtype=action_dtype,
        vector_size=shapes.vector,
        streams=streams,
        n_step=training.n_step,
        discount=training.discount,
        seed=agent.seed,
        device=_replay_device(agent, capacity * channels * size * size),
        extras=extras,
    )


def _replay_device(agent: LearningAgent, wanted: int) -> str:
    """Where ``wanted`` bytes of frames go: to the GPU that trains only if much of it stays free for the networks."""
    device = agent.config.training.replay_device
    if device != "auto":
        return device
    if agent.device.type != "cuda":
        return "cpu"
    free, _ = torch.cuda.mem_get_info(agent.device)
    return "cuda" if wanted < FREE_SHARE * free else "cpu"


def saved(envs: Any) -> Any:
    """The state of environments, or None where it can't be saved."""
    try:
        return envs.get_state()
    except FovealError:
        return None


def _one(obs: Any, stream: int) -> Any:
    """The observation of one of the environments."""
    if isinstance(obs, Mapping):
        return {key: value[stream] for key, value in obs.items()}
    return obs[stream]
