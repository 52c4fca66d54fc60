"""Loading dm_control with a renderer that works here, or saying what is missing."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from foveal.errors import FovealError

_RENDERER_ERRORS = (ImportError, AttributeError, OSError, RuntimeError)  # what PyOpenGL and EGL fail with
_KNOWN_NOISE = ("compiler attribute 'settotalmass' is deprecated",)  # dm_control's own dog and cheetah models


def load_suite() -> Any:
    """The module ``dm_control.suite``, with headless rendering chosen where there is no display.

    Raises:
        FovealError: dm_control is not installed, or no OpenGL library can be loaded.
    """
    return _load("dm_control.suite", "dmc/")


def load_physics() -> Any:
    """dm_control's class ``Physics``, a MuJoCo model with its rendering contexts; headless as ``load_suite``.

    Raises:
        FovealError: dm_control is not installed, or no OpenGL library can be loaded.
    """
    return _load("dm_control.mujoco", "ur5e/").Physics


def _load(module: str, family: str) -> Any:
    if sys.platform == "linux" and not os.environ.get("DISPLAY") and "MUJOCO_GL" not in os.environ:
        os.environ["MUJOCO_GL"] = "egl"
    try:
        with quiet():
            importlib.import_module("mujoco")
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise FovealError(
            f"the {family} environments need dm_control and mujoco, and {error.name!r} is not installed: "
            "pip install 'dm_control' 'mujoco>=3.17,<4'"
        ) from error
    except _RENDERER_ERRORS as error:
        raise renderer_error(error) from error


def open_view(physics: Any, size: int, camera: int) -> Any:
    """A dm_control ``Camera`` of ``size`` by ``size`` pixels.

    Raises:
        FovealError: OpenGL was found, and no context can be made with it.
    """
    from dm_control.mujoco.engine import Camera

    try:
        return Camera(physics, size, size, camera)
    except _RENDERER_ERRORS as error:
        raise renderer_error(error) from error


def renderer_error(error: Exception) -> FovealError:
    """The error for a machine that can't render."""
    backend = os.environ.get("MUJOCO_GL", "chosen automatically")
    return FovealError(
        f"can't open OpenGL for rendering (MUJOCO_GL is {backend}; {type(error).__name__}: {error}). "
        "On Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri, and set MUJOCO_GL=egl; "
        "it renders without a display and without a GPU"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Drop the log lines of ``_KNOWN_NOISE``, which compiling dm_control's own models prints, and no others."""
    logger = logging.getLogger("absl")
    logger.addFilter(_is_news)
    try:
        yield
    finally:
        logger.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not any(noise in record.getMessage() for noise in _KNOWN_NOISE)
