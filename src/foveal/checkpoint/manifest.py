"""The manifest of a checkpoint, and what is checked when it is read."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from foveal.checkpoint.files import DamagedCheckpoint, Entry, previous_name
from foveal.errors import FovealError

FORMAT = 1
MANIFEST, STATE, TENSORS = "manifest.json", "state.json", "tensors.safetensors"
SEGMENT_FILE = re.compile(r"replay/([A-Za-z0-9_-]+)\.([A-Za-z0-9_]+)\.npy")
_LIBRARIES = ("foveal", "torch", "numpy", "safetensors", "gymnasium", "mujoco", "dm_control")


@dataclass(frozen=True)
class Manifest:
    """The content of ``manifest.json``.

    Attributes:
        kind: what this is a checkpoint of.
        versions: library -> version that wrote it.
        files: path within the folder -> size and checksum.
        sealed: names of the sealed segments.
    """

    kind: str
    versions: dict[str, str]
    files: dict[str, Entry] = field(default_factory=dict)
    sealed: list[str] = field(default_factory=list)

    def to_json(self) -> bytes:
        """The file's content, which ends in a checksum of the rest."""
        body = {
            "kind": self.kind,
            "format": FORMAT,
            "versions": self.versions,
            "files": {name: entry._asdict() for name, entry in sorted(self.files.items())},
            "sealed": self.sealed,
        }
        return (json.dumps(body | {"sha256": _checksum(body)}, indent=1) + "\n").encode()


def read_manifest(folder: Path, kind: str) -> Manifest:
    """The manifest of a checkpoint folder, after a check of itself but not of the files that it lists.

    Raises:
        DamagedCheckpoint: it is missing, or not what was written.
        FovealError: there is no folder, or a checkpoint of another kind or a newer format.
    """
    if not folder.is_dir():
        what = "it is a file, not a folder" if folder.exists() else "there is nothing of that name"
        raise FovealError(f"{folder} is not a foveal checkpoint: {what}")
    if not (folder / MANIFEST).is_file():
        raise DamagedCheckpoint(f"{folder} is not a foveal checkpoint: it has no {MANIFEST}")
    body = parse_json(folder / MANIFEST)
    its_kind, number = body.get("kind"), body.get("format")
    if not isinstance(its_kind, str) or not isinstance(number, int):
        raise FovealError(f"{folder} is not a foveal checkpoint: its {MANIFEST} was written by something else")
    if number > FORMAT:
        raise FovealError(
            f"checkpoint {folder} has format {number}, and this version of foveal reads up to {FORMAT}: upgrade foveal"
        )
    if body.pop("sha256", None) != _checksum(body):
        raise DamagedCheckpoint(f"checkpoint {folder} is damaged: {MANIFEST} is not what was written")
    if its_kind != kind:
        raise FovealError(f"{folder} is a checkpoint of {its_kind!r}, but one of {kind!r} is needed")
    return _parse(folder, body)


def kind_of(folder: Path) -> str | None:
    """What a folder says it is a checkpoint of, without a check; None where it says nothing that can be read."""
    for place in (folder, previous_name(folder)):  # the latter where a writer was killed
        try:
            kind = json.loads((place / MANIFEST).read_bytes())["kind"]
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            continue
        return kind if isinstance(kind, str) else None
    return None


def parse_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DamagedCheckpoint: the file has none.
    """
    try:
        parsed = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedCheckpoint(f"checkpoint {path.parent} is damaged: {path.name} is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise DamagedCheckpoint(f"checkpoint {path.parent} is damaged: {path.name} is no JSON object")
    return parsed


def library_versions() -> dict[str, str]:
    """The versions of Python and of the installed libraries that influence results."""
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:  # optional, or run from a source tree
            continue
    return versions


def _parse(folder: Path, body: Mapping[str, Any]) -> Manifest:
    try:
        entries = {name: Entry(int(e["size"]), str(e["sha256"])) for name, e in body["files"].items()}
        manifest = Manifest(body["kind"], dict(body["versions"]), entries, list(body["sealed"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedCheckpoint(f"checkpoint {folder} is damaged: {MANIFEST} is incomplete: {error!r}") from error
    for name in entries:  # only known names, so that none can lead out of the folder
        if name not in (STATE, TENSORS) and not SEGMENT_FILE.fullmatch(name):
            raise FovealError(f"won't load {folder}: its {MANIFEST} lists {name!r}, which no checkpoint of ours holds")
    for name in (STATE, TENSORS):
        if name not in entries:
            raise DamagedCheckpoint(f"checkpoint {folder} is damaged: {MANIFEST} does not list {name}")
    return manifest


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
