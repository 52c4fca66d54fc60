"""The master policy: looks at what the skills' network sees, and says which skill is next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal import checkpoint
from foveal.envs.ur5e.experts import skills
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides
from foveal.export import Exportable, portable
from foveal.networks.policies import ActorCritic as ActorCriticNetwork
from foveal.networks.policies import CategoricalHead
from foveal.skills.actor_critic import ActorCritic
from foveal.skills.arms import Arms, ArmSettings
from foveal.skills.config import MasterConfig, stored_master_config
from foveal.skills.groups import Deciding, observe
from foveal.skills.policy import SkillPolicy, features_of_all, scaled_depth
from foveal.skills.view import View
from foveal.skills.world import BLIND, Acting


class Master(ActorCritic):
    """Chooses skills of one task.

    Args:
        task: such as ``"bowl"``.
        skills: cloned ones, whose features it sees; None where experts act and it sees the simulator's state.
        config: how it learns.
        seed: of its training.
    """

    what, kind, task = "master", "foveal.master", ""

    def __init__(self, task: str, skills: SkillPolicy | None, config: MasterConfig, seed: int = 0) -> None:
        self.task, self.skills = task, skills
        super().__init__(config, seed)

    @property
    def view(self) -> View:
        return self._cloned().view

    @property
    def stack(self) -> int:
        return self._cloned().stack

    @property
    def skill_steps(self) -> int:
        return self.config.skill_steps

    def act(self, frames: NDArray[Any], skill: Any) -> NDArray[np.float32]:
        return self._cloned().act(frames, skill)

    def next_skill(self, frames: NDArray[Any], decision: int, deterministic: bool) -> int:
        seen = self._cloned().features(frames)
        return int(self.chances(seen).argmax() if deterministic else self.draw(seen, decision, [self.seed])[0])

    def choose(self, arms: Arms, which: NDArray[np.int64], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        """The likeliest next skill of each arm, as published: a ``foveal.skills.rollouts.Plan``."""
        return self.chances(observe(arms, self.skills, which)).argmax(1)

    def drawing(self) -> Drawing:
        """The same master as a plan whose skills are drawn, as in training."""
        return Drawing(self)

    def draw(self, seen: NDArray[np.float32], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        """Skills, drawn as likely as the policy says.

        Draws depend on the episode's seed and the decision alone.

        Args:
            seen: (B, ...) what the master sees, such as ``SkillPolicy.features``.
            decision: how many were taken before.
            seeds: (B,) of the episodes.

        Returns:
            (B,) numbers.
        """
        chances = self.chances(seen)
        levels = [np.random.default_rng([7, seed, decision]).random() for seed in seeds]
        reached = chances.cumsum(1) / chances.sum(1, keepdims=True)
        return (reached <= np.array(levels)[:, None]).sum(1).astype(np.int64)

    def chances(self, seen: NDArray[np.float32]) -> NDArray[np.float64]:
        """How likely each skill is to be next: (B, ...) what the master sees -> (B, K)."""
        with torch.inference_mode():
            return _chances(self.network, torch.from_numpy(seen)).double().numpy()

    def acting(self) -> Acting:
        names, near, far, doing = tuple(skill.name for skill in skills(self.task)), 0.0, 0.0, "scripted experts"
        if self.skills is not None:
            config, doing = self.skills.config, "cloned skills"
            names, near, far = self.skills.skill_set.names, config.near, config.far
        name, settings = f"a master that chooses among {doing}", self.arms().arms
        return Acting(settings, self, self.skills, names, self.skill_steps, name, self.seed, near, far)

    def insides(self) -> Insides:
        """What the skill that it has chosen is about to do."""
        return self._cloned().insides()

    def arms(self) -> Deciding:
        arms = ArmSettings(self.task, View(size=0)) if self.skills is None else self.skills.arm_settings
        return Deciding(arms, self.config.skill_steps, self.seed, self.skills)

    def _cloned(self) -> SkillPolicy:
        """The skills that it chooses among.

        Raises:
            FovealError: they are scripted experts, which look at nothing.
        """
        if self.skills is None:
            raise FovealError(BLIND)
        return self.skills

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, described = self._learned_state()
        described |= {"task": self.task, "skills": None}
        if self.skills is not None:
            of_skills, described["skills"] = self.skills.state()
            tensors |= {f"skills/{name}": value for name, value in of_skills.items()}
        return tensors, described

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Self:
        skills = None
        if state["skills"] is not None:
            skills = SkillPolicy.from_state(checkpoint.under("skills/", tensors), state["skills"])
        master = cls(state["task"], skills, stored_master_config(state["config"]), state["seed"])
        master._set_learned_state(tensors, state)
        return master

    def exportable(self) -> Exportable:
        """Frames in, the chances of all skills out."""
        return Exportable(_Choosing(self, self._cloned()), self.examples, ("chances",))


@dataclass(frozen=True)
class Drawing:
    """A master that draws skills as likely as it says: a ``foveal.skills.rollouts.Plan``.

    The likeliest skill is chosen for ever where doing it leaves everything as it is; one that is drawn is not.

    Attributes:
        master: whose chances they are.
    """

    master: Master

    def choose(self, arms: Arms, which: NDArray[np.int64], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        return self.master.draw(observe(arms, self.master.skills, which), decision, seeds)


def _chances(network: ActorCriticNetwork, seen: Tensor) -> Tensor:
    """(B, ...) -> (B, K)."""
    actor = cast(CategoricalHead, network.actor)  # of what ``Deciding`` makes
    return actor.log_probabilities(network.features(seen)).exp()


class _Choosing(nn.Module):
    """What a master says of depth, in float32: (B, stack, H, W) millimetres -> (B, K)."""

    one_hot: Tensor

    def __init__(self, master: Master, skills: SkillPolicy) -> None:
        super().__init__()
        self.near, self.far = skills.config.near, skills.config.far
        self.network, self.master = portable(skills.network), portable(master.network)
        self.register_buffer("one_hot", torch.eye(skills.skills))

    def forward(self, frames: Tensor) -> Tensor:
        seen = scaled_depth(frames, self.near, self.far)
        return _chances(self.master, features_of_all(self.network, seen, self.one_hot))
