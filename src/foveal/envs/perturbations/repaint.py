"""Changing the colours of a Control Suite model that is already loaded and rendered.

The benchmark writes the colours into the suite's shared XML and loads the model again. Compiling only the XML's two
textures and copying their texels gives the same pictures and keeps the simulation and its rendering context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

Color = Sequence[float] | NDArray[np.float64]
Paint = Mapping[str, Mapping[str, Color]]  # texture -> attribute of its XML element -> rgb in [0, 1]

_DEFINED_IN = {"skybox": "./common/skybox.xml", "grid": "./common/materials.xml"}


def repaint(physics: Any, textures: Paint, self_rgb: Color | None = None) -> None:
    """Paint ``skybox`` and ``grid`` anew; attributes that are not given get the suite's defaults.

    Args:
        physics: of a dm_control suite environment; its GL context is made here if there is none yet.
        textures: e.g. ``{"grid": {"rgb1": (.1, .2, .3)}}``.
        self_rgb: colour of the material of the agent's body, or None to leave it.
    """
    for name, colors in textures.items():
        key = tuple((attribute, tuple(map(float, rgb))) for attribute, rgb in sorted(colors.items()))
        texels(physics.model, name)[:] = _compiled(name, key)
    upload(physics, list(textures))
    if self_rgb is not None:
        physics.named.model.mat_rgba["self", :3] = self_rgb


@lru_cache(maxsize=4)  # a few of 12 MB: video perturbations paint the same colours again for every environment
def _compiled(name: str, colors: tuple[tuple[str, tuple[float, ...]], ...]) -> NDArray[np.uint8]:
    """The texels of one texture of the suite, as MuJoCo's compiler makes them."""
    import mujoco
    from dm_control.suite import common

    assets = ET.fromstring(common.ASSETS[_DEFINED_IN[name]])
    [texture] = [element for element in assets.iter("texture") if element.get("name") == name]
    for attribute, rgb in colors:
        texture.set(attribute, " ".join(repr(value) for value in rgb))
    root = ET.Element("mujoco")
    ET.SubElement(root, "asset").append(texture)
    model = mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))
    return np.array(model.tex_data)


def texels(model: Any, name: str) -> NDArray[np.uint8]:
    """The texels of one texture, a view into the model."""
    index = model.name2id(name, "texture")
    start = model.tex_adr[index]
    data: NDArray[np.uint8] = model.tex_data
    return data[start : start + model.tex_height[index] * model.tex_width[index] * model.tex_nchannel[index]]


def upload(physics: Any, names: list[str]) -> None:
    """Show textures as the model has them now."""
    import mujoco

    contexts = physics.contexts
    with contexts.gl.make_current() as context:
        for name in names:
            index = physics.model.name2id(name, "texture")
            context.call(mujoco.mjr_uploadTexture, physics.model.ptr, contexts.mujoco.ptr, index)
