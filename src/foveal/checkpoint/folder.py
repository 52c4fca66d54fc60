"""One checkpoint: a folder with a manifest.

::

    manifest.json          kind, format, library versions, size and SHA-256 of every other file
    state.json             counters, configuration, random states
    tensors.safetensors    weights and other tensors
    replay/NAME.ARRAY.npy  arrays of the replay segment NAME

The folder is built under a temporary name, flushed to the disk and renamed, so it is there completely or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch

from foveal.checkpoint import files
from foveal.checkpoint.files import DamagedCheckpoint, Entry
from foveal.checkpoint.manifest import (
    MANIFEST,
    SEGMENT_FILE,
    STATE,
    TENSORS,
    Manifest,
    library_versions,
    parse_json,
    read_manifest,
)
from foveal.errors import FovealError

KIND = "foveal.checkpoint"


class Segment(Protocol):
    """A named part of the replay memory, such as `foveal.replay.ReplaySegment`."""

    @property
    def name(self) -> str:
        """Letters, digits, ``-`` and ``_``. No other content ever has the name of a sealed segment."""

    @property
    def sealed(self) -> bool:
        """Whether the content under this name never changes, so that an older file of it may be linked."""

    def read(self) -> Mapping[str, npt.NDArray[Any]]:
        """Its arrays by name. Arrays of Python objects are refused."""


class StoredSegments(Mapping[str, dict[str, npt.NDArray[Any]]]):
    """Segment name -> its arrays, mapped into memory when they are read."""

    def __init__(self, folder: Path, entries: Iterable[str]) -> None:
        self._paths: dict[str, dict[str, Path]] = {}
        for entry in entries:
            if match := SEGMENT_FILE.fullmatch(entry):
                self._paths.setdefault(match[1], {})[match[2]] = folder / entry

    def __getitem__(self, name: str) -> dict[str, npt.NDArray[Any]]:
        return {array: _open_array(path) for array, path in self._paths[name].items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


@dataclass(frozen=True)
class Checkpoint:
    """What was given to ``save``, read back.

    Attributes:
        tensors: by name, on the CPU.
        state: as JSON gives it back: tuples have become lists.
        segments: segment name -> arrays, read-only and on the disk until used.
        manifest: kind, versions and files.
        folder: from which it was read.
    """

    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]
    segments: Mapping[str, Mapping[str, npt.NDArray[Any]]]
    manifest: Manifest
    folder: Path


def save(
    folder: str | Path,
    tensors: Mapping[str, torch.Tensor],
    state: Mapping[str, Any],
    *,
    segments: Iterable[Segment] = (),
    kind: str = KIND,
    link_from: str | Path | None = None,
) -> Path:
    """Write a checkpoint that is there completely or not at all, even if the machine loses power.

    A checkpoint of this name is replaced once the new one is complete. Only one process at a time may save to a folder.

    Args:
        folder: the checkpoint; its parents are made.
        tensors: name -> tensor, on any device.
        state: anything that JSON can represent.
        segments: parts of the replay memory.
        kind: what this is a checkpoint of; ``load`` compares it.
        link_from: an older checkpoint, whose files of sealed segments are hard-linked instead of written again.

    Returns:
        The folder.

    Raises:
        FovealError: the folder has other content, something can't be stored, or writing fails; what was there before
            is untouched.
    """
    folder = Path(folder).resolve()
    partial = files.partial_name(folder)
    contents = {STATE: _json_bytes(state), TENSORS: _tensor_bytes(tensors)}
    with _explained(f"can't save checkpoint {folder}", "make room or save elsewhere; what was there is untouched"):
        _refuse_to_overwrite(folder, kind)
        files.make_folder(folder.parent)
        if partial.exists():  # of a process that was killed
            shutil.rmtree(partial)
        partial.mkdir()
        try:
            _fill(partial, contents, segments, kind, None if link_from is None else Path(link_from))
            files.replace_folder(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return folder


def load(folder: str | Path, *, kind: str = KIND, segments: bool = True) -> Checkpoint:
    """Read a checkpoint, after comparing every file with the manifest. Nothing in it is ever executed.

    Args:
        folder: of the checkpoint.
        kind: what it must be a checkpoint of.
        segments: False skips the replay memory, without a check.

    Raises:
        DamagedCheckpoint: a file is missing, cut short or altered.
        FovealError: there is no checkpoint, or one of another kind or a newer format.
    """
    folder = Path(folder).resolve()
    if not folder.exists() and files.previous_name(folder).exists():
        folder = files.previous_name(folder)  # a writer was killed before it could rename the successor
    with _explained(f"can't read checkpoint {folder}", "check its permissions"):
        manifest = read_manifest(folder, kind)
        wanted = {n: e for n, e in manifest.files.items() if segments or not SEGMENT_FILE.fullmatch(n)}
        files.verify(folder, wanted)
        state = parse_json(folder / STATE)
        tensors = _open_tensors(folder / TENSORS)
    return Checkpoint(tensors, state, StoredSegments(folder, wanted), manifest, folder)


def _fill(
    partial: Path, contents: Mapping[str, bytes], segments: Iterable[Segment], kind: str, link_from: Path | None
) -> None:
    """Write all files of a checkpoint, the manifest last."""
    manifest = Manifest(kind, library_versions())
    for name, content in contents.items():
        manifest.files[name] = files.write(partial / name, content)
    older = None if link_from is None else read_manifest(link_from, kind)
    for segment in segments:
        linked = _link(segment, partial, link_from, older) if link_from is not None and older is not None else {}
        manifest.files.update(linked or _write_segment(segment, partial))
        if segment.sealed:
            manifest.sealed.append(segment.name)
    files.write(partial / MANIFEST, manifest.to_json())
    if (partial / "replay").exists():
        files.sync(partial / "replay")
    files.sync(partial)


def _link(segment: Segment, partial: Path, link_from: Path, older: Manifest) -> dict[str, Entry]:
    """Link the files of a segment; empty where the older checkpoint has not sealed it or has lost them."""
    if segment.name not in older.sealed:
        return {}
    entries = {n: e for n, e in older.files.items() if n.startswith(f"replay/{segment.name}.")}
    if not all(files.link(link_from / name, partial / name, entry) for name, entry in entries.items()):
        for name in entries:
            (partial / name).unlink(missing_ok=True)
        return {}
    return entries


def _write_segment(segment: Segment, partial: Path) -> dict[str, Entry]:
    entries = {}
    for array, values in segment.read().items():
        name = f"replay/{segment.name}.{array}.npy"
        if not SEGMENT_FILE.fullmatch(name):
            raise FovealError(f"{name!r} can't name a file of a checkpoint: use letters, digits, '-' and '_'")
        if values.dtype.hasobject:
            raise FovealError(f"{name!r} can't be stored: an array of Python objects would need pickle")
        entries[name] = files.write(partial / name, values)
    return entries


def _refuse_to_overwrite(folder: Path, kind: str) -> None:
    """Refuse to replace anything but a checkpoint of the same kind without further files."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        listed = {MANIFEST, *read_manifest(folder, kind).files}
    except FovealError as error:
        raise FovealError(f"won't replace {folder}: {error}; save to another folder, or delete this one") from error
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if extra := sorted(present - listed):
        raise FovealError(
            f"won't replace {folder}: it also holds {extra[0]!r}, which is no part of the checkpoint; "
            "move it, or save to another folder"
        )


