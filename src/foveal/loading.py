"""Agents back from the disk, to act (``load``) or to train on (``resume``)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from foveal import checkpoint
from foveal.agent import KIND, Agent, restore
from foveal.atari import agent as atari
from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.training import Callback, ReplayWork, Trainer
from foveal.training.run_folder import CONFIG, RunFolder

PRETRAINED = "pretrained:"


def load(path: str | Path, env: EnvLike | None = None, device: str | None = None) -> Agent | atari.AtariAgent:
    """An agent from ``agent.save``'s folder, a run's folder (its last good checkpoint), or ``"pretrained:NAME"``.

    What it is, an ``Agent`` or an ``AtariAgent``, the folder says.

    Args:
        path: the folder, or the name of a policy that ships with foveal.
        env: the environment, where it was the user's own and has no id.
        device: where to put it, by default as its configuration says.

    Raises:
        FovealError: no such folder or policy, a damaged or foreign one, or one that this version can't read.
    """
    folder = _pretrained(str(path)) if str(path).startswith(PRETRAINED) else Path(path)
    kind = kind_of(folder)
    held = _read(folder, kind)
    return atari.restore(held, device) if kind == atari.KIND else restore(held, env, device)


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
    folder = RunFolder.open(Path(run), KIND)
    held = folder.store.latest()
    if held is None:
        raise FovealError(f"{run} has no checkpoint to resume from; delete the folder and start again")
    return Trainer.resumed(ReplayWork(restore(held, env)), folder, held, callbacks=callbacks, progress=progress)


def kind_of(path: str | Path) -> str:
    """Which kind of agent a folder holds: that of its newest checkpoint; ``foveal.agent`` where it has none."""
    store = checkpoint.CheckpointStore(path)
    places = [Path(path), *(store.path(step) for step in reversed(store.steps()))]
    return next((kind for place in places if (kind := checkpoint.kind_of(place)) is not None), KIND)


def _read(folder: Path, kind: str) -> checkpoint.Checkpoint:
    kind = kind if kind in (KIND, atari.KIND) else KIND
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
