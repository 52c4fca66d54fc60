"""An Atari agent: PPO with a named encoder, which may have attention inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal import checkpoint
from foveal.atari import games
from foveal.atari.config import LEARNER, AtariConfig, config_from_dict, configure
from foveal.atari.evaluation import GameWorld, evaluate, game_world
from foveal.atari.insides import game_insides
from foveal.atari.maps import render_maps
from foveal.atari.policy import SHAPE, AtariPolicy
from foveal.atari.training import KIND, RUN, GameWork
from foveal.config.environment import chosen_device, on_this_machine
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides
from foveal.evaluation.results import Results
from foveal.evaluation.world import WorldOptions
from foveal.learners.ppo import PPO
from foveal.networks.precision import convolution_dtype
from foveal.training import Callback, RunOptions, Trainer

FORMER_NAMES = {"features_extractor.encoder.": "encoder.", "action_net.": "actor.linear.", "value_net.": "critic."}
"""How weights were called in the checkpoints of agents that Stable-Baselines3 trained, and what that is now."""


class AtariAgent:
    """A policy for one Atari game, trained by PPO, with whatever attention its encoder has.

    Args:
        env: id such as ``"atari/breakout"``.
        encoder: name of the network: ``"nature"``, ``"sparse-fls"`` and so on.
        preset: ``"paper"`` (published hyperparameters), ``"compact"`` (for a CPU) or ``"debug"``.
        seed: of everything random.
        **overrides: settings by section: ``ppo={"clip": 0.2}``, ``training={"precision": "float32"}``.

    Attributes:
        config: the whole configuration.
        ppo: the learner, ``foveal.learners.ppo.PPO``: its optimizer and its random draws.
        policy: encoder, actor and critic.

    Raises:
        FovealError: the extra ``atari`` is missing, or a name or a setting is unknown.
    """

    def __init__(
        self, env: str, encoder: str = "sparse-fls", preset: str = "paper", seed: int = 0, **overrides: Any
    ) -> None:
        config = configure(env, encoder, preset, seed, overrides)
        self._assemble(config, games.action_count(config.env))

    @classmethod
    def from_config(cls, config: AtariConfig) -> AtariAgent:
        """An untrained agent of a configuration."""
        agent = cls.__new__(cls)
        agent._assemble(config, games.action_count(config.env))
        return agent

    def _assemble(self, config: AtariConfig, actions: int) -> None:
        games.require_extra()
        self.config = config
        self.actions = actions
        self.device = chosen_device(config.training.device)
        shuffling = torch.Generator().manual_seed(config.seed)
        self.acting = torch.Generator(self.device).manual_seed(config.seed + 1)
        dtype = convolution_dtype(config.training.precision, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)  # initial weights
            self.policy = AtariPolicy(config, actions, dtype).to(self.device)
        self.ppo = PPO(config.ppo, self.policy, self.acting, shuffling)

    # --- what it is -----------------------------------------------------------------------------------------------

    @property
    def env_id(self) -> str:
        """Id of its game."""
        return self.config.env

    @property
    def encoder_name(self) -> str:
        """Name of its network."""
        return self.config.encoder

    @property
    def method_name(self) -> str:
        """What results call it: its encoder."""
        return self.config.encoder

    @property
    def learner_name(self) -> str:
        """``"ppo"``."""
        return LEARNER

    @property
    def steps(self) -> int:
        """Agent steps trained for."""
        return self.ppo.steps

    @property
    def updates(self) -> int:
        """Passes over what was played."""
        return self.ppo.updates

    @property
    def seed(self) -> int:
        """Seed of its training."""
        return self.config.seed

    # --- what it does ---------------------------------------------------------------------------------------------

    def learn(
        self,
        steps: int,
        run: str | Path | None = None,
        *,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        **options: Any,
    ) -> AtariAgent:
        """Train for at least ``steps`` more agent steps, in whole rollouts; returns itself.

        Learning rate and clip range decay linearly towards 0 at the end, from the share of them that is left: all of
        it for a new agent.

        Args:
            steps: agent steps, of four frames each, summed over all games.
            run: a new folder for TensorBoard, checkpoints, configuration and scores; None keeps nothing on disk.
            callbacks: see ``foveal.Callback``.
            progress: show a bar with the time left.
            **options: fields of ``foveal.training.RunOptions``; by default ``foveal.atari.training.RUN``.

        Raises:
            FovealError: the folder exists, or a loss is not finite.
            KeyboardInterrupt: after Ctrl-C, once the running update is done and a checkpoint is written.
        """
        run_options = RunOptions.from_settings(options, RUN)
        Trainer(GameWork(self), run_options, run=run, callbacks=callbacks, progress=progress).train(steps)
        return self

    def world(self, options: WorldOptions) -> GameWorld:
        """The games that it plays."""
        return game_world(self, options)

    def insides(self) -> Insides:
        """Its value, its action's chance and its attention."""
        return game_insides(self)

    def scores(
        self,
        episodes: int = 30,
        seed: int | None = None,
        *,
        deterministic: bool = False,
        progress: bool = True,
    ) -> Results:
        """True scores of whole games; see ``foveal.atari.evaluation.evaluate``."""
        return evaluate(self, episodes, seed, deterministic=deterministic, progress=progress)

    def predict(
        self,
        observation: Any,
        state: None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.int64], None]:
        """Actions for one observation or a batch of them.

        Args:
            observation: (4, 84, 84) or (B, 4, 84, 84) ``uint8``, oldest frame first.
            state: unused; there for the shape of Stable-Baselines3's ``predict``.
            episode_start: unused, for the same reason.
            deterministic: the likeliest action instead of a sample.

        Returns:
            () or (B,) indices into the game's minimal action set; and None.

        Raises:
            FovealError: the observation has another shape or type.
        """
        frames, single = self._batched(observation)
        with torch.no_grad():
            features = self.policy.features(frames)
            drawn, _ = self.policy.actor.sample(features, self.acting, deterministic=deterministic)
        actions = drawn.cpu().numpy()
        return (actions[0] if single else actions), None

    def values(self, obs: Tensor) -> Tensor:
        """(N, 4, 84, 84) floating point in [0, 255] -> (N,) state values, with a graph back to the frames."""
        return self.policy.values(obs)

    @property
    def has_attention(self) -> bool:
        """Whether its encoder has attention, whose map ``attention`` gives."""
        return self.policy.encoder.rendering is not None

    def attention(self, obs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the encoder attends to.

        Args:
            obs: (N, 4, 84, 84) ``uint8``.

        Returns:
            (N, 84, 84), not negative, unscaled.

        Raises:
            FovealError: the encoder has no attention, or the observations have another shape.
        """
        return self._drawn(self._positions(obs))

    def even_attention(self) -> NDArray[np.float32]:
        """What ``attention`` draws of a map that is 1 at every position, (84, 84): nothing that was learnt.

        It is no even picture: receptive fields overlap most in the middle, and in stripes.

        Raises:
            FovealError: the encoder has no attention.
        """
        positions = self._positions(np.zeros((1, *SHAPE), np.uint8))
        even: NDArray[np.float32] = self._drawn(torch.ones_like(positions))[0]
        return even

    def _positions(self, obs: NDArray[np.uint8]) -> Tensor:
        """The encoder's own maps, (N, 1, h, w)."""
        frames, _ = self._batched(obs)
        with torch.no_grad():
            self.policy.features(frames)
        positions = self.policy.encoder.attention
        if positions is None:
            raise FovealError(f"the encoder {self.encoder_name!r} has no attention; explain it by gradients instead")
        return positions

    def _drawn(self, positions: Tensor) -> NDArray[np.float32]:
        rendering = self.policy.encoder.rendering
        assert rendering is not None  # as ``_positions`` made sure
        return render_maps(positions, rendering).cpu().numpy()

    def _batched(self, observation: Any) -> tuple[Tensor, bool]:
        array = np.asarray(observation)
        if array.dtype != np.uint8 or array.shape[-3:] != SHAPE or array.ndim not in {3, 4}:
            raise FovealError(f"expected uint8 frames of shape {SHAPE} or a batch, got {array.dtype} {array.shape}")
        single = array.ndim == 3
        return torch.from_numpy(np.array(array[None] if single else array, order="C")).to(self.device), single

    # --- state ----------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything an update depends on, as tensors by name and JSON: what ``checkpoint.save`` takes."""
        tree = {
            "policy": self.policy.state_dict(),
            "generators": [checkpoint.generator_state(g) for g in (self.ppo.shuffling, self.acting)],
        }
        tensors, described = checkpoint.split(tree)
        held, optimizer = checkpoint.optimizer_state(self.ppo.optimizer)
        tensors |= {f"optimizer/{name}": value for name, value in held.items()}
        state = {
            "config": self.config.as_dict(),
            "actions": self.actions,
            "device": self.device.type,
            "steps": self.steps,
            "updates": self.updates,
            "networks": described,
            "optimizer": optimizer,
        }
        return tensors, state

    def load_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Become the agent that gave this state; the configurations must agree.

        Raises:
            FovealError: the networks differ.
        """
        tree = checkpoint.join(tensors, state["networks"])
        try:
            self.policy.load_state_dict({_todays(name): weight for name, weight in tree["policy"].items()})
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise FovealError(f"these weights do not fit the network of their configuration: {first}") from error
        if state["device"] == self.device.type:  # else the generators are of another kind
            for generator, held in zip((self.ppo.shuffling, self.acting), tree["generators"], strict=True):
                checkpoint.load_generator_state(generator, held)
        if state["optimizer"]:
            held = checkpoint.under("optimizer/", tensors)
            checkpoint.load_optimizer_state(self.ppo.optimizer, held, state["optimizer"])
        self.ppo.steps, self.ppo.updates = state["steps"], state["updates"]

    def save(self, folder: str | Path, *, policy_only: bool = False) -> Path:
        """Write weights, optimizer, random states and configuration; atomically, and nothing pickled.

        Args:
            folder: where to; replaced if it holds an Atari agent already.
            policy_only: leave the optimizer out, for a third of the size.

        Raises:
            FovealError: the folder holds something else, or can't be written.
        """
        tensors, state = self.state()
        if policy_only:
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("optimizer/")}
            state["optimizer"] = {}
        return checkpoint.save(folder, tensors, state, kind=KIND)


def _todays(name: str) -> str:
    """The name of a weight, whichever version of foveal wrote it. Adam's moments have kept their order."""
    former = next((former for former in FORMER_NAMES if name.startswith(former)), "")
    return FORMER_NAMES.get(former, "") + name.removeprefix(former)


def restore(held: checkpoint.Checkpoint, device: str | None = None) -> AtariAgent:
    """The agent of a checkpoint that has been read already, on its own device or another."""
    config = on_this_machine(config_from_dict(held.state["config"]), device)
    agent = AtariAgent.__new__(AtariAgent)
    agent._assemble(config, held.state["actions"])
    agent.load_state(held.tensors, held.state)
    return agent
