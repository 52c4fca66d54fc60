"""What ships with foveal, by name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from foveal.checkpoint.manifest import kind_of
from foveal.errors import FovealError

PRETRAINED = "pretrained:"


def place_of(path: str | Path, what: str = "policy", under: str = "") -> Path:
    """A folder, or that of what ships with foveal where the path is ``"pretrained:NAME"``.

    Args:
        path: of either kind.
        what: such a thing is called.
        under: the folder, within that of all that ships, where things of its kind are.

    Raises:
        FovealError: nothing of that name ships with foveal.
    """
    if not str(path).startswith(PRETRAINED):
        return Path(path)
    root = Path(str(files("foveal") / "pretrained" / under))
    found = shipped(under)
    wanted = str(path).removeprefix(PRETRAINED)
    if wanted not in found:
        raise FovealError(f"no pretrained {what} {wanted!r}; these ship with foveal: {', '.join(found) or 'none'}")
    return root / wanted


def shipped(under: str = "") -> list[str]:
    """Names of what ships with foveal in that folder."""
    root = Path(str(files("foveal") / "pretrained" / under))
    return sorted(path.name for path in root.iterdir() if kind_of(path) is not None) if root.is_dir() else []
