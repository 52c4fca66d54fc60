"""Pictures as a film: writing one, and reading one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.pictures.writing import written_whole

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""

CODECS = (("libx264", {"crf": "18", "preset": "medium"}), ("mpeg4", {"qmin": "2", "qmax": "4"}))
"""Encoders with their options, best first; not every FFmpeg has both."""


def write_video(path: str | Path, pictures: Iterable[Picture], *, fps: int) -> Path:
    """Write pictures as an mp4 file, in H.264 if FFmpeg has an encoder for it. The file appears once it is complete.

    Odd sides get a black line, because the colours of a film have half its resolution.

    Args:
        path: the film.
        pictures: (H, W, 3) ``uint8``, all of one size.
        fps: frames a second.

    Returns:
        The path.

    Raises:
        FovealError: there is no picture, one has another shape than the first, or the film can't be written.
    """
    path = Path(path)
    with written_whole(path, "the film ") as partial:  # FFmpeg's own errors are errors of the system, too
        _encode(partial, pictures, fps)
    return path


def read_video(path: str | Path, first: int = 0) -> Iterator[Picture]:
    """The pictures of a film, one after the other, in any container and codec that FFmpeg knows.

    Args:
        path: the film.
        first: number of the picture to begin with, of a film with as many in every second. Of those before it only the
            few that it is made of are decoded.

    Returns:
        (H, W, 3) ``uint8`` each.

    Raises:
        FovealError: there is no such file, or it is no film, or it is damaged.
    """
    import av  # takes half a second, which every command would spend

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FovealError(f"{path} has no pictures, only sound")
            for frame in _frames_from(container, first):
                yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    except (OSError, av.error.FFmpegError) as error:
        raise FovealError(f"can't read the film {path}: {error.strerror or error}") from error


def has_encoder() -> bool:
    """Whether this FFmpeg can write films."""
    try:
        return bool(_codec())
    except FovealError:
        return False


def _frames_from(container: InputContainer, first: int) -> Iterator[av.VideoFrame]:
    stream = container.streams.video[0]
    if first == 0:
        yield from container.decode(stream)
        return
    assert stream.average_rate is not None and stream.time_base is not None
    begin, between = stream.start_time or 0, 1 / (stream.average_rate * stream.time_base)  # in the film's unit of time
    container.seek(begin + round(first * between), stream=stream)
    for frame in container.decode(stream):
        if frame.pts is not None and frame.pts - begin > (first - 0.5) * between:
            yield frame


def _encode(path: Path, pictures: Iterable[Picture], fps: int) -> None:
    import av  # takes half a second, which every command would spend

    remaining = iter(pictures)
    first = next(remaining, None)
    if first is None:
        raise FovealError(f"a film needs at least one picture, and there is none for {path.name}")
    codec, options = _codec()
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options=options)
        assert isinstance(stream, av.VideoStream)
        height, width, _ = first.shape
        stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
        for picture in itertools.chain([first], remaining):
            if picture.shape != first.shape:
                raise FovealError(f"all pictures of a film have one shape: {first.shape}, not {picture.shape}")
            even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())


def _codec() -> tuple[str, dict[str, str]]:
    import av

    for name, options in CODECS:
        try:
            av.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        return name, options
    raise FovealError(f"this FFmpeg can write neither of {', '.join(name for name, _ in CODECS)}: reinstall av")
