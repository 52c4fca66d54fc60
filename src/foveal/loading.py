"""``load``: agents back from the disk."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from foveal import checkpoint
from foveal.agent import KIND, Agent, restore
from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.runs import CONFIG

PRETRAINED = "pretrained:"


def load(path: str | Path, env: EnvLike | None = None, device: str | None = None) -> Agent:
    """An agent from ``agent.save``'s folder, a run's folder (its last good checkpoint), or ``"pretrained:NAME"``.

    Args:
        path: the folder, or the name of a policy that ships with foveal.
        env: the environment, where it was the user's own and has no id.
        device: where to put it, by default as its configuration says.

    Raises:
        FovealError: no such folder or policy, a damaged or foreign one, or one that this version can't read.
    """
    folder = _pretrained(str(path)) if str(path).startswith(PRETRAINED) else Path(path)
    return restore(_read(folder), env, device)


def _read(folder: Path) -> checkpoint.Checkpoint:
    store = checkpoint.CheckpointStore(folder, kind=KIND)
    if not store.folder.is_dir() and not (folder / CONFIG).is_file():
        return checkpoint.load(folder, kind=KIND)
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
