"""A folder of cloned skills, or of a master over them, as a policy for a real arm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal import checkpoint
from foveal.envs.ur5e.experts import SKILL_STEPS
from foveal.errors import FovealError
from foveal.robot.interfaces import Observation
from foveal.skills.master import Master, skills_of
from foveal.skills.minari import in_millimetres
from foveal.skills.noise import repaired
from foveal.skills.policy import KIND as SKILLS
from foveal.skills.policy import load_skills
from foveal.skills.rollouts import scripted


class ClonedPolicy:
    """Skills in the order of their task's script, again and again, or as a master chooses them.

    Depth is repaired first (``foveal.skills.noise.repaired``), as that of any real camera must be.

    Args:
        folder: of skills or of a master.
        seed: of a master's draws.

    Attributes:
        skill: number of the one that runs; before the first observation -1.

    Raises:
        FovealError: the folder holds neither, skills that do not say of which task they are, or a master over experts.
    """

    def __init__(self, folder: str | Path, seed: int = 0) -> None:
        self._master: Master | None = None
        self._order: tuple[int, ...] = ()
        self._seed, self._steps, self.skill = seed, 0, -1
        self._skill_steps = SKILL_STEPS
        kind = checkpoint.kind_of(Path(folder))
        if kind == Master.kind:
            self._master = Master.load(folder)
            self._skill_steps = self._master.config.skill_steps
            self._skills = skills_of(self._master)
        elif kind == SKILLS:
            self._skills = load_skills(folder)
            self._order = self._script(folder)
        else:
            raise FovealError(f"{folder} holds neither cloned skills nor a master")
        view = self._skills.skill_set.view
        self._frames = np.zeros((1, self._skills.stack, view.size, view.size), np.uint16)

    def __call__(self, observation: Observation, /) -> NDArray[np.float32]:
        """``depth`` in metres, 0 where nothing was measured, as large as skills see it or as it is cut from -> (4,).

        Raises:
            FovealError: there is no depth, or it has another size.
        """
        seen = repaired(in_millimetres(self._cut(observation)))
        self._frames = np.concatenate([self._frames[:, 1:], seen[None, None]], axis=1)
        if self._steps == 0:  # the first frame stands for those before it, as in training
            self._frames[:] = seen
        if self._steps % self._skill_steps == 0:
            self.skill = self._next(self._steps // self._skill_steps)
        self._steps += 1
        action: NDArray[np.float32] = self._skills.act(self._frames, [self.skill])[0]
        return action

    def _next(self, decision: int) -> int:
        if self._master is None:
            return self._order[decision % len(self._order)]
        return int(self._master.draw(self._skills.features(self._frames), decision, [self._seed])[0])

    def _cut(self, observation: Observation) -> NDArray[np.float32]:
        if "depth" not in observation:
            raise FovealError("these skills see depth: name a --camera that reads it")
        depth, view = np.asarray(observation["depth"]), self._skills.skill_set.view
        if depth.shape == (view.render, view.render):
            return view.cut(depth)
        if depth.shape != (view.size, view.size):
            raise FovealError(
                f"these skills see depth of {view.size} x {view.size} pixels, or cut that from {view.render} x "
                f"{view.render}, and the camera reads {' x '.join(map(str, depth.shape))}: resize what it reads"
            )
        return depth

    def _script(self, folder: str | Path) -> tuple[int, ...]:
        if not self._skills.skill_set.task:
            raise FovealError(f"the skills of {folder} do not say of which task they are, so their order is not known")
        return scripted(self._skills.skill_set.task, self._skills.skills).order
