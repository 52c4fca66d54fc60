"""The master policy: looks at what the skills' network sees, and says which skill is next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal import checkpoint
from foveal.envs.ur5e.experts import skills
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides
from foveal.evaluation.world import WorldOptions
from foveal.networks.policies import CategoricalHead
from foveal.skills.actor_critic import ActorCritic
from foveal.skills.arms import Arms, ArmSettings, for_policy
from foveal.skills.config import MasterConfig, master_config
from foveal.skills.groups import Deciding, observe
from foveal.skills.packing import pack
from foveal.skills.policy import SkillPolicy
from foveal.skills.view import View
from foveal.skills.world import BLIND, Acting, ArmWorld


class Master(ActorCritic):
    """Chooses skills of one task.

    Args:
        task: such as ``"bowl"``.
        skills: cloned ones, whose features it sees; None where experts act and it sees the simulator's state.
        config: how it learns.
        seed: of its training.

    Raises:
        FovealError: the extra ``skills`` is missing.
    """

    what, kind, run_kind = "master", "foveal.master", "foveal.master.run"

    def __init__(self, task: str, skills: SkillPolicy | None, config: MasterConfig, seed: int = 0) -> None:
        self.task, self.skills = task, skills
        super().__init__(config, seed)

    def choose(self, arms: Arms, which: NDArray[np.int64], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        """The next skill of each arm: a ``foveal.skills.rollouts.Plan``."""
        return self.draw(observe(arms, self.skills, which), decision, seeds)

    def draw(self, seen: NDArray[np.float32], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        """Skills, drawn as likely as the policy says.

        The likeliest would be drawn for ever where doing it leaves everything as it is. Draws depend on the episode's
        seed and the decision alone.

        Args:
            seen: (B, ...) what the master sees, such as ``SkillPolicy.features``.
            decision: how many were taken before.
            seeds: (B,) of the episodes.

        Returns:
            (B,) numbers.
        """
        with torch.inference_mode():
            features = self.network.features(torch.from_numpy(seen))
            actor = cast(CategoricalHead, self.network.actor)  # of what ``Deciding`` makes
            chances = actor.log_probabilities(features).exp().double().numpy()
        levels = [np.random.default_rng([7, seed, decision]).random() for seed in seeds]
        reached = chances.cumsum(1) / chances.sum(1, keepdims=True)
        return (reached <= np.array(levels)[:, None]).sum(1).astype(np.int64)

    @property
    def env_id(self) -> str:
        """Id of its task's environment."""
        return f"ur5e/{self.task}"

    def world(self, options: WorldOptions) -> ArmWorld:
        """The simulated arm, where it chooses skills."""
        names = tuple(skill.name for skill in skills(self.task))
        near, far = 0.0, 0.0
        if self.skills is not None:
            names, near, far = self.skills.skill_set.names, self.skills.config.near, self.skills.config.far
        doing = "scripted experts" if self.skills is None else "cloned skills"
        name = f"a master that chooses among {doing}"
        return ArmWorld(
            Acting(self._arms(), self, self.skills, names, self.config.skill_steps, name, self.seed, near, far), options
        )

    def insides(self) -> Insides:
        """What the skill that it has chosen is about to do.

        Raises:
            FovealError: it chooses among scripted experts, which look at nothing.
        """
        return skills_of(self).insides()

    def _arms(self) -> ArmSettings:
        return ArmSettings(self.task, View(size=0)) if self.skills is None else for_policy(self.skills)

    def _settings(self) -> Deciding:
        held = None if self.skills is None else pack(self.skills)
        return Deciding(self._arms(), self.config.skill_steps, self.seed, held)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, optimizer and skills, and JSON."""
        tensors, described = self._learned_state()
        described |= {"task": self.task, "skills": None}
        if self.skills is not None:
            of_skills, described["skills"] = self.skills.state()
            tensors |= {f"skills/{name}": value for name, value in of_skills.items()}
        return tensors, described

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Master:
        """Undo of ``state``.

        Raises:
            FovealError: the weights don't fit the configuration.
        """
        skills = None
        if state["skills"] is not None:
            skills = SkillPolicy.from_state(checkpoint.under("skills/", tensors), state["skills"])
        master = cls(state["task"], skills, master_config("paper", state["config"]), state["seed"])
        master._set_learned_state(tensors, state)
        return master


def skills_of(agent: SkillPolicy | Master) -> SkillPolicy:
    """The skills themselves, or those that a master chooses among.

    Raises:
        FovealError: the master chooses among scripted experts, which look at nothing.
    """
    found = agent.skills if isinstance(agent, Master) else agent
    if found is None:
        raise FovealError(BLIND)
    return found
