"""The assembler: an environment, a learner and a method become an agent that learns, acts, and is saved and loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal import checkpoint
from foveal.atari.evaluation import agent_world
from foveal.atari.insides import agent_insides
from foveal.atari.training import work_of
from foveal.config.environment import (
    augmentation_options,
    chosen_device,
    describe,
    env_options,
    probe,
    requirements,
    usual_learner,
)
from foveal.config.tree import Config, configure
from foveal.envs.making import EnvLike, made_once
from foveal.evaluation.insides import Insides
from foveal.evaluation.world import World, WorldOptions
from foveal.export import export_onnx
from foveal.learners import LEARNERS, Shapes
from foveal.learners.pixel_ppo import PixelPPO
from foveal.learners.ppo import PPO
from foveal.methods import Setup, method_class
from foveal.networks.precision import convolution_dtype
from foveal.observations import as_batch, as_images
from foveal.replay import ReplayBuffer
from foveal.training import Callback, ReplayWork, RolloutWork, RunOptions, Trainer
from foveal.training.adapting import adapting
from foveal.training.agent_state import agent_state, load_agent_state
from foveal.training.agents import KIND
from foveal.training.cuda_graphs import CapturedUpdater
from foveal.training.perceiving import Perceiving
from foveal.training.updater import Updater
from foveal.types import Observation


class Agent:
    """A pixel policy: a learner, where it is a value learner also a generalization method, and their environment.

    Args:
        env: an id such as ``"dmc/walker-walk"`` or ``"atari/breakout"``, any registered Gymnasium id, an environment,
            or a callable that makes one.
        method: name of the generalization method, or of several joined by ``+``, such as ``"sgqn+sada"``; by default
            "sgqn", and "none" where none can be composed.
        learner: name of the learner; by default "sac", "dqn" where actions are discrete, and "ppo" for Atari games.
        preset: ``"paper"`` (published architecture and hyperparameters), ``"compact"`` (for a CPU) or ``"debug"``.
        seed: of everything random.
        encoder: name of the network that sees, by default the learner's own: ``"nature"``, ``"sparse-fls"``, ...;
            or ``"fls"``, attention inside a value learner's own.
        overrides: settings by section: ``environment={"image_size": 64}``, ``training={"batch_size": 64}``,
            ``sgqn={"quantile": 0.9}``, ``sac={"hidden": 256}``, ``ppo={"clip": 0.2}``.

    Attributes:
        config: the whole configuration.
        learner: its networks.
        updater: takes the updates: of a value learner and a method, or ``foveal.learners.ppo.PPO``.

    Raises:
        FovealError: an unknown name or setting, an environment without RGB images, observations or actions that the
            learner can't serve, or a game without the extra ``atari``.
    """

    def __init__(
        self,
        env: EnvLike,
        method: str | None = None,
        learner: str | None = None,
        preset: str = "paper",
        seed: int = 0,
        encoder: str | None = None,
        **overrides: Any,
    ) -> None:
        with made_once(env) as first:
            learner = usual_learner(first) if learner is None else learner
            config = configure(describe(env), method, learner, preset, seed, overrides, encoder=encoder)
            shapes = probe(first, config)
        self._assemble(env, config, shapes)

    @classmethod
    def from_config(cls, config: Config, env: EnvLike | None = None, shapes: Shapes | None = None) -> Agent:
        """An untrained agent of a configuration.

        Args:
            config: all settings.
            env: its environment, where that is not the configuration's id.
            shapes: of its spaces, so that no environment need be made to know them.

        Raises:
            FovealError: as for ``Agent``.
        """
        agent, env = cls.__new__(cls), config.env if env is None else env
        agent._assemble(env, config, probe(env, config) if shapes is None else shapes)
        return agent

    def _assemble(self, env: EnvLike, config: Config, shapes: Shapes) -> None:
        self.env = env
        self.config = config
        self.shapes = shapes
        self.device = chosen_device(config.training.device)
        self.replay: ReplayBuffer | None = None  # lives on from one ``learn`` to the next; ``save`` leaves it out
        self.learning_starts = 0  # agent steps at which there is enough of it
        dtype = convolution_dtype(config.training.precision, self.device)
        # One generator per purpose, so that how often one is used never shifts the draws of another.
        learner_class = LEARNERS.get(config.learner)
        drawing = torch.device("cpu") if learner_class.on_policy else self.device  # minibatches are drawn on the CPU
        self.generator = torch.Generator(drawing).manual_seed(config.seed)
        self.acting_generator = torch.Generator(self.device).manual_seed(config.seed + 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)  # initial weights
            # A ``ValueLearner`` and an ``Updater``, or a ``PixelPPO`` and its ``PPO``.
            learner: Any = learner_class(config.learner_config, shapes, dtype, self.generator)
            self.learner = learner.to(self.device)
            pictures = augmentation_options(config, self.device)
            setup = Setup(self.learner, shapes.image, pictures, self.generator, dtype)
            self.method = method_class(config.method)(config.method_config, setup).to(self.device)
        self.perceive = Perceiving(self.method, shapes.image[0] // config.environment.frame_stack, self.device)
        self.steps = 0
        self.updater: Any = self._updater()

    def _updater(self) -> Updater | PPO:
        if isinstance(self.learner, PixelPPO):
            return PPO(self.config.learner_config, self.learner.policy, self.acting_generator, self.generator)
        kind = CapturedUpdater if self._can_capture() else Updater
        pixel_gradient = requirements(self.config).pixel_gradient
        plain_updates = self.config.training.plain_updates
        return kind(self.learner, self.method, pixel_gradient=pixel_gradient, plain_updates=plain_updates)

    def _can_capture(self) -> bool:
        wanted = self.device.type == "cuda" and self.config.training.cuda_graphs
        return bool(wanted and self.learner.capturable and self.method.capturable)

    # --- what it is -----------------------------------------------------------------------------------------------

    @property
    def env_id(self) -> str:
        """Id of its environment, or a description of the user's own."""
        return self.config.env

    @property
    def env_options(self) -> dict[str, Any]:
        """Keyword arguments of ``foveal.envs.make`` that give the observations it was trained on."""
        return env_options(self.config)

    @property
    def method_name(self) -> str:
        """Name of its method; of its encoder where the learner takes none."""
        return self.encoder_name if self.learner.on_policy else self.config.method

    @property
    def encoder_name(self) -> str:
        """Name of the network that sees."""
        return str(self.config.learner_config.encoder.name)

    @property
    def learner_name(self) -> str:
        """Name of its learner."""
        return self.config.learner

    @property
    def seed(self) -> int:
        """Seed of its training."""
        return self.config.seed

    @property
    def steps(self) -> int:
        """Agent steps taken."""
        return self._steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self._steps = steps
        self.learner.set_step(steps)

    @property
    def updates(self) -> int:
        """Gradient updates taken."""
        return int(self.updater.updates)

    # --- what it does ---------------------------------------------------------------------------------------------

    def learn(
        self,
        steps: int,
        run: str | Path | None = None,
        *,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        **options: Any,
    ) -> Agent:
        """Train for ``steps`` more agent steps; returns itself.

        What a value learner experienced stays in memory for the next call. One that was loaded has no such memory, and
        first collects as much as a new one does, with its own policy. PPO trains for whole rollouts, and its learning
        rate and clip range decay linearly towards 0 at the end, from the share of them that is left: all of it for a
        new agent.

        Args:
            steps: agent steps, each ``action_repeat`` simulator steps long, summed over all environments.
            run: a new folder for TensorBoard, checkpoints, configuration and returns; None keeps nothing on disk.
            callbacks: see ``foveal.training.Callback``.
            progress: show a bar with the time left.
            **options: fields of ``foveal.training.RunOptions``: how often to evaluate, on what, how often to save.

        Raises:
            FovealError: the folder exists, or training had to stop: a reward or a loss that is not finite.
            KeyboardInterrupt: after Ctrl-C, once the running step is done and a checkpoint is written.
        """
        run_options = RunOptions.from_settings(options, work_of(self.config).default_options)
        Trainer(self.work(), run_options, run=run, callbacks=callbacks, progress=progress).train(steps)
        return self

    def work(self) -> ReplayWork | RolloutWork:
        """A training of it, for a ``foveal.training.Trainer``.

        Raises:
            FovealError: its environments can't be made.
        """
        return work_of(self.config)(self)

    def world(self, options: WorldOptions) -> World:
        """Where ``foveal.evaluate`` and ``foveal.explain`` let it act: whole games on Atari, else its environment."""
        return agent_world(self, options)

    def insides(self) -> Insides:
        """What ``foveal.explain`` may look at: the critic, or PPO's value and policy, and its attention."""
        return agent_insides(self)

    def predict(
        self,
        observation: Any,
        state: None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], None]:
        """Actions for one observation or a batch of them.

        Args:
            observation: as its environment gives it: (C, H, W) or (B, C, H, W) ``uint8``, oldest frame first, or a dict
                of that as ``"image"`` and a ``"vector"``.
            state: unused; there for the shape of Stable-Baselines3's ``predict``.
            episode_start: unused, for the same reason.
            deterministic: the policy's mean or likeliest action instead of a sample.

        Returns:
            (A,) or (B, A) ``float32`` in [-1, 1], or integers where actions are discrete; and None.

        Raises:
            FovealError: the observation has another shape or type.
        """
        obs, single = as_batch(observation, self._image_shape, self.shapes.vector, self.device)
        with torch.no_grad():
            seen = self.method.observe(obs._replace(image=self.perceive(obs.image)))
            actions = self.learner.act(seen, deterministic, self.acting_generator)
        array = actions.cpu().numpy()
        return (array[0] if single else array), None

    def adapting(self) -> AbstractContextManager[Callable[[Any, Any, float, Any, bool], None] | None]:
        """Let the method learn at test time, within a ``with`` block; see ``foveal.training.adapting``."""
        return adapting(self)

    def values(self, obs: Tensor, action: Tensor | None = None, vector: Tensor | None = None) -> Tensor:
        """The critic's values, with a graph back to the observation: what saliency maps explain.

        Args:
            obs: (B, C, H, W) floating point in [0, 255], on the agent's device.
            action: (B, A), or (B,) where actions are discrete; PPO's values are of states, and need none.
            vector: (B, V) where the environment has one.

        Returns:
            (heads, B), in units of return.
        """
        return self.learner.values(self.method.see(Observation(obs, vector)), action)

    @property
    def has_attention(self) -> bool:
        """Whether its encoder has an attention module inside, whose map ``attention`` gives."""
        return self.learner.has_attention

    def attention(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """What the attention module inside its encoder marks, from one forward pass.

        Args:
            image: (C, H, W) or (B, C, H, W), as in ``predict``; a vector beside it has no say in this.

        Returns:
            (H, W) or (B, H, W), not negative, in the module's own unit: divide by the maximum of what is compared.

        Raises:
            FovealError: there is no such module (see ``has_attention``), or the image has another shape.
        """
        return self._drawn(image)

    @property
    def latest_attention(self) -> NDArray[np.float32] | None:
        """The module's map of the latest forward pass, such as that of ``predict``, on its own grid, (B, h, w).

        None before the first, and without such a module.
        """
        grid: Tensor | None = getattr(self.learner.encoder(), "attention", None)
        return None if grid is None else grid[:, 0].float().cpu().numpy()

    def attention_grid(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """The map of ``attention`` before it is drawn, one number for each position of the features.

        What ``foveal.saliency.evenness`` measures. Arguments and errors are those of ``attention``.

        Returns:
            (h, w) or (B, h, w), such as 7x7 for Sparse FLS.
        """
        drawn, grid = self._drawn(image), self.latest_attention
        assert grid is not None  # drawing takes a forward pass
        return grid[0] if drawn.ndim == 2 else grid

    def even_attention(self) -> NDArray[np.float32]:
        """What ``attention`` draws of a map that is 1 at every position, (H, W): bright in the middle, and in stripes.

        Raises:
            FovealError: there is no such module.
        """
        return self._drawn(np.zeros(self._image_shape, np.uint8), even=True)

    def _drawn(self, image: NDArray[Any], *, even: bool = False) -> NDArray[np.float32]:
        pixels, single = as_images(image, self._image_shape, self.device)
        with torch.enable_grad():
            seen = self.method.see(Observation(pixels.requires_grad_())).image
        drawn = self.learner.attention(Observation(seen.detach()), even=even)[:, None]  # (B, 1, h, w)
        if seen.shape != pixels.shape:
            # Back to where the method took its picture from: the transpose of a crop puts it there again.
            (drawn,) = torch.autograd.grad(seen, pixels, drawn.expand_as(seen))
        maps: NDArray[np.float32] = drawn[:, 0].cpu().numpy()
        return maps[0] if single else maps

    @property
    def _image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) that the environment gives, of which the method may show a crop."""
        size = self.env_options["image_size"]
        return (self.shapes.image[0], size, size)

    # --- state ----------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything an update depends on, as tensors by name and JSON: what ``checkpoint.save`` takes."""
        return agent_state(self)

    def load_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Become the agent that gave this state; the configurations must agree.

        Random draws go on as they would have, unless that was on another kind of device.

        Raises:
            FovealError: the networks differ.
        """
        load_agent_state(self, tensors, state)

    def save(self, folder: str | Path, *, policy_only: bool = False) -> Path:
        """Write weights, optimizers, random states and configuration, without replay; atomically.

        Args:
            folder: where to; replaced if it holds an agent already.
            policy_only: a file several times smaller for acting and explaining: no optimizers and no target networks,
                weights in half precision. Training can go on from it, but not as if nothing had happened.

        Raises:
            FovealError: the folder holds something else, or can't be written.
        """
        return checkpoint.save(folder, *agent_state(self, policy_only=policy_only), kind=KIND)

    def export(self, path: str | Path) -> Path:
        """Write the deterministic policy alone as ONNX, checked against PyTorch; needs the extra ``onnx``.

        Raises:
            FovealError: the extra is missing, or the exported policy disagrees with this one.
        """
        return export_onnx(self, Path(path))
