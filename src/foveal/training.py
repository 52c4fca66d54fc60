"""The training loop: step environments, fill replay, update, evaluate, keep everything on disk, go on after a kill."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from foveal import checkpoint
from foveal.agent import Agent, EnvLike, restore
from foveal.config import changed
from foveal.envs import make_vector
from foveal.errors import FovealError
from foveal.evaluation import evaluate, plan_for
from foveal.progress import Progress
from foveal.replay import ReplayBuffer
from foveal.results import Results
from foveal.runs import RunFolder, refuse_existing
from foveal.types import Batch

VALIDATION_SEED_OFFSET = 1042
"""Evaluations during training choose the best checkpoint, so they must not see the final evaluation's episodes."""


@dataclass(frozen=True)
class RunOptions:
    """What happens beside learning.

    Attributes:
        evaluate_every: agent steps between evaluations, 0 for none. None either where the environment was given as an
            object and not as an id or a callable: the evaluation would cut the running episode short.
        evaluate_episodes: episodes per evaluation and perturbation.
        evaluate_on: "train" and names of perturbations.
        data: folder of DMC-GB's colours and videos for these; generated ones without it.
        checkpoint_every: agent steps between checkpoints, 0 for one at the end alone. With a run folder.
        log_every: updates between readings of the losses.
    """

    evaluate_every: int = 10_000
    evaluate_episodes: int = 5
    evaluate_on: tuple[str, ...] = ("train",)
    data: str | None = None
    checkpoint_every: int = 10_000
    log_every: int = 100

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> RunOptions:
        """Defaults with some changed; unknown ones raise FovealError."""
        return changed(cls(), settings, "run")


class Callback:
    """Hooks into training; subclass and override what you need."""

    def on_step(self, trainer: Trainer) -> bool | None:
        """After each step of all environments; return False to stop training."""

    def on_evaluation(self, trainer: Trainer, results: Results) -> None:
        """After an evaluation."""

    def on_checkpoint(self, trainer: Trainer, folder: Path) -> None:
        """After a checkpoint has been written."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last step."""


