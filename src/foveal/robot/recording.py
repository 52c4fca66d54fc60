"""What happens on the arm while somebody moves it, step by step, as an episode of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.robot.interfaces import Observation, PolicyFunction
from foveal.robot.lerobot_layout import RecordedEpisode
from foveal.robot.running import Step
from foveal.skills.minari import in_millimetres


class Recorder:
    """Stands between ``foveal.robot.run`` and a policy, and keeps what was observed and what was done.

    Pass it as the policy, and ``on_step`` as ``on_step``.

    Args:
        policy: moves the arm; a person's ``skill`` and ``ended`` are heeded, see ``teleoperation``.
        scale: m/s of an action of 1, see ``foveal.robot.Limits``.
    """

    def __init__(self, policy: PolicyFunction, scale: float) -> None:
        self.policy, self._scale = policy, scale
        self._seen: list[Observation] = []
        self._skills: list[int] = []
        self._actions: list[NDArray[np.float32]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)

    def __call__(self, observation: Observation, /) -> Any:
        action = self.policy(observation)
        self._seen.append({name: np.array(values) for name, values in observation.items()})
        self._skills.append(int(getattr(self.policy, "skill", 0)))
        return action

    def on_step(self, step: Step) -> None:
        """What the limits left of the policy's wish is what was done."""
        velocity = np.clip(step.velocity / self._scale, -1.0, 1.0)
        self._actions.append(np.array([*velocity, 1.0 if step.close else -1.0], np.float32))

    def episode(self, task: str, success: bool) -> RecordedEpisode:
        """All steps so far.

        Args:
            task: in words.
            success: whether it did what it was for.
        """
        steps = len(self._actions)
        seen = self._seen[:steps]

        def pictures(name: str) -> NDArray[Any] | None:
            return np.stack([one[name] for one in seen]) if seen and name in seen[0] else None

        depth = pictures("depth")
        return RecordedEpisode(
            state=np.stack([one["vector"] for one in seen]) if seen else np.zeros((0, 14), np.float32),
            action=np.stack(self._actions) if steps else np.zeros((0, 4), np.float32),
            rgb=pictures("rgb"),
            depth=None if depth is None else in_millimetres(depth),
            skill=np.array(self._skills[:steps], np.int64),
            success=success,
            task=task,
        )
