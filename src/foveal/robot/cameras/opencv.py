"""Any camera that OpenCV opens: a webcam, a GigE or USB camera with a system driver, a network stream. Colour alone."""

from __future__ import annotations

import threading
import time

import numpy as np

from foveal.errors import FovealError
from foveal.robot.cameras.base import NEXT, START, Intrinsics, Shot
from foveal.robot.optional import optional
from foveal.robot.stops import ArmStopped


class OpenCV:
    """A camera behind ``cv2.VideoCapture``.

    Drivers keep frames in a queue, from which a slow reader would get old ones: a thread empties it, and what is
    grabbed is the newest.

    Args:
        source: the number of a device, or the path or address of a stream.
        width, height: pixels, asked for; the camera may give others. 0 leaves them alone.

    Raises:
        FovealError: the extra is missing, or there is no such camera.
    """

    intrinsics: Intrinsics | None = None

    def __init__(self, source: str = "0", width: int = 640, height: int = 480) -> None:
        cv2 = optional("cv2", "opencv", "an OpenCV camera")
        self._capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
        if not self._capture.isOpened():
            raise FovealError(f"OpenCV can't open the camera {source}; no other program may use it")
        for setting, value in ((cv2.CAP_PROP_FRAME_WIDTH, width), (cv2.CAP_PROP_FRAME_HEIGHT, height)):
            if value:
                self._capture.set(setting, value)
        self._news = threading.Condition()
        self._newest: Shot | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        if self._awaited(START) is None:
            self.close()
            raise FovealError(f"the camera {source} gives no frames")

    def grab(self) -> Shot:
        shot = self._newest if self._thread.is_alive() else None
        if shot is None:
            raise ArmStopped("the camera gives no frames any more")
        return shot

    def close(self) -> None:
        self._closing = True
        self._thread.join(NEXT + START)
        self._capture.release()

    def _awaited(self, seconds: float) -> Shot | None:
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or not self._thread.is_alive(), seconds)
            return self._newest

    def _read(self) -> None:
        while not self._closing:
            there, picture = self._capture.read()  # waits for the next frame
            if not there:
                break
            with self._news:
                self._newest = Shot(np.ascontiguousarray(picture[..., ::-1]), None, time.monotonic())
                self._news.notify_all()
        with self._news:
            self._news.notify_all()
