"""The assembler: an environment, a learner and a method become an agent that learns, acts, and is saved and loaded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from foveal import checkpoint
from foveal.augmentations import AugmentationOptions
from foveal.config import Config, config_from_dict, configure
from foveal.envs import make
from foveal.errors import FovealError
from foveal.learners import LEARNERS, Shapes
from foveal.methods import METHODS, Setup
from foveal.networks.precision import convolution_dtype
from foveal.types import Observation
from foveal.updates import Updater

if TYPE_CHECKING:
    from foveal.training import Callback

EnvLike = str | gymnasium.Env[Any, Any] | Callable[[], gymnasium.Env[Any, Any]]
KIND = "foveal.agent"
PRETRAINED = "pretrained:"


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
        config = configure(_describe(env), method, learner, preset, seed, overrides)
        self._assemble(env, config, _probe(env, config))

    @classmethod
    def from_config(cls, config: Config) -> Agent:
        """An untrained agent of a configuration, whose environment is an id.

        Raises:
            FovealError: as for ``Agent``.
        """
        agent = cls.__new__(cls)
        agent._assemble(config.env, config, _probe(config.env, config))
        return agent

    def _assemble(self, env: EnvLike, config: Config, shapes: Shapes) -> None:
        self.env = env
        self.config = config
        self.shapes = shapes
        self.device = _device(config.training.device)
        self.steps = 0
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
        requirements = method_class.requirements(config.method_config, config.environment.image_size)
        self.updater = Updater(self.learner, self.method, pixel_gradient=requirements.pixel_gradient)

    def _augmentation(self) -> AugmentationOptions:
        training = self.config.training
        size = self.config.environment.image_size
        return AugmentationOptions(size, training.overlays, training.overlay_count, self.config.seed, self.device)

    # --- what it is -----------------------------------------------------------------------------------------------

    @property
    def env_id(self) -> str:
        """Id of its environment, or a description of the user's own."""
        return self.config.env

    @property
    def env_options(self) -> dict[str, Any]:
        """Keyword arguments of ``foveal.envs.make`` that give the observations it was trained on."""
        return _env_options(self.config)

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

        Args:
            steps: agent steps, each ``action_repeat`` simulator steps long.
            run: a new folder for TensorBoard, checkpoints, configuration and returns; None keeps nothing on disk.
            callbacks: see ``foveal.training.Callback``.
            progress: show a bar with the time left.
            **options: fields of ``foveal.training.RunOptions``: how often to evaluate, on what, how often to save.

        Raises:
            FovealError: the folder exists, or training had to stop: a reward or a loss that is not finite.
        """
        from foveal.training import RunOptions, Trainer

        trainer = Trainer(self, RunOptions.from_settings(options), run=run, callbacks=callbacks, progress=progress)
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

    def _batched(self, observation: Any) -> tuple[Observation, bool]:
        is_dict = isinstance(observation, Mapping)
        if is_dict != bool(self.shapes.vector):
            wanted = "a dict of 'image' and 'vector'" if self.shapes.vector else "an image alone"
            raise FovealError(f"this agent observes {wanted}")
        image = np.asarray(observation["image"] if is_dict else observation)
        options = self.env_options
        shape = (self.shapes.image[0], options["image_size"], options["image_size"])
        single = image.ndim == 3
        if image.shape[-3:] != shape or image.ndim not in {3, 4}:
            raise FovealError(f"expected an observation of shape {shape} or a batch of them, got {image.shape}")
        tensor = torch.as_tensor(image[None] if single else image).to(self.device)
        vector = None
        if is_dict:
            values = np.asarray(observation["vector"], np.float32)
            vector = torch.as_tensor(values[None] if single else values).to(self.device)
        return Observation(tensor, vector).float(), single

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
            "shapes": _shapes_to_json(self.shapes),
            "steps": self.steps,
            "updates": self.updates,
            "networks": described,
            "optimizers": optimizers,
        }
        return tensors, state

    def load_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Become the agent that gave this state; the configurations must agree."""
        tree = checkpoint.join(tensors, state["networks"])
        self.learner.load_state_dict(tree["learner"])
        self.method.load_state_dict(tree["method"])
        for generator, held in zip((self.generator, self.acting_generator), tree["generators"], strict=True):
            checkpoint.load_generator_state(generator, held)
        for name, optimizer in self.updater.optimizers().items():
            prefix = f"optimizers/{name}/"
            held = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            checkpoint.load_optimizer_state(optimizer, held, state["optimizers"][name])
        self.steps = state["steps"]
        self.updater.count = state["updates"]

    def save(self, folder: str | Path) -> Path:
        """Write weights, optimizers, random states and configuration, without replay; atomically.

        Raises:
            FovealError: the folder holds something else, or can't be written.
        """
        tensors, state = self.state()
        return checkpoint.save(folder, tensors, state, kind=KIND)

    def export(self, path: str | Path) -> Path:
        """Write the deterministic policy alone as ONNX, checked against PyTorch; needs the extra ``onnx``.

        Raises:
            FovealError: the extra is missing, or the exported policy disagrees with this one.
        """
        from foveal.export import export_onnx

        return export_onnx(self, Path(path))