@contextmanager
def _explained(what: str, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
        raise FovealError(f"{what}: {reason}; {advice}") from error


def _json_bytes(state: Mapping[str, Any]) -> bytes:
    try:
        return (json.dumps(state, indent=1) + "\n").encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise FovealError(f"the state of a checkpoint must be JSON: {error}") from error


def _tensor_bytes(tensors: Mapping[str, torch.Tensor]) -> bytes:
    try:
        # Copies, because safetensors refuses tensors that share memory or are not contiguous.
        copies = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
        return safetensors.torch.save(copies)
    except (RuntimeError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise FovealError(f"these tensors can't be stored: {error}") from error


def _open_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        # Copies in memory that PyTorch allocates: in the file tensors begin at any multiple of their item's size, and
        # the rounding of matrix products depends on where their factors begin.
        return {name: tensor.clone() for name, tensor in safetensors.torch.load_file(path).items()}
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise DamagedCheckpoint(f"checkpoint {path.parent} is damaged: {path.name}: {error}") from error


def _open_array(path: Path) -> npt.NDArray[Any]:
    try:
        return np.lib.format.open_memmap(path, mode="r")  # refuses arrays of objects, the only ones with pickles
    except (OSError, ValueError, EOFError) as error:
        raise DamagedCheckpoint(f"checkpoint {path.parent.parent} is damaged: {path.name}: {error}") from error
