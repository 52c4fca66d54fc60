"""Agents back from the disk, to act (``load``) or to train on (``resume``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from foveal import checkpoint
from foveal.agent import Agent
from foveal.atari.former import KIND as GAMES
from foveal.atari.former import in_todays_form
from foveal.checkpoint import Checkpoint
from foveal.config.environment import on_this_machine
from foveal.config.tree import config_from_dict
from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.learners import Shapes
from foveal.shield import training as shields
from foveal.shield.shield import KIND as SHIELD
from foveal.skills.flat import FlatPolicy
from foveal.skills.loading import POLICIES
from foveal.skills.loading import WORKS as ARM_WORKS
from foveal.skills.master import Master
from foveal.skills.policy import SkillPolicy
from foveal.training import Callback, Trainer, Work
from foveal.training.agents import KIND
from foveal.training.run_folder import RunFolder, kind_of, stored

WORKS: Mapping[str, Callable[[Checkpoint], Work]] = {**ARM_WORKS, SHIELD: shields.resumed}
"""Kind of a run -> makes its training, of one of its checkpoints; all others are an agent's."""

Loaded = Agent | SkillPolicy | Master | FlatPolicy
"""What a folder may hold."""


def load(path: str | Path, env: EnvLike | None = None, device: str | None = None) -> Loaded:
    """A policy of any kind from the folder that its ``save`` wrote, from a run's folder, or ``"pretrained:NAME"``.

    What it is, the folder says: an ``Agent``, cloned skills, or a policy of the arm that chooses among skills
    (``Master``) or knows none (``FlatPolicy``).

    Args:
        path: the folder (of a run: its last good checkpoint), or the name of a policy that ships with foveal.
        env: the environment, where it was the user's own and has no id.
        device: where to put it, by default as its configuration says. Policies of the arm run on the CPU.

    Raises:
        FovealError: no such folder or policy, a damaged or foreign one, or one that this version can't read; an
            environment or a device for a policy that takes none.
    """
    folder = checkpoint.place_of(path)
    kind = kind_of(folder)
    if kind in POLICIES:
        if env is not None or device not in (None, "auto", "cpu"):
            raise FovealError("policies of the arm run in its own simulator, on the CPU: leave env and device out")
        return POLICIES[kind].load(folder)
    if kind == SHIELD:
        raise FovealError(f"{folder} holds a shield, which is no policy: foveal.Shield.load, or --shield {folder}")
    return _agent(stored(folder, GAMES if kind == GAMES else KIND), env, device)


def _agent(held: Checkpoint, env: EnvLike | None, device: str | None = None) -> Agent:
    tensors, state = in_todays_form(held.tensors, held.state)
    config = on_this_machine(config_from_dict(state["config"]), device)
    agent = Agent.from_config(config, env, Shapes.from_dict(state["shapes"]))
    agent.load_state(tensors, state)
    return agent


def resume(
    run: str | Path, env: EnvLike | None = None, *, callbacks: Sequence[Callback] = (), progress: bool = True
) -> Trainer:
    """The training of a run folder as it was at its last good checkpoint; ``train()`` goes on with it.

    Args:
        run: the folder of a run that was stopped or killed.
        env: the environment, where it was the user's own and has no id.
        callbacks: hooks, as for ``Agent.learn``.
        progress: show a bar.

    Raises:
        FovealError: no such run, it has no checkpoint yet, or all of them are damaged.
    """
    kind = kind_of(run)
    kind = kind if kind == GAMES or kind in WORKS else KIND
    folder = RunFolder.open(Path(run), kind)
    held = folder.store.latest()
    if held is None:
        raise FovealError(f"{run} has no checkpoint to resume from; delete the folder and start again")
    work = WORKS[kind](held) if kind in WORKS else _agent(held, env).work()
    return Trainer.resumed(work, folder, held, callbacks=callbacks, progress=progress)
