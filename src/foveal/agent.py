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
from foveal.augmentations import AugmentationOptions
from foveal.checkpoint.policy_only import halved, with_targets, without_targets
from foveal.config.environment import (
    chosen_device,
    describe,
    env_options,
    on_this_machine,
    probe,
    requirements,
)
from foveal.config.tree import Config, config_from_dict, configure
from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.export import export_onnx
from foveal.learners import LEARNERS, Shapes
from foveal.methods import METHODS, Setup
from foveal.networks.precision import convolution_dtype
from foveal.replay import ReplayBuffer
from foveal.training import Callback, ReplayWork, RunOptions, Trainer
from foveal.training.adapting import adapting
from foveal.training.agents import KIND
from foveal.training.cuda_graphs import CapturedUpdater
from foveal.training.updater import Updater
from foveal.types import Observation


class Agent:
    """A pixel policy: a value learner, a generalization method, and the environment they are for.

    Args:
        env: an id such as ``"dmc/walker-walk"``, any registered Gymnasium id, an environment, or a callable that
            makes one.
        method: name of the generalization method.
        learner: name of the value learner.
        preset: ``"paper"`` (published architecture and hyperparameters), ``"compact"`` (for a CPU) or ``"debug"``.
        seed: of everything random.
        overrides: settings by section: ``environment={"image_size": 64}``, ``training={"batch_size": 64}``,
            ``sgqn={"quantile": 0.9}``, ``sac={"hidden": 256}``.

    Raises:
        FovealError: an unknown name or setting, an environment without RGB images, actions that the learner
            can't serve.
    """

    def __init__(
        self,
        env: EnvLike,
        method: str = "sgqn",
        learner: str = "sac",
        preset: str = "paper",
        seed: int = 0,
        **overrides: Any,
    ) -> None:
        config = configure(describe(env), method, learner, preset, seed, overrides)
        self._assemble(env, config, probe(env, config))

    @classmethod
    def from_config(cls, config: Config) -> Agent:
        """An untrained agent of a configuration, whose environment is an id.

        Raises:
            FovealError: as for ``Agent``.
        """
        agent = cls.__new__(cls)
        agent._assemble(config.env, config, probe(config.env, config))
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
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        self.acting_generator = torch.Generator(self.device).manual_seed(config.seed + 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)  # initial weights
            learner_class = LEARNERS.get(config.learner)
            self.learner = learner_class(config.learner_config, shapes, dtype, self.generator).to(self.device)
            setup = Setup(self.learner, shapes.image, self._augmentation(), self.generator, dtype)
            method_class = METHODS.get(config.method)
            self.method = method_class(config.method_config, setup).to(self.device)
        self.steps = 0
        updater = CapturedUpdater if self._can_capture() else Updater
        self.updater = updater(self.learner, self.method, pixel_gradient=requirements(config).pixel_gradient)

    def _can_capture(self) -> bool:
        wanted = self.device.type == "cuda" and self.config.training.cuda_graphs
        return wanted and self.learner.capturable and self.method.capturable

    def _augmentation(self) -> AugmentationOptions:
        training = self.config.training
        size = self.config.environment.image_size
        return AugmentationOptions(
            size,
            training.overlays,
            training.overlay_count,
            training.overlay_refresh,
            self.config.seed,
            self.device,
            training.overlay_detail,
        )

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
        """Name of its method."""
        return self.config.method

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
        return self.updater.count

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

        What was experienced stays in memory for the next call. An agent that was loaded has no such memory, and first
        collects as much as a new one does, with its own policy.

        Args:
            steps: agent steps, each ``action_repeat`` simulator steps long.
            run: a new folder for TensorBoard, checkpoints, configuration and returns; None keeps nothing on disk.
            callbacks: see ``foveal.training.Callback``.
            progress: show a bar with the time left.
            **options: fields of ``foveal.training.RunOptions``: how often to evaluate, on what, how often to save.

        Raises:
            FovealError: the folder exists, or training had to stop: a reward or a loss that is not finite.
            KeyboardInterrupt: after Ctrl-C, once the running step is done and a checkpoint is written.
        """
        run_options = RunOptions.from_settings(options)
        trainer = Trainer(ReplayWork(self), run_options, run=run, callbacks=callbacks, progress=progress)
        trainer.train(steps)
        return self

    def predict(
        self,
        observation: Any,
        state: None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], None]:
        """Actions for one observation or a batch of them.

        Args:
            observation: as its environment gives it: (C, H, W) or (B, C, H, W) ``uint8``, or a dict of that as
                ``"image"`` and a ``"vector"``.
            state: unused; there for the shape of Stable-Baselines3's ``predict``.
            episode_start: unused, for the same reason.
            deterministic: the policy's mean action instead of a sample.

        Returns:
            (A,) or (B, A) ``float32`` in [-1, 1], or integers where actions are discrete; and None.

        Raises:
            FovealError: the observation has another shape.
        """
        obs, single = self._batched(observation)
        with torch.no_grad():
            actions = self.learner.act(self.method.observe(obs), deterministic, self.acting_generator)
        array = actions.cpu().numpy()
        return (array[0] if single else array), None

    def adapting(self) -> AbstractContextManager[Callable[[Any, Any, float, Any, bool], None] | None]:
        """Let the method learn at test time, within a ``with`` block; see ``foveal.training.adapting``."""
        return adapting(self)

    def values(self, obs: Tensor, action: Tensor, vector: Tensor | None = None) -> Tensor:
        """The critic's values, with a graph back to the observation: what saliency maps explain.

        Args:
            obs: (B, C, H, W) floating point in [0, 255], on the agent's device.
            action: (B, A), or (B,) where actions are discrete.
            vector: (B, V) where the environment has one.

        Returns:
            (heads, B), in units of return.
        """
        return self.learner.estimate(self.method.observe(Observation(obs, vector)), action).values

    @property
    def heads(self) -> int:
        """How many values its critic has for an observation and an action."""
        return self.learner.heads

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
        pixels, single = self._images(image)
        with torch.enable_grad():
            seen = self.method.observe(Observation(pixels.requires_grad_())).image
        drawn = self.learner.attention(Observation(seen.detach()))[:, None]  # (B, 1, h, w)
        # Back to where the method took its picture from: the transpose of a crop puts it there again.
        (placed,) = torch.autograd.grad(seen, pixels, drawn.expand_as(seen))
        maps: NDArray[np.float32] = placed[:, 0].cpu().numpy()
        return maps[0] if single else maps

    def _images(self, image: Any) -> tuple[Tensor, bool]:
        """(B, C, H, W) floating point on the device, and whether that was one image alone."""
        size = self.env_options["image_size"]
        wanted = (self.shapes.image[0], size, size)
        array = np.asarray(image)
        single = array.ndim == 3
        if array.shape[-3:] != wanted or array.ndim not in {3, 4}:
            raise FovealError(f"expected an observation of shape {wanted} or a batch of them, got {array.shape}")
        return Observation(self._tensor(array, single)).float().image, single

    def _batched(self, observation: Any) -> tuple[Observation, bool]:
        parts = _parts(observation, with_vector=bool(self.shapes.vector))
        image, single = self._images(parts["image"])
        vector = None
        if self.shapes.vector:
            values = np.asarray(parts["vector"], np.float32)
            if values.shape != (*np.shape(parts["image"])[:-3], self.shapes.vector):
                raise FovealError(
                    f"expected a vector of {self.shapes.vector} numbers beside every image, got {values.shape} beside "
                    f"images {np.shape(parts['image'])}"
                )
            vector = self._tensor(values, single)
        return Observation(image, vector), single

    def _tensor(self, array: NDArray[Any], single: bool) -> Tensor:
        # A copy: arrays may be read-only or run backwards, which torch accepts with a warning or not at all.
        return torch.from_numpy(np.array(array[None] if single else array, order="C")).to(self.device)

    # --- state ----------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything an update depends on, as tensors by name and JSON: what ``checkpoint.save`` takes."""
        tree = {
            "learner": dict(self.learner.state_dict()),
            "method": dict(self.method.state_dict()),
            "generators": [g.get_state() for g in (self.generator, self.acting_generator)],
        }
        tensors, described = checkpoint.split(tree)
        optimizers = {}
        for name, optimizer in self.updater.optimizers().items():
            held, optimizers[name] = checkpoint.optimizer_state(optimizer)
            tensors |= {f"optimizers/{name}/{key}": value for key, value in held.items()}
        state = {
            "config": self.config.as_dict(),
            "shapes": self.shapes.as_dict(),
            "device": self.device.type,
            "steps": self.steps,
            "updates": self.updates,
            "networks": described,
            "optimizers": optimizers,
        }
        return tensors, state

    def load_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Become the agent that gave this state; the configurations must agree.

        Random draws go on as they would have, unless that was on another kind of device.

        Raises:
            FovealError: the networks differ.
        """
        tree = checkpoint.join(tensors, state["networks"])
        weights = tree["learner"]
        if state.get("policy_only"):
            weights = with_targets(weights, self.learner.state_dict())
        try:
            self.learner.load_state_dict(weights)
            self.method.load_state_dict(tree["method"])
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise FovealError(f"these weights do not fit the networks of their configuration: {first}") from error
        if state.get("device", self.device.type) == self.device.type:  # else the generators are of another kind
            for generator, held in zip((self.generator, self.acting_generator), tree["generators"], strict=True):
                checkpoint.load_generator_state(generator, held)
        for name, optimizer in self.updater.optimizers().items():
            if state.get("policy_only"):
                break
            held = checkpoint.under(f"optimizers/{name}/", tensors)
            checkpoint.load_optimizer_state(optimizer, held, state["optimizers"][name])
        self.steps = state["steps"]
        self.updater.count = state["updates"]
        self.updater.restart()

    def save(self, folder: str | Path, *, policy_only: bool = False) -> Path:
        """Write weights, optimizers, random states and configuration, without replay; atomically.

        Args:
            folder: where to; replaced if it holds an agent already.
            policy_only: a file several times smaller for acting and explaining: no optimizers and no target networks,
                weights in half precision. Training can go on from it, but not as if nothing had happened.

        Raises:
            FovealError: the folder holds something else, or can't be written.
        """
        tensors, state = self.state()
        if policy_only:
            tensors = halved(tensors)
            state |= {"policy_only": True, "optimizers": {}, "networks": without_targets(state["networks"])}
        return checkpoint.save(folder, tensors, state, kind=KIND)

    def export(self, path: str | Path) -> Path:
        """Write the deterministic policy alone as ONNX, checked against PyTorch; needs the extra ``onnx``.

        Raises:
            FovealError: the extra is missing, or the exported policy disagrees with this one.
        """
        return export_onnx(self, Path(path))


def restore(held: checkpoint.Checkpoint, env: EnvLike | None = None, device: str | None = None) -> Agent:
    """The agent of a checkpoint that has been read already; arguments as for ``foveal.load``."""
    agent = Agent.__new__(Agent)
    config = on_this_machine(config_from_dict(held.state["config"]), device)
    agent._assemble(config.env if env is None else env, config, Shapes.from_dict(held.state["shapes"]))
    agent.load_state(held.tensors, held.state)
    return agent


def _parts(observation: Any, *, with_vector: bool) -> Mapping[str, Any]:
    names = {"image", "vector"} if with_vector else set()
    if names != (set(observation) if isinstance(observation, Mapping) else set()):
        raise FovealError(f"this agent observes {'a dict of image and vector' if names else 'an image alone'}")
    return observation if names else {"image": observation}
