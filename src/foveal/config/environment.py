"""What an agent is built around: its environment's name, the options it is made with, the shapes it gives; a device."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from foveal.augmentations import AugmentationOptions
from foveal.config.sections import TrainingConfig
from foveal.config.tree import Config
from foveal.envs import games, make
from foveal.envs.making import EnvLike, takes_discrete
from foveal.errors import FovealError
from foveal.learners import LEARNERS, Shapes
from foveal.methods import Requirements, method_class
from foveal.networks.precision import portable_precision


def requirements(config: Config) -> Requirements:
    """What the method of a configuration needs."""
    return method_class(config.method).requirements(config.method_config, config.environment.image_size)


def env_options(config: Config) -> dict[str, Any]:
    """Keyword arguments of ``foveal.envs.make`` that give what the method is to be trained on; a game's own."""
    environment = config.environment
    if games.is_atari(config.env):
        return {
            "image_size": requirements(config).render_size,
            "frame_stack": environment.frame_stack,
            "action_repeat": 4,
            "life_loss": environment.life_loss,
            "repeat_first": not LEARNERS.get(config.learner).on_policy,  # as replay rebuilds the first observation
            **games.protocol_rules(config.env, environment.protocol, environment.sticky, environment.frame_limit),
        }
    return {
        "image_size": requirements(config).render_size,
        "frame_stack": environment.frame_stack,
        "action_repeat": environment.action_repeat,
        "quality": environment.quality,
        "camera": environment.camera,
        "rendered_size": environment.rendered_size,
    }


def augmentation_options(config: Config, device: torch.device) -> AugmentationOptions:
    """What strong augmentations of a configuration's method are built with; nothing in particular without any."""
    training = config.training
    if not isinstance(training, TrainingConfig):
        return AugmentationOptions(seed=config.seed, device=device)
    return AugmentationOptions(
        config.environment.image_size,
        training.overlays,
        training.overlay_count,
        training.overlay_refresh,
        config.seed,
        device,
        training.overlay_detail,
        channels=1 if games.is_atari(config.env) else 3,
    )


def probe(env: EnvLike, config: Config) -> Shapes:
    """Shapes of the spaces, from an environment made for the purpose (or the user's own)."""
    if games.is_atari(config.env):
        return Shapes(games.OBSERVED, 0, spaces.Discrete(games.action_count(config.env)))
    made = make(env, **env_options(config))
    space, size = made.observation_space, config.environment.image_size
    vector = 0
    if isinstance(space, spaces.Dict):
        vector = math.prod(space["vector"].shape or ())
        space = space["image"]
    channels = (space.shape or (0,))[0]
    if not isinstance(env, gymnasium.Env):
        made.close()
    return Shapes((channels, size, size), vector, made.action_space)


def usual_learner(env: EnvLike) -> str:
    """The learner where none is named: "ppo" for Atari games, "dqn" where actions are discrete, else "sac".

    Raises:
        FovealError: the environment must be made to be asked, and can't be.
    """
    if isinstance(env, str) and games.is_atari(env):
        return "ppo"
    return "dqn" if takes_discrete(env) else "sac"


def describe(env: EnvLike) -> str:
    """An id that makes the same environment again, or else what the user's own is called."""
    if isinstance(env, str):
        return env
    if isinstance(env, gymnasium.Env):
        return _registered_id(env.spec) or type(env.unwrapped).__name__
    return getattr(env, "__name__", type(env).__name__)


def _registered_id(spec: EnvSpec | None) -> str | None:
    """The id, if it alone gives this environment: no arguments of the user's, no wrappers."""
    known = None if spec is None else gymnasium.registry.get(spec.id)
    if spec is None or known is None or spec.additional_wrappers:
        return None
    same = known.kwargs == spec.kwargs and known.max_episode_steps == spec.max_episode_steps
    return spec.id if same else None


def chosen_device(name: str) -> torch.device:
    """The device of a setting.

    Raises:
        FovealError: there is no such device, or it is not at hand.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise FovealError(f"unknown device {name!r}: use 'auto', 'cpu' or 'cuda'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise FovealError("device 'cuda' was asked for and PyTorch sees no GPU; use 'cpu' or 'auto'")
    return device


def on_this_machine(config: Any, device: str | None = None) -> Any:
    """The configuration of a checkpoint, which may come from a machine that could do more, on ``device`` or its own."""
    training = config.training
    device = training.device if device is None else device
    precision = portable_precision(training.precision, chosen_device(device))
    return dataclasses.replace(config, training=dataclasses.replace(training, device=device, precision=precision))
