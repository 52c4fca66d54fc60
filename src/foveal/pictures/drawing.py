"""The program of the process that draws pictures beside training; ``prefetcher`` starts it.

It writes block after block to its standard output. A pipe has room for less than a block, so the program is never more
than ``threads`` blocks ahead of the reader, and sleeps while nobody reads. It ends when the other end is closed.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from foveal.errors import FovealError
from foveal.pictures.block import Block
from foveal.pictures.source import open_source

PICTURES, FAILURE = b"P", b"F"
"""The first byte of a message: a block follows, or the text of an error."""

NICENESS = 10


def main() -> None:
    """Draw the blocks from ``first`` on of the source that the first argument describes as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches this process too, and training must end in order
    with suppress(AttributeError, OSError):
        os.nice(NICENESS)  # an update that runs on all cores comes first
    out = sys.stdout.fileno()
    with suppress(BrokenPipeError):
        try:
            _write_blocks(out, **json.loads(sys.argv[1]))
        except FovealError as error:
            _write(out, FAILURE + str(error).encode())
    os._exit(0)  # at once, without waiting for the threads


def _write_blocks(out: int, *, name: str, side: int, seed: int, first: int, threads: int) -> None:
    source = open_source(name, side, seed)
    ahead: deque[Future[Block]] = deque()
    pool = ThreadPoolExecutor(threads)  # decoding and NumPy's large operations run without Python's lock
    for number in itertools.count(first):
        ahead.append(pool.submit(source.block, number))
        if len(ahead) == threads:
            block = ahead.popleft().result()
            _write(out, PICTURES)
            _write(out, block.pixels.data)
            _write(out, block.aspects.data)


def _write(out: int, content: bytes | memoryview) -> None:
    """Write all of it, without Python's buffer, which writes some bytes twice when a process is stopped and goes on."""
    rest = memoryview(content).cast("B")
    while rest:
        rest = rest[os.write(out, rest) :]
