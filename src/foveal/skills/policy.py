"""Skills in one network: which skill, and the last depth frames in; tool velocity and gripper out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal import checkpoint
from foveal.envs.ur5e.experts import SKILL_STEPS, script
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides
from foveal.export import Exportable, portable
from foveal.networks.film_resnet import FilmResNet
from foveal.networks.precision import convolution_dtype, portable_precision
from foveal.skills.arms import ArmSettings
from foveal.skills.base import ArmPolicy, load_weights
from foveal.skills.config import CloneConfig, clone_config
from foveal.skills.insides import skill_insides
from foveal.skills.minari import MILLIMETRES
from foveal.skills.rollouts import scripted
from foveal.skills.view import View
from foveal.skills.world import Acting


def depth_input(millimetres: Any, near: float, far: float) -> Tensor:
    """Depth as networks see it: ``near`` and what is nearer is -1, ``far`` and what is further 1.

    Args:
        millimetres: any shape; 0 where a camera saw nothing.

    Returns:
        ``float32`` of the same shape.
    """
    return scaled_depth(torch.as_tensor(np.asarray(millimetres, np.float32)), near, far)


def scaled_depth(millimetres: Tensor, near: float, far: float) -> Tensor:
    """The same of a ``float32`` tensor."""
    return ((millimetres / MILLIMETRES - near) * (2.0 / (far - near)) - 1.0).clamp(-1.0, 1.0)


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


class SkillPolicy(ArmPolicy):
    """All skills of a task. By itself it does them in the order of the task's script, again and again.

    Args:
        skill_set: what they are.
        config: how they are cloned.
        seed: of the first weights.

    Attributes:
        network: ``FilmResNet``, conditioned by the skill's one-hot.
        mean, spread: (3,) of velocities in the data, by which they are standardised.
        about: how cloning went, JSON values: ``epochs``, each as ``foveal.skills.cloning.Epoch``, and the ``best``.
    """

    kind = "foveal.skills"

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
        self.about: dict[str, Any] = {}

    @property
    def task(self) -> str:
        return self.skill_set.task

    @property
    def view(self) -> View:
        return self.skill_set.view

    @property
    def skills(self) -> int:
        """How many there are."""
        return len(self.skill_set.names)

    @property
    def stack(self) -> int:
        return self.config.stack

    @property
    def arm_settings(self) -> ArmSettings:
        """Arms that are seen as the demonstrations were.

        Raises:
            FovealError: the demonstrations do not say of which task they are.
        """
        if not self.task:
            raise FovealError("these skills do not say of which task they are, so they can't be tried in the simulator")
        return ArmSettings(self.task, self.view)

    def one_hot(self, skill: Any) -> Tensor:
        """(B,) numbers -> (B, K)."""
        return torch.eye(self.skills)[torch.as_tensor(skill, dtype=torch.long)]

    def input(self, frames: Any) -> Tensor:
        """(B, stack, H, W) millimetres -> what the network sees."""
        return depth_input(frames, self.config.near, self.config.far)

    def act(self, frames: NDArray[Any], skill: Any) -> NDArray[np.float32]:
        with torch.inference_mode():
            prediction = self.network(self.input(frames), self.one_hot(skill))
            return _first_action(prediction, self.mean, self.spread).numpy()

    def next_skill(self, frames: NDArray[Any], decision: int, deterministic: bool) -> int:
        if not self.task:
            raise FovealError("these skills do not say of which task they are, so their order is not known")
        order = script(self.task) if self.skills > 1 else (0,)
        return order[decision % len(order)]

    def acting(self) -> Acting:
        settings, names, config = self.arm_settings, self.skill_set.names, self.config
        plan = scripted(settings.task, self.skills)
        name = "cloned skills in the order of the script" if self.skills > 1 else "one cloned skill"
        return Acting(settings, plan, self, names, SKILL_STEPS, name, self.seed, config.near, config.far)

    def insides(self) -> Insides:
        """What each skill is about to do."""
        return skill_insides(self)

    def features(self, frames: NDArray[Any]) -> NDArray[np.float32]:
        """(B, stack, H, W) millimetres -> (B, K * C, h, w): the network's last features as every skill sees them."""
        with torch.inference_mode():
            return features_of_all(self.network, self.input(frames), torch.eye(self.skills)).numpy()

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(K * C, h, w)."""
        channels, height, width = self.network.feature_shape
        return self.skills * channels, height, width

    # --- state ----------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {"velocity/mean": self.mean, "velocity/spread": self.spread}
        described = {"skills": asdict(self.skill_set), "config": asdict(self.config), "seed": self.seed}
        return tensors, {**described, "about": self.about}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Self:
        named = state["skills"]
        skill_set = SkillSet(named["task"], tuple(named["names"]), View(**named["view"]))
        policy = cls(skill_set, portable_config(state["config"]), state["seed"])
        load_weights(policy.network, checkpoint.under("network/", tensors))
        policy.mean, policy.spread = tensors["velocity/mean"], tensors["velocity/spread"]
        policy.about = dict(state.get("about", {}))  # skills within a master's folder used to lack it
        return policy

    def copy(self, **changes: Any) -> Self:
        """The same skills, with changes of their configuration."""
        tensors, state = self.state()
        copies = {name: tensor.clone() for name, tensor in tensors.items()}
        return self.from_state(copies, {**state, "config": {**state["config"], **changes}})

    def exportable(self) -> Exportable:
        """Frames and skills in, actions out."""
        return Exportable(_Acting(self), self.examples)

    def examples(self, batch: int) -> dict[str, Tensor]:
        return {**super().examples(batch), "skill": torch.arange(batch) % self.skills}


def portable_config(state: Mapping[str, Any]) -> CloneConfig:
    """The configuration that was saved, with a precision that this machine has."""
    config = clone_config("paper", state)
    return replace(config, precision=portable_precision(config.precision, "cpu"))


class _Acting(nn.Module):
    """What ``SkillPolicy.act`` computes, in float32: (B, stack, H, W) millimetres and (B,) numbers -> (B, 4)."""

    mean: Tensor
    spread: Tensor
    one_hot: Tensor

    def __init__(self, policy: SkillPolicy) -> None:
        super().__init__()
        self.near, self.far = policy.config.near, policy.config.far
        self.network = portable(policy.network)
        self.register_buffer("mean", policy.mean)
        self.register_buffer("spread", policy.spread)
        self.register_buffer("one_hot", torch.eye(policy.skills))

    def forward(self, frames: Tensor, skill: Tensor) -> Tensor:
        prediction = self.network(scaled_depth(frames, self.near, self.far), self.one_hot[skill])
        return _first_action(prediction, self.mean, self.spread)


def features_of_all(network: FilmResNet, image: Tensor, one_hots: Tensor) -> Tensor:
    """(B, stack, H, W) and (K, K) -> (B, K * C, h, w): the last features as every skill sees them."""
    batch, count = image.shape[0], len(one_hots)  # len(image) would be a constant of an exported network
    features = network.features(image.repeat_interleave(count, dim=0), one_hots.repeat(batch, 1)).float()
    return features.reshape(batch, -1, *features.shape[2:])


def _first_action(prediction: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """(B, outputs) of the network -> (B, 4) in [-1, 1]: of the first horizon, which is what is carried out."""
    velocity = (prediction[:, 2:5] * spread + mean).clamp(-1.0, 1.0)
    gripper = torch.where(prediction[:, 1] > prediction[:, 0], 1.0, -1.0)[:, None]
    return torch.cat([velocity, gripper], dim=1)
