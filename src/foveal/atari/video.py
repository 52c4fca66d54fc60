"""Films of a game beside what the agent looks at."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from foveal.atari.maps import resize_maps
from foveal.errors import FovealError

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""

FRAMES_PER_SECOND = 15
"""Of an agent that sees every fourth of the console's 60 frames a second, shown at the speed of the game."""

CODECS = (("libx264", {"crf": "18", "preset": "medium"}), ("mpeg4", {"qmin": "2", "qmax": "4"}))
"""Encoders with their options, best first; which ones there are depends on how FFmpeg was built."""

TITLE_HEIGHT = 20
"""Pixels of the line of titles."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FAINT, _STRONG = np.array([200, 30, 0], np.float32), np.array([255, 240, 90], np.float32)


def write_attention_video(
    path: str | Path,
    frames: Iterable[Picture],
    *maps: Tensor,
    fps: int = FRAMES_PER_SECOND,
    zoom: int = 2,
    titles: Sequence[str] = (),
) -> Path:
    """An mp4 of the game on the left, and beside it in grey with what the agent looks at in colour.

    Args:
        path: the film.
        frames: one (H, W, 3) ``uint8`` picture for each map; they need not be in memory at once.
        maps: (N, h, w) in [0, 1], scaled over the recording; resized to the frames. Several stand side by side.
        fps: frames a second.
        zoom: every pixel becomes a square of so many pixels.
        titles: what stands in a line above the game and above each map; by default there is no such line.

    Returns:
        The path.

    Raises:
        FovealError: frames and maps differ in number, or titles and views do, a frame has another shape than the first,
            or the film can't be written.
    """
    if titles and len(titles) != 1 + len(maps):
        raise FovealError(f"a film of {1 + len(maps)} views wants as many titles, not {len(titles)}")
    return write_video(path, _entitled(_side_by_side(frames, maps, zoom), titles), fps=fps)


def overlay(frame: Picture, strength: NDArray[np.float32]) -> Picture:
    """A frame in grey beneath a map in colour.

    Args:
        frame: (H, W, 3).
        strength: (H, W) in [0, 1]; 0 leaves the grey, 1 is bright yellow.
    """
    level = np.clip(strength, 0, 1)[..., None]  # (H, W, 1)
    grey = (frame.astype(np.float32) @ _LUMA)[..., None] * 0.75  # (H, W, 1)
    color = _FAINT + (_STRONG - _FAINT) * level  # (H, W, 3)
    opacity = np.sqrt(level)
    return np.rint(grey * (1 - opacity) + color * opacity).astype(np.uint8)


def write_video(path: str | Path, pictures: Iterable[Picture], *, fps: int = FRAMES_PER_SECOND) -> Path:
    """Pictures as an mp4 file, in H.264 where FFmpeg has an encoder for it; it appears once it is complete.

    Sides that are odd are made even by a black line, because the colour of a film has half its resolution.

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
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _encode(partial, pictures, fps)
        partial.replace(path)
    except OSError as error:  # FFmpeg's own errors included
        raise FovealError(f"can't write the film {path}: {error.strerror or error}") from error
    finally:
        if partial.exists():
            partial.unlink()
    return path


def _encode(path: Path, pictures: Iterable[Picture], fps: int) -> None:
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
    for name, options in CODECS:
        try:
            av.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        return name, options
    raise FovealError(f"this FFmpeg can write neither of {', '.join(name for name, _ in CODECS)}: reinstall av")


def _entitled(pictures: Iterable[Picture], titles: Sequence[str]) -> Iterator[Picture]:
    """Pictures of views of equal width, with a line of titles on top."""
    line: Picture | None = None
    for picture in pictures:
        if line is None:
            line = _line(titles, picture.shape[1])
        yield np.concatenate([line, picture])


def _line(titles: Sequence[str], width: int) -> Picture:
    """(TITLE_HEIGHT, width, 3), or nothing of that width without titles."""
    canvas = Image.new("RGB", (width, TITLE_HEIGHT if titles else 0))
    draw = ImageDraw.Draw(canvas)
    for index, title in enumerate(titles):
        draw.text((index * width // len(titles) + 6, 4), title, fill="white")
    return np.asarray(canvas)


def _side_by_side(frames: Iterable[Picture], maps: Sequence[Tensor], zoom: int) -> Iterator[Picture]:
    for frame, *looks in itertools.zip_longest(frames, *maps):
        if frame is None or any(attention is None for attention in looks):
            raise FovealError(
                f"a film wants one map for every frame: there are {len(maps[0])} maps, and not as many frames"
            )
        size = frame.shape[:2]
        strengths = [resize_maps(attention[None], size)[0].float().cpu().numpy() for attention in looks]  # (H, W)
        row = np.concatenate([frame, *(overlay(frame, strength) for strength in strengths)], axis=1)
        yield row.repeat(zoom, axis=0).repeat(zoom, axis=1)
