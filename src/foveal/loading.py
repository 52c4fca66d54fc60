"""``load``: agents back from the disk."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from foveal import checkpoint
from foveal.agent import KIND, Agent, restore
from foveal.atari import agent as atari
from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.runs import CONFIG

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
