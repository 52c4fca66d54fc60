"""Agents back from the disk, to act (``load``) or to train on (``resume``)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
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
from foveal.skills import policy as cloned
from foveal.skills.cloning import CloningWork
from foveal.skills.flat import FlatPolicy
from foveal.skills.master import Master
from foveal.skills.policy import SkillPolicy
from foveal.training import Callback, Trainer
from foveal.training.agents import KIND
from foveal.training.run_folder import CONFIG, RunFolder

PRETRAINED = "pretrained:"

Loaded = Agent | SkillPolicy | Master | FlatPolicy
"""What a folder may hold."""

_OF_THE_ARM: dict[str, type[SkillPolicy] | type[Master] | type[FlatPolicy]] = {
    cloned.KIND: SkillPolicy,
    Master.kind: Master,
    FlatPolicy.kind: FlatPolicy,
}
_RUNS_OF_THE_ARM = (Master.run_kind, FlatPolicy.run_kind, CloningWork.kind)


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
    folder = _pretrained(str(path)) if str(path).startswith(PRETRAINED) else Path(path)
    kind = kind_of(folder)
    held = _read(folder, kind)
    if kind in _OF_THE_ARM:
        return _of_the_arm(held, kind, env, device)
    return _agent(held, env, device)


def _agent(held: Checkpoint, env: EnvLike | None, device: str | None = None) -> Agent:
    tensors, state = in_todays_form(held.tensors, held.state)
    config = on_this_machine(config_from_dict(state["config"]), device)
    agent = Agent.from_config(config, env, Shapes.from_dict(state["shapes"]))
    agent.load_state(tensors, state)
    return agent


def _of_the_arm(held: Checkpoint, kind: str, env: EnvLike | None, device: str | None) -> Loaded:
    if env is not None or device not in (None, "auto", "cpu"):
        raise FovealError("policies of the arm run in its own simulator, on the CPU: leave env and device out")
    return _OF_THE_ARM[kind].from_state(held.tensors, held.state)


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
    if kind in _RUNS_OF_THE_ARM:
        raise FovealError(f"{run} is a run of the arm's: repeat its command with --resume")
    folder = RunFolder.open(Path(run), GAMES if kind == GAMES else KIND)
    held = folder.store.latest()
    if held is None:
        raise FovealError(f"{run} has no checkpoint to resume from; delete the folder and start again")
    return Trainer.resumed(_agent(held, env).work(), folder, held, callbacks=callbacks, progress=progress)


def kind_of(path: str | Path) -> str:
    """Which kind of agent a folder holds: that of its newest checkpoint; ``foveal.agent`` where it has none."""
    store = checkpoint.CheckpointStore(path)
    places = [Path(path), *(store.path(step) for step in reversed(store.steps()))]
    return next((kind for place in places if (kind := checkpoint.kind_of(place)) is not None), KIND)


def _read(folder: Path, kind: str) -> checkpoint.Checkpoint:
    kind = kind if kind in (KIND, GAMES, *_OF_THE_ARM) else KIND
    store = checkpoint.CheckpointStore(folder, kind=kind)
    if not store.folder.is_dir() and not (folder / CONFIG).is_file():
        return checkpoint.load(folder, kind=kind)
    latest = store.latest(segments=False)  # replay is of no use here, and may be large
    if latest is None:
        raise FovealError(f"{folder} is a run without a checkpoint yet; let it train further")
    return latest


def _pretrained(name: str) -> Path:
    root = Path(str(files("foveal") / "pretrained"))
    shipped = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    wanted = name.removeprefix(PRETRAINED)
    if wanted not in shipped:
        raise FovealError(f"no pretrained policy {wanted!r}; these ship with foveal: {', '.join(shipped) or 'none'}")
    return root / wanted