class Trainer:
    """One training run of an agent.

    Args:
        agent: what learns; its step and update counters go on from where they are.
        options: how often to evaluate, save and log.
        run: a new folder, or None.
        callbacks: hooks.
        progress: show a bar.

    Raises:
        FovealError: the folder exists already, or an evaluation that was asked for is impossible.
    """

    def __init__(
        self,
        agent: Agent,
        options: RunOptions | None = None,
        *,
        run: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> None:
        self.agent = agent
        self.options = options or RunOptions()
        self.callbacks = list(callbacks)
        self.progress = progress
        if run is not None:
            refuse_existing(Path(run))
        self.evaluation_seed = agent.seed + VALIDATION_SEED_OFFSET
        # An environment that was given as an object is in the middle of an episode whenever an evaluation is due.
        self.evaluates = self.options.evaluate_every > 0 and not isinstance(agent.env, gymnasium.Env)
        if self.evaluates:
            plan_for(
                agent,
                list(self.options.evaluate_on),
                seed=self.evaluation_seed,
                data=self.options.data,
                env=agent.env,
            )
        agent.method.get_ready()
        self.target = agent.steps
        self.metrics: dict[str, Tensor] = {}
        self.best_return = -np.inf
        training = agent.config.training
        self.envs = _environments(agent)
        self.replay = _replay(agent)
        self.action_rng = np.random.default_rng(agent.seed)
        self.owed_updates = 0.0
        self.running_returns = np.zeros(training.environments)
        self.ended = np.zeros(training.environments, dtype=bool)
        self.obs: Any = None
        self.folder = None if run is None else RunFolder.create(Path(run), agent.config, self.options)

    @classmethod
    def resume(
        cls, run: str | Path, *, env: EnvLike | None = None, callbacks: Sequence[Callback] = (), progress: bool = True
    ) -> Trainer:
        """The trainer of a run folder, as it was at its last good checkpoint.

        Args:
            run: the folder of a run that was stopped or killed.
            env: the environment, where it was the user's own and has no id.

        Raises:
            FovealError: no such run, or all its checkpoints are damaged.
        """
        folder = RunFolder.open(Path(run))
        held = folder.store.latest()
        if held is None:
            raise FovealError(f"{run} has no checkpoint to resume from; delete the folder and start again")
        options = RunOptions.from_settings(held.state["run"]["options"])
        agent = restore(held, env)
        trainer = cls(agent, options, callbacks=callbacks, progress=progress)
        trainer.folder = folder
        trainer._load_state(held)
        folder.rewind(agent.steps)
        return trainer

    # --- the loop -------------------------------------------------------------------------------------------------

    def train(self, steps: int | None = None) -> None:
        """Train for ``steps`` more agent steps, or up to the target of the run that was resumed.

        Raises:
            FovealError: a reward or a loss is not finite, or a checkpoint can't be written. The last checkpoint stays.
        """
        agent = self.agent
        if steps is not None:
            self.target = agent.steps + steps
        with Progress(agent.steps, self.target, visible=self.progress) as self.bar:
            try:
                self._begin()
                while agent.steps < self.target:
                    self._step()
                    if any(callback.on_step(self) is False for callback in self.callbacks):
                        break
            except KeyboardInterrupt:
                self._keep(forced=True)
                raise
            self._keep(forced=True)
        for callback in self.callbacks:
            callback.on_end(self)
        self.close()

    def close(self) -> None:
        """Let go of the environments and the log."""
        self.envs.close()
        if self.folder is not None:
            self.folder.close()

    def _begin(self) -> None:
        if self.obs is not None:  # resumed in the middle of an episode
            return
        self.obs, _ = self.envs.reset(seed=self.agent.seed)
        for stream in range(self.envs.num_envs):
            self.replay.begin(stream, _one(self.obs, stream))

    def _step(self) -> None:
        """One step of every environment, and the updates that it earns."""
        agent, before = self.agent, self.agent.steps
        actions = self._actions()
        obs, rewards, terminated, truncated, _ = self.envs.step(actions)
        for stream in range(self.envs.num_envs):
            self._record(stream, actions, rewards, terminated, truncated, obs)
        self.obs, self.ended = obs, terminated | truncated
        self._update(agent.steps - before)
        self._keep(before=before)
        self.bar.advance(agent.steps)

    def _record(
        self,
        stream: int,
        actions: NDArray[Any],
        rewards: NDArray[Any],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        obs: Any,
    ) -> None:
        if self.ended[stream]:  # this step was Gymnasium's automatic reset: no transition
            self.replay.begin(stream, _one(obs, stream))
            return
        reward, step = float(rewards[stream]), self.agent.steps + 1
        if not np.isfinite(reward):
            raise FovealError(f"agent step {step}: the environment gave reward {reward}; {self._kept()}")
        next_obs = _one(obs, stream)
        self.replay.add(stream, actions[stream], reward, bool(terminated[stream]), bool(truncated[stream]), next_obs)
        self.agent.steps = step
        self.running_returns[stream] += reward
        if terminated[stream] or truncated[stream]:
            self._episode(stream)

    def _episode(self, stream: int) -> None:
        value = float(self.running_returns[stream])
        self.running_returns[stream] = 0.0
        self.bar.told(train=value)
        if self.folder is not None:
            self.folder.log_episode(self.agent.steps, stream, value)

    def _actions(self) -> NDArray[Any]:
        agent = self.agent
        if agent.steps < agent.config.training.initial_random_steps:
            return self._random_actions()
        return agent.predict(self.obs)[0]

    def _random_actions(self) -> NDArray[Any]:
        space, count = self.agent.shapes.action, self.envs.num_envs
        if isinstance(space, spaces.Discrete):
            return self.action_rng.integers(space.n, size=count)
        return self.action_rng.uniform(-1, 1, (count, *(space.shape or ()))).astype(np.float32)

    def _update(self, new_steps: int) -> None:
        training, steps = self.agent.config.training, self.agent.steps
        if steps < training.initial_random_steps or new_steps == 0:
            return
        first = steps - new_steps < training.initial_random_steps
        self.owed_updates += new_steps * training.updates_per_step + (training.catch_up_updates if first else 0)
        while self.owed_updates >= 1 and len(self.replay) > 0:
            self.owed_updates -= 1
            self.metrics = self.agent.updater.update(self._sample(training.batch_size), self._sample)
            if self.agent.updates % self.options.log_every == 0:
                self._log()
            self.bar.refresh()

    def _sample(self, size: int) -> Batch:
        return self.replay.sample(size).to(self.agent.device)

    def _log(self) -> None:
        """Read the losses: the only place in the loop that waits for the device."""
        values = {name: float(value) for name, value in self.metrics.items()}
        self._check_finite(values)
        if self.folder is not None:
            self.folder.log_metrics(self.agent.steps, self.agent.updates, values)

    def _check_finite(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not np.isfinite(value):
                raise FovealError(
                    f"{name} became {value} at update {self.agent.updates}, agent step {self.agent.steps}; training "
                    f"stopped, {self._kept()}. Lower the learning rate, or look for extreme rewards"
                )

    def _kept(self) -> str:
        if self.folder is None or not self.folder.store.steps():
            return "nothing was saved before"
        return f"the last checkpoint is {self.folder.store.path(self.folder.store.steps()[-1])}"

    # --- evaluation and checkpoints -------------------------------------------------------------------------------

    def _keep(self, before: int | None = None, forced: bool = False) -> None:
        """Evaluate and save where that is due."""
        steps, options = self.agent.steps, self.options
        if forced:
            before = steps
        assert before is not None
        if self.evaluates and _crossed(before, steps, options.evaluate_every):
            self._evaluate()
        if self.folder is not None and (forced or _crossed(before, steps, options.checkpoint_every)):
            self._save()

    def _evaluate(self) -> None:
        results = evaluate(
            self.agent,
            list(self.options.evaluate_on),
            self.options.evaluate_episodes,
            seed=self.evaluation_seed,
            data=self.options.data,
            env=None if isinstance(self.agent.env, str) else self.agent.env,
            progress=False,
        )
        mean = results.conditions[0].summary["mean"]
        self.bar.told(test=mean)
        improved = mean > self.best_return
        self.best_return = max(mean, self.best_return)
        if self.folder is not None:
            self.folder.log_evaluation(self.agent.steps, results)
            if improved:
                self.folder.store.save_best(*self.agent.state())
        for callback in self.callbacks:
            callback.on_evaluation(self, results)

    def _save(self) -> None:
        assert self.folder is not None
        if self.folder.store.steps()[-1:] == [self.agent.steps]:
            return
        self._check_finite({name: float(value) for name, value in self.metrics.items()})
        tensors, state = self.agent.state()
        more, state["run"] = checkpoint.split(self._run_state(), "run")
        path = self.folder.store.save(self.agent.steps, {**tensors, **more}, state, segments=self.replay.segments())
        for callback in self.callbacks:
            callback.on_checkpoint(self, path)

    def _run_state(self) -> dict[str, Any]:
        return {
            "options": dataclasses.asdict(self.options),
            "target": self.target,
            "replay": self.replay.state(),
            "envs": _saved_environments(self.envs),
            "obs": self.obs,
            "ended": self.ended,
            "running_returns": self.running_returns,
            "owed_updates": self.owed_updates,
            "best_return": float(self.best_return) if np.isfinite(self.best_return) else None,
            "action_rng": checkpoint.numpy_state(self.action_rng),
        }

    def _load_state(self, held: checkpoint.Checkpoint) -> None:
        state = checkpoint.join(held.tensors, held.state["run"])
        self.target = state["target"]
        self.replay.load_state(state["replay"], held.segments)
        self.running_returns = np.array(state["running_returns"])
        self.owed_updates = state["owed_updates"]
        self.best_return = -np.inf if state["best_return"] is None else state["best_return"]
        checkpoint.load_numpy_state(self.action_rng, state["action_rng"])
        if state["envs"] is None:
            print("this environment can't be saved: the episode that was running starts again")
            self.running_returns[:] = 0.0
            return
        self.envs.set_state(state["envs"])  # type: ignore[attr-defined]
        self.obs, self.ended = state["obs"], np.array(state["ended"])


def _environments(agent: Agent) -> VectorEnv[Any, Any, Any]:
    count = agent.config.training.environments
    return make_vector(agent.env, count, seed=agent.seed, **agent.env_options)


def _saved_environments(envs: Any) -> Any:
    try:
        return envs.get_state()
    except FovealError:
        return None


def _replay(agent: Agent) -> ReplayBuffer:
    training, shapes, size = agent.config.training, agent.shapes, agent.env_options["image_size"]
    discrete = isinstance(shapes.action, spaces.Discrete)
    return ReplayBuffer(
        training.replay_capacity,
        frame_shape=(3, size, size),
        frame_stack=agent.config.environment.frame_stack,
        action_shape=() if discrete else shapes.action.shape or (),
        action_dtype=np.int64 if discrete else np.float32,
        vector_size=shapes.vector,
        streams=training.environments,
        n_step=training.n_step,
        discount=training.discount,
        seed=agent.seed,
    )


def _one(obs: Any, stream: int) -> Any:
    """The observation of one of the environments."""
    if isinstance(obs, Mapping):
        return {key: value[stream] for key, value in obs.items()}
    return obs[stream]


def _crossed(before: int, after: int, every: int) -> bool:
    return every > 0 and before // every != after // every
