"""Reading the files of the DMControl Generalization Benchmark from the user's own copy of its data folder."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from foveal.errors import FovealError

COLOR_NAMES = ("grid_rgb1", "grid_rgb2", "skybox_rgb", "self_rgb")
CACHED_VIDEOS = 32  # of 11 MB each at 84 pixels

_RECONSTRUCT = np.empty(0).__reduce__()[0]  # makes an empty array; NumPy 1 and 2 keep it in different modules
# All that a pickled list of dicts of float arrays needs; torch's restricted reader refuses everything else.
_ARRAY_TYPES: list[Any] = [
    (_RECONSTRUCT, "numpy.core.multiarray._reconstruct"),  # its name in NumPy 1
    _RECONSTRUCT,
    np.ndarray,
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    codecs.encode,
]


def read_colors(file: Path) -> list[dict[str, NDArray[np.float64]]]:
    """The benchmark's sets of colours, each a dict of four (3,) arrays in [0, 1]. Nothing in the file is executed.

    Raises:
        FovealError: the file is missing, damaged, or holds something else.
    """
    if not file.is_file():
        raise FovealError(f"{file} is missing: data must name a folder with DMC-GB's files, among them {file.name}")
    try:
        with torch.serialization.safe_globals(_ARRAY_TYPES):
            content = torch.load(file, map_location="cpu", weights_only=True)
        palette = [{name: np.asarray(colors[name], np.float64) for name in COLOR_NAMES} for colors in content]
    except Exception as error:  # a damaged file fails with nearly any exception
        raise FovealError(f"{file} is damaged or is no colour file of DMC-GB: copy it again") from error
    if not palette or any(not _is_rgb(rgb) for colors in palette for rgb in colors.values()):
        raise FovealError(f"{file} holds no colours, or values that are no rgb in [0, 1]: copy it again")
    return palette


def _is_rgb(value: NDArray[np.float64]) -> bool:
    return value.shape == (3,) and bool(((value >= 0.0) & (value <= 1.0)).all())


class VideoFolder:
    """The videos ``video0.mp4``, ``video1.mp4``, ... of a folder in the order of their numbers, decoded on demand.

    Args:
        folder: e.g. ``<DMC-GB's data>/video_hard``.
        size: height and width to which frames are resized.

    Raises:
        FovealError: there is no such folder, or no video in it.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        named = {re.fullmatch(r"video(\d+)\.mp4", file.name): file for file in folder.glob("video*.mp4")}
        self.files = [file for match, file in sorted((int(m[1]), f) for m, f in named.items() if m)]
        if not self.files:
            raise FovealError(f"{folder} holds no video0.mp4, video1.mp4, ...: data must name DMC-GB's data folder")

    def __len__(self) -> int:
        return len(self.files)

    def check(self) -> None:
        """Open every file without decoding it, a few milliseconds each.

        Raises:
            FovealError: one of them is no video.
        """
        for file in self.files:
            with _opened(file) as container:
                container.streams.video[0]

    def frames(self, index: int) -> NDArray[np.uint8]:
        """(T, 3, size, size) of the video at ``index``.

        Raises:
            FovealError: the file can't be decoded.
        """
        return decoded(self.files[index], self.size)


def decoded(file: Path, size: int) -> NDArray[np.uint8]:
    """A whole video, (T, 3, size, size). The latest videos are kept, as long as their files don't change.

    Raises:
        FovealError: the file is missing, is damaged, or holds no frame.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise FovealError(f"can't read {file}: {error.strerror}") from error
    return _decode(file.resolve(), size, status.st_mtime_ns, status.st_size)


@lru_cache(CACHED_VIDEOS)
def _decode(file: Path, size: int, modified: int, length: int) -> NDArray[np.uint8]:
    with _one_thread(), _opened(file) as container:
        frames = [_resized(frame.to_ndarray(format="rgb24"), size) for frame in container.decode(video=0)]
    if not frames:
        raise FovealError(f"{file} holds no frame: copy it again from the benchmark")
    video = np.stack(frames)
    video.setflags(write=False)
    return video


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """PyAV's container, with one message for everything that can be wrong with its content."""
    import av

    try:
        with av.open(str(file)) as container:
            yield container
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise FovealError(f"{file} can't be decoded ({error}): copy it again from the benchmark") from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: with pictures as small as these, threads wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _resized(frame: NDArray[Any], size: int) -> NDArray[np.uint8]:
    """(H, W, 3) -> (3, size, size), bilinear in [0, 1] without corner alignment, then truncated to a byte."""
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255.0
    small = interpolate(image, size=(size, size), mode="bilinear", align_corners=False)
    return (small * 255.0).byte()[0].contiguous().numpy()