def load(path: str | Path, env: EnvLike | None = None, device: str | None = None) -> Agent:
    """An agent from ``agent.save``'s folder, a run's folder (its last good checkpoint), or ``"pretrained:NAME"``.

    Args:
        path: the folder, or the name of a policy that ships with foveal.
        env: the environment, where it was the user's own and has no id.
        device: where to put it, by default as its configuration says.

    Raises:
        FovealError: no such folder or policy, a damaged or foreign one, or one that this version can't read.
    """
    folder = _pretrained(str(path)) if str(path).startswith(PRETRAINED) else Path(path)
    return restore(_read(folder), env, device)


def restore(held: checkpoint.Checkpoint, env: EnvLike | None = None, device: str | None = None) -> Agent:
    """The agent of a checkpoint that has been read already; arguments as for ``load``."""
    agent = Agent.__new__(Agent)
    config = config_from_dict(held.state["config"])
    if device is not None:
        config = _on_device(config, device)
    agent._assemble(config.env if env is None else env, config, _shapes_from_json(held.state["shapes"]))
    agent.load_state(held.tensors, held.state)
    return agent


def _read(folder: Path) -> checkpoint.Checkpoint:
    if (folder / "checkpoints").is_dir():
        latest = checkpoint.CheckpointStore(folder, kind=KIND).latest()
        if latest is None:
            raise FovealError(f"{folder} is a run without a checkpoint yet; let it train further")
        return latest
    return checkpoint.load(folder, kind=KIND)


def _pretrained(name: str) -> Path:
    root = Path(str(files("foveal") / "pretrained"))
    shipped = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    wanted = name.removeprefix(PRETRAINED)
    if wanted not in shipped:
        raise FovealError(f"no pretrained policy {wanted!r}; these ship with foveal: {', '.join(shipped) or 'none'}")
    return root / wanted


def _env_options(config: Config) -> dict[str, Any]:
    environment = config.environment
    requirements = METHODS.get(config.method).requirements(config.method_config, environment.image_size)
    return {
        "image_size": requirements.render_size,
        "frame_stack": environment.frame_stack,
        "action_repeat": environment.action_repeat,
        "quality": environment.quality,
        "camera": environment.camera,
    }


def _probe(env: EnvLike, config: Config) -> Shapes:
    """Shapes of the spaces, from an environment made for the purpose (or the user's own)."""
    made = make(env, **_env_options(config))
    space, size = made.observation_space, config.environment.image_size
    vector = 0
    if isinstance(space, spaces.Dict):
        vector = math.prod(space["vector"].shape or ())
        space = space["image"]
    channels = (space.shape or (0,))[0]
    if not isinstance(env, gymnasium.Env):
        made.close()
    return Shapes((channels, size, size), vector, made.action_space)


def _describe(env: EnvLike) -> str:
    if isinstance(env, str):
        return env
    if isinstance(env, gymnasium.Env):
        return env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    return getattr(env, "__name__", type(env).__name__)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise FovealError(f"unknown device {name!r}: use 'auto', 'cpu' or 'cuda'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise FovealError("device 'cuda' was asked for and PyTorch sees no GPU; use 'cpu' or 'auto'")
    return device


def _on_device(config: Config, device: str) -> Config:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, device=device))


def _shapes_to_json(shapes: Shapes) -> dict[str, Any]:
    if isinstance(shapes.action, spaces.Discrete):
        action: dict[str, Any] = {"discrete": int(shapes.action.n)}
    else:
        action = {"continuous": list(shapes.action.shape or ())}
    return {"image": list(shapes.image), "vector": shapes.vector, "action": action}


def _shapes_from_json(state: Mapping[str, Any]) -> Shapes:
    channels, height, width = state["image"]
    action = state["action"]
    space: spaces.Space[Any]
    if "discrete" in action:
        space = spaces.Discrete(action["discrete"])
    else:
        space = spaces.Box(-1.0, 1.0, tuple(action["continuous"]), np.float32)
    return Shapes((channels, height, width), state["vector"], space)
