"""Files that appear once they are complete."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foveal.errors import FovealError


@contextmanager
def written_whole(path: Path, what: str = "") -> Iterator[Path]:
    """Another name to write to, beside ``path``, which it becomes when the block has ended well.

    When the block fails, what it wrote is deleted, and an earlier file of that name is unharmed.

    Args:
        path: the file; folders above it are made.
        what: the file is, for the message: ``"the film "``.

    Raises:
        FovealError: it can't be written, an ``OSError`` of the block included.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")  # two processes may write the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise FovealError(f"can't write {what}{path}: {error.strerror or error}") from error
    finally:
        if partial.exists():
            partial.unlink()
