"""Skills in one network: which skill, and the last depth frames in; tool velocity and gripper out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal import checkpoint
from foveal.envs.ur5e.experts import SKILL_STEPS
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides
from foveal.evaluation.world import WorldOptions
from foveal.networks.film_resnet import FilmResNet
from foveal.networks.precision import convolution_dtype, portable_precision
from foveal.skills.arms import for_policy
from foveal.skills.config import CloneConfig, as_dict, clone_config
from foveal.skills.insides import skill_insides
from foveal.skills.minari import MILLIMETRES
from foveal.skills.rollouts import scripted
from foveal.skills.view import View
from foveal.skills.world import Acting, ArmWorld

KIND = "foveal.skills"


def depth_input(millimetres: Any, near: float, far: float) -> Tensor:
    """Depth as networks see it: ``near`` and what is nearer is -1, ``far`` and what is further 1.

    Args:
        millimetres: any shape; 0 where a camera saw nothing.

    Returns:
        ``float32`` of the same shape.
    """
    depth = torch.as_tensor(np.asarray(millimetres, np.float32)) / MILLIMETRES
    return ((depth - near) * (2.0 / (far - near)) - 1.0).clamp_(-1.0, 1.0)


@dataclass(frozen=True)
class SkillSet:
    """What the skills are.

    Attributes:
        task: that they were shown on, such as ``"bowl"``.
        names: one for each skill; a single one where the whole task was cloned.
        view: what the depth frames show.
    """

    task: str
    names: tuple[str, ...]
    view: View


class SkillPolicy:
    """All skills of a task.

    Args:
        skill_set: what they are.
        config: how they are cloned.
        seed: of the first weights.

    Attributes:
        network: ``FilmResNet``, conditioned by the skill's one-hot.
        mean, spread: (3,) of velocities in the data, by which they are standardised.
    """

    def __init__(self, skill_set: SkillSet, config: CloneConfig, seed: int = 0) -> None:
        self.skill_set, self.config, self.seed = skill_set, config, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = FilmResNet(
                (config.stack, skill_set.view.size, skill_set.view.size),
                len(skill_set.names),
                config.outputs,
                stem=config.stem,
                widths=config.widths,
                blocks=config.blocks,
                strides=config.strides,
                pooling=config.pooling,
                relief=config.relief_height,
                dtype=convolution_dtype(config.precision, "cpu"),
            ).eval()
        self.mean, self.spread = torch.zeros(3), torch.ones(3)

    @property
    def skills(self) -> int:
        """How many there are."""
        return len(self.skill_set.names)

    @property
    def stack(self) -> int:
        """Depth frames that it sees."""
        return self.config.stack

    def one_hot(self, skill: Any) -> Tensor:
        """(B,) numbers -> (B, K)."""
        return torch.eye(self.skills)[torch.as_tensor(skill, dtype=torch.long)]

    def input(self, frames: Any) -> Tensor:
        """(B, stack, H, W) millimetres -> what the network sees."""
        return depth_input(frames, self.config.near, self.config.far)

    def act(self, frames: NDArray[Any], skill: Any) -> NDArray[np.float32]:
        """Actions, each as its own skill would act.

        Args:
            frames: (B, stack, H, W) millimetres, the present one last.
            skill: (B,) numbers.

        Returns:
            (B, 4) in [-1, 1].
        """
        with torch.inference_mode():
            out = self.network(self.input(frames), self.one_hot(skill))[:, :5]  # (B, 5): of the first horizon
            velocity = (out[:, 2:] * self.spread + self.mean).clamp(-1.0, 1.0)
            gripper = torch.where(out[:, 1] > out[:, 0], 1.0, -1.0)[:, None]
        return torch.cat([velocity, gripper], dim=1).numpy()

    @property
    def env_id(self) -> str:
        """Id of its task's environment."""
        return f"ur5e/{self.skill_set.task}"

    def world(self, options: WorldOptions) -> ArmWorld:
        """The simulated arm, where skills follow the script."""
        settings, names, config = for_policy(self), self.skill_set.names, self.config
        plan = scripted(settings.task, self.skills)
        name = "cloned skills in the order of the script" if self.skills > 1 else "one cloned skill"
        acting = Acting(settings, plan, self, names, SKILL_STEPS, name, self.seed, config.near, config.far)
        return ArmWorld(acting, options)

    def insides(self) -> Insides:
        """What each skill is about to do."""
        return skill_insides(self)

    def features(self, frames: NDArray[Any]) -> NDArray[np.float32]:
        """(B, stack, H, W) millimetres -> (B, K * C, h, w): the network's last features as every skill sees them."""
        batch, count = len(frames), self.skills
        with torch.inference_mode():
            image = self.input(frames).repeat_interleave(count, dim=0)
            found = self.network.features(image, torch.eye(count).repeat(batch, 1)).float()
            return found.reshape(batch, -1, *found.shape[2:]).numpy()

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(K * C, h, w)."""
        channels, height, width = self.network.feature_shape
        return self.skills * channels, height, width

    # --- state ----------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights by name, and JSON."""
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {"velocity/mean": self.mean, "velocity/spread": self.spread}
        return tensors, {"skills": as_dict(self.skill_set), "config": as_dict(self.config), "seed": self.seed}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> SkillPolicy:
        """Undo of ``state``.

        Raises:
            FovealError: the weights don't fit the configuration.
        """
        held = dict(state["skills"])
        skill_set = SkillSet(held["task"], tuple(held["names"]), View(**held["view"]))
        config = clone_config("paper", state["config"])
        config = dataclasses.replace(config, precision=portable_precision(config.precision, "cpu"))
        policy = cls(skill_set, config, state["seed"])
        try:
            policy.network.load_state_dict(checkpoint.under("network/", tensors))
        except RuntimeError as error:
            raise FovealError(f"these weights do not fit the network of their configuration: {error}") from error
        policy.mean, policy.spread = tensors["velocity/mean"], tensors["velocity/spread"]
        return policy

    def save(self, folder: str | Path, about: Mapping[str, Any] | None = None) -> Path:
        """Write the policy; atomically, and nothing pickled.

        Args:
            folder: where to; replaced if it holds skills already.
            about: what else to keep, e.g. how training went; JSON values.

        Raises:
            FovealError: the folder holds something else, or can't be written.
        """
        tensors, state = self.state()
        return checkpoint.save(folder, tensors, {**state, "about": dict(about or {})}, kind=KIND)


def load_skills(folder: str | Path) -> SkillPolicy:
    """What ``SkillPolicy.save`` wrote.

    Raises:
        FovealError: there is none, or it is damaged.
    """
    held = checkpoint.load(folder, kind=KIND)
    return SkillPolicy.from_state(held.tensors, held.state)
