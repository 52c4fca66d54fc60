"""Policies of the arm back from the disk, to act or to train on, whatever kind they are of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from foveal.checkpoint import Checkpoint
from foveal.errors import FovealError
from foveal.skills import cloning
from foveal.skills.base import ArmPolicy
from foveal.skills.flat import FlatPolicy
from foveal.skills.master import Master
from foveal.skills.policy import SkillPolicy
from foveal.training import Work
from foveal.training.run_folder import kind_of

POLICIES: Mapping[str, type[SkillPolicy] | type[Master] | type[FlatPolicy]] = {
    policy.kind: policy for policy in (SkillPolicy, Master, FlatPolicy)
}
"""Kind of a folder -> what it holds."""
WORKS: Mapping[str, Callable[[Checkpoint], Work]] = {
    SkillPolicy.kind: cloning.resumed,
    Master.kind: Master.resumed,
    FlatPolicy.kind: FlatPolicy.resumed,
}
"""Kind of a run -> makes its training, of one of its checkpoints."""


def load_policy(folder: str | Path) -> ArmPolicy:
    """What a policy's ``save`` wrote, or the newest checkpoint of a run.

    Raises:
        FovealError: the folder holds no policy of the arm, or a damaged one.
    """
    kind = kind_of(folder)
    if kind not in POLICIES:
        raise FovealError(f"{folder} holds no policy of the arm: neither skills nor a master nor a flat policy")
    return POLICIES[kind].load(folder)
