"""The memory of replay: one ring of rows for each environment.

A *row* is one observation's newest frame together with the action, reward and flags of the step that led to it. The
first row of an episode has step 0 and no action. Rows never change once they are written, so an episode that was cut
short needs no flag (the next row has step 0), and a full range of rows is written to the disk only once.

Each environment (*stream*) has a ring of its own. Row ``i`` of a stream is in slot ``i % length``, until row
``i + length`` overwrites it.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from foveal.errors import FovealError
from foveal.types import moved

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ReplaySegment:
    """A range of rows of one stream, as a checkpoint stores it.

    Attributes:
        name: if ``sealed``, unique to these rows, even across runs, so that a file of this name never gets outdated.
        sealed: whether all rows are written, so that they never change.
        stream: which environment.
        start: first row.
        stop: the row after the last.
    """

    name: str
    sealed: bool
    stream: int
    start: int
    stop: int
    store: RowStore

    def read(self) -> dict[str, Array]:
        """``frames`` (N, C, H, W) ``uint8`` and ``rows`` (N,) structured, without rows overwritten since."""
        return self.store.read(self)


class RowStore:
    """The rings of all streams, in one table of frames and one of everything else.

    Args:
        streams: how many.
        length: rows in each ring.
        frame_shape: (C, H, W).
        fields: NumPy fields of a row beside its frame; ``index`` (the row's number) is added in front.
        device: where frames are stored.
        segment_length: rows in a sealed segment.

    Attributes:
        table: (streams * length,) structured, by slot.
        written: rows ever written, for each stream.

    Raises:
        FovealError: the memory can't be reserved.
    """

    def __init__(
        self,
        streams: int,
        length: int,
        frame_shape: tuple[int, int, int],
        fields: list[Any],
        device: torch.device,
        segment_length: int,
    ) -> None:
        self.length = length
        self.frame_shape = frame_shape
        self.device = device
        self.segment_length = segment_length
        self.written = [0] * streams
        self._sealed: list[dict[int, str]] = [{} for _ in range(streams)]  # segment number -> name
        self._lineage = secrets.token_hex(4)
        slots = streams * length
        try:  # neither is touched before rows are written, so the system provides the memory as it fills
            self._frames = torch.empty((slots, *frame_shape), dtype=torch.uint8, device=device)
            self.table = np.zeros(slots, dtype=[("index", np.int64), *fields])
        except (RuntimeError, MemoryError) as error:
            gigabytes = slots * math.prod(frame_shape) / 1e9
            raise FovealError(
                f"can't reserve {gigabytes:.1f} GB on {device} for {slots} replay frames; use a smaller replay capacity"
            ) from error

    @property
    def nbytes(self) -> int:
        """Bytes taken once full."""
        return self._frames.numel() + self.table.nbytes

    def slot(self, stream: Any, index: Any) -> Any:
        """The slot of row ``index`` of ``stream``, for numbers or for arrays that broadcast."""
        return stream * self.length + index % self.length

    def oldest(self, stream: int) -> int:
        """The oldest row still in the ring (negative while the ring is filling)."""
        return self.written[stream] - self.length

    def write(self, stream: int, frame: Array, **fields: Any) -> int:
        """Write the next row of ``stream``, (C, H, W) and its fields, and return its number."""
        i = self.written[stream]
        slot = self.slot(stream, i)
        self._frames[slot].copy_(moved(torch.from_numpy(np.ascontiguousarray(frame)), self.device))
        row = self.table[slot]
        row["index"] = i
        for name, value in fields.items():
            row[name] = value
        self.written[stream] = i + 1
        if (i + 1) % self.segment_length == 0:
            self._seal(stream)
        return i

    def frames(self, slots: Array) -> torch.Tensor:
        """Frames (N, C, H, W) at slots (N,), in one gather."""
        return self._frames.index_select(0, moved(torch.from_numpy(slots), self.device))

    # ------------------------------------------------------------------ state

    def segments(self) -> Iterator[ReplaySegment]:
        """Sealed segments with a row that is still in the ring, and the open tail of each stream."""
        for stream, written in enumerate(self.written):
            for number, name in self._needed(stream).items():
                start = number * self.segment_length
                yield ReplaySegment(name, True, stream, start, start + self.segment_length, self)
            start = written // self.segment_length * self.segment_length
            if start < written:
                yield ReplaySegment(f"s{stream}-tail", False, stream, start, written, self)

    def read(self, segment: ReplaySegment) -> dict[str, Array]:
        """The arrays of a segment."""
        slots = self.slot(segment.stream, self._present(segment))
        return {"frames": self.frames(slots).cpu().numpy(), "rows": self.table[slots]}

    def state(self) -> list[dict[str, Any]]:
        """For each stream, what ``load_state`` needs beside the segments, ready for JSON."""
        return [
            {"written": written, "sealed": [[number, name] for number, name in self._needed(stream).items()]}
            for stream, written in enumerate(self.written)
        ]

    def load_state(self, state: list[Mapping[str, Any]], segments: Mapping[str, Mapping[str, Array]]) -> None:
        """Become the store of ``state`` and ``segments``.

        Raises:
            FovealError: a segment is missing or does not fit.
        """
        self.written = [int(stream["written"]) for stream in state]
        self._sealed = [{int(number): str(name) for number, name in stream["sealed"]} for stream in state]
        for segment in self.segments():
            if segment.name not in segments:
                raise FovealError(f"replay segment {segment.name!r} is missing from the checkpoint; load an older one")
            self._restore(segment, segments[segment.name])
        # Rows from here on may differ from those that the saved run went on to write, so they need other names.
        self._lineage = secrets.token_hex(4)

    def _restore(self, segment: ReplaySegment, arrays: Mapping[str, Array]) -> None:
        index = self._present(segment)
        rows, frames = (arrays.get(name, np.empty(0))[-len(index) :] for name in ("rows", "frames"))
        fits = (
            rows.dtype == self.table.dtype
            and frames.dtype == np.uint8
            and frames.shape == (len(index), *self.frame_shape)
            and np.array_equal(rows["index"], index)
        )
        if not fits:
            raise FovealError(f"replay segment {segment.name!r} does not fit its checkpoint; load an older one")
        slots = self.slot(segment.stream, index)
        self.table[slots] = rows
        at = torch.from_numpy(slots).to(self.device)
        self._frames[at] = torch.from_numpy(np.array(frames)).to(self.device)

    def _present(self, segment: ReplaySegment) -> Array:
        """The rows of a segment that are still in the ring."""
        return np.arange(max(segment.start, self.oldest(segment.stream)), segment.stop)

    def _needed(self, stream: int) -> dict[int, str]:
        oldest = self.oldest(stream)
        return {k: name for k, name in self._sealed[stream].items() if (k + 1) * self.segment_length > oldest}

    def _seal(self, stream: int) -> None:
        number = self.written[stream] // self.segment_length - 1
        self._sealed[stream] = self._needed(stream) | {number: f"s{stream}-{number:06d}-{self._lineage}"}
