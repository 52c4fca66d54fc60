"""Files with a checksum: written once, flushed to the disk, and verified before they are used."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from foveal.errors import FovealError


class DamagedCheckpoint(FovealError):
    """A checkpoint is incomplete or not what was written; an older one may still be good."""


class Entry(NamedTuple):
    """A file in a manifest: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


class _Hashed:
    """A file to write to, which computes size and checksum on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        self._size += len(data)
        return self._file.write(data)

    @property
    def entry(self) -> Entry:
        return Entry(self._size, self._sha256.hexdigest())


def write(path: Path, content: bytes | npt.NDArray[Any]) -> Entry:
    """Write a new file, an array as ``.npy``, and wait until it is on the disk."""
    path.parent.mkdir(exist_ok=True)
    with open(path, "xb") as file:
        hashed = _Hashed(file)
        if isinstance(content, bytes):
            hashed.write(content)
        else:
            np.lib.format.write_array(hashed, content, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return hashed.entry


def link(source: Path, target: Path, entry: Entry) -> bool:
    """Give the file ``source`` a second name, or copy it where the file system has no hard links.

    Returns:
        False, and does nothing, where ``source`` is missing or has another size than ``entry`` says.
    """
    if not source.is_file() or source.stat().st_size != entry.size:
        return False
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, one without hard links, or too many links to this file
        shutil.copyfile(source, target)
        sync(target)
    return True


def sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows can't open folders, and needn't
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, and wait until their names are on the disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def verify(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Compare files with the manifest: first all sizes, then all checksums.

    Raises:
        DamagedCheckpoint: a file is missing, no ordinary file, of another size, or of other content.
    """
    for name, entry in entries.items():
        try:
            status = os.lstat(folder / name)
        except FileNotFoundError:
            raise DamagedCheckpoint(f"checkpoint {folder} is damaged: {name} is missing") from None
        if not stat.S_ISREG(status.st_mode):
            raise DamagedCheckpoint(f"checkpoint {folder} is damaged: {name} is not an ordinary file")
        if status.st_size != entry.size:
            raise DamagedCheckpoint(
                f"checkpoint {folder} is damaged: {name} has {status.st_size} bytes instead of {entry.size}"
            )
    for name, entry in entries.items():
        with open(folder / name, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
                raise DamagedCheckpoint(
                    f"checkpoint {folder} is damaged: the content of {name} is not what was written (SHA-256 differs)"
                )


def partial_name(folder: Path) -> Path:
    """Where a folder is built before it gets its name, and where it is deleted. Nothing is ever loaded from there."""
    return folder.with_name(f".{folder.name}.partial")


def previous_name(folder: Path) -> Path:
    """The name of a folder while its successor takes its own."""
    return folder.with_name(f".{folder.name}.previous")


def replace_folder(new: Path, folder: Path) -> None:
    """Rename ``new`` to ``folder``, then delete the folder that had that name; if renaming fails, that stays."""
    previous = previous_name(folder)
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.rename(folder, previous)
    try:
        os.rename(new, folder)
    except OSError:
        if previous.exists():
            os.rename(previous, folder)
        raise
    sync(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def recover_previous(parent: Path) -> None:
    """Finish every ``replace_folder`` in ``parent`` that was killed half-way."""
    for previous in parent.glob(".*.previous"):
        folder = previous.with_name(previous.name.removeprefix(".").removesuffix(".previous"))
        if folder.exists():
            shutil.rmtree(previous, ignore_errors=True)
        else:
            os.rename(previous, folder)


def remove_folder(folder: Path) -> None:
    """Delete a folder such that a kill half-way leaves nothing that looks like a checkpoint."""
    doomed = partial_name(folder)
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)
