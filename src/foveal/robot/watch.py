"""Whether the camera still sees: a stream that stands still is as dangerous as none."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.robot.stops import ArmStopped

TIMESTAMP = "timestamp"


class StreamWatch:
    """Stops a run whose camera gives the same frame again and again.

    A frame is new if its timestamp is another one than before (where the camera gives any) and its pixels are: a real
    sensor's noise never repeats itself.

    Args:
        limit: seconds after which an old frame is too old.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._seen: dict[str, tuple[float, float]] = {}  # what -> its value, since when

    def look(self, frame: Mapping[str, NDArray[Any]], now: float) -> None:
        """One more frame.

        Args:
            frame: pictures by name, and perhaps ``timestamp``, seconds.
            now: seconds, of a clock that only goes forward.

        Raises:
            ArmStopped: it has not changed for longer than the limit.
        """
        pictures = [np.ascontiguousarray(frame[name]) for name in sorted(frame) if name != TIMESTAMP]
        values = {"picture": float(zlib.crc32(b"".join(picture.tobytes() for picture in pictures)))}
        if TIMESTAMP in frame:
            values[TIMESTAMP] = float(frame[TIMESTAMP])
        for name, value in values.items():
            before, since = self._seen.get(name, (value, now))
            self._seen[name] = (value, since if value == before else now)
            old = now - self._seen[name][1]
            if old > self.limit:
                raise ArmStopped(
                    f"the camera's stream is frozen: the same {name} for {old:.1f} s, longer than {self.limit:g} s"
                )
