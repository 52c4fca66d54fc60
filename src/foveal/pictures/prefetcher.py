"""Blocks of pictures that another process draws before they are asked for."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import weakref
from typing import Any, cast

from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.machine.cores import available
from foveal.pictures.block import Block, empty_block
from foveal.pictures.drawing import FAILURE, PICTURES

PROGRAM = "from foveal.pictures.drawing import main; main()"
MOST_THREADS = 8
PIPE = 1 << 20
"""Bytes in the pipe, where the system allows it: with more of them the processes alternate less often."""


class Prefetcher:
    """The blocks of a source from ``first`` on, in order, drawn by a process of low priority.

    The content of a block depends on the source and its number alone. The process is a program of its own and no copy
    of this one, so that scripts need no guard around their main part.

    Args:
        name: of the source, as for ``open_source``.
        side: of its pictures.
        seed: of it.
        first: number of the first block.
    """

    def __init__(self, name: str, side: int, seed: int, first: int) -> None:
        self.next = first
        self._side = side
        specification = {"name": name, "side": side, "seed": seed, "first": first, "threads": _threads()}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, json.dumps(specification)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
            pipesize=PIPE,
        )
        self._stream = cast(io.BufferedReader, self._process.stdout)
        self._end = weakref.finalize(self, _end, self._process)

    def take(self) -> Block:
        """The next block, after waiting for it.

        Raises:
            FovealError: no image can be decoded, or the process died.
        """
        kind = self._stream.read(1)
        if kind == FAILURE:
            raise FovealError(self._stream.read().decode())
        block = empty_block(self._side)
        if kind != PICTURES or not all(self._fill(array) for array in block):
            self.close()
            raise FovealError(
                f"the process that draws overlay pictures ended with status {self._process.returncode}; "
                "was it killed, or is memory short?"
            )
        self.next += 1
        return block

    def close(self) -> None:
        """End the process."""
        self._end()

    def _fill(self, array: NDArray[Any]) -> bool:
        memory = array.data.cast("B")
        return self._stream.readinto(memory) == len(memory)


def _threads() -> int:
    return min(available(), MOST_THREADS)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    cast(io.BufferedReader, process.stdout).close()
