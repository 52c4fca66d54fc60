"""What the real arm looks like: the meshes of a UR5e from an installed robosuite, attached to our joints.

Of robosuite (Zhu et al. 2020, "robosuite: A Modular Simulation Framework and Benchmark for Robot Learning"; MIT) only
``robot.xml`` and the files that it names are read; none of its code runs. Its joints have the zero angles and the axes
of ours, with lengths rounded to millimetres, and its base's axes are the world's.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import numpy as np
import scipy  # whose parts are imported at first use
from numpy.typing import NDArray

from foveal.envs.ur5e.kinematics import LINKS, frames
from foveal.errors import FovealError

Array = NDArray[np.float64]

PACKAGE = "robosuite"
ROBOT = "models/assets/robots/ur5e/robot.xml"
APART = 0.002  # metres by which its joint's axis may miss ours
_HELP = (
    "meshes=True shows the UR5e's meshes that come with robosuite 1.5: pip install --no-deps 'robosuite>=1.5,<2' "
    "(its files are read and none of its code runs, so that it needs none of its own dependencies here)"
)


@dataclass(frozen=True)
class Skin:
    """What the arm looks like, as MJCF.

    Attributes:
        assets: meshes and materials.
        geoms: the visible geoms of the base and of each of the six links, in the frame of its body.
    """

    assets: str
    geoms: tuple[str, ...]


def load_skin() -> Skin:
    """The meshes of the robosuite that is installed.

    Raises:
        FovealError: there is none, or its arm is not the one that this version knows.
    """
    path = _robot_file()
    try:
        root = ET.parse(path).getroot()
        parts = _parts(root)
        return Skin(_assets(root, path.parent), tuple(_geoms(number, part) for number, part in enumerate(parts)))
    except (ET.ParseError, AttributeError, KeyError, ValueError) as error:
        raise FovealError(f"{path} is not the UR5e of robosuite 1.5 ({error}). {_HELP}") from error


def _robot_file() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # does not import it
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    files = [Path(place) / ROBOT for place in places]
    existing = [file for file in files if file.is_file()]
    if not existing:
        problem = "robosuite is not installed" if not files else f"{files[0]} is missing"
        raise FovealError(f"{problem}. {_HELP}")
    return existing[0]


@dataclass(frozen=True)
class _Part:
    """The base, or what moves with one joint.

    Attributes:
        pose: (4, 4) of its joint's frame at zero angles, in the world.
        shapes: visible geoms, and the poses of their bodies in the world.
    """

    pose: Array
    shapes: list[tuple[Element, Array]]


def _parts(root: Element) -> list[_Part]:
    """Base and links; a body without a joint belongs to the part that carries it."""
    parts = [_Part(np.eye(4), [])]

    def walk(body: Element, before: Array) -> None:
        pose = before @ _pose(body)
        if body.find("joint") is not None:
            parts.append(_Part(pose, []))
        parts[-1].shapes.extend((geom, pose) for geom in body.findall("geom") if _is_seen(geom))
        for inner in body.findall("body"):
            walk(inner, pose)

    base = root.find("worldbody/body")
    if base is None:
        raise ValueError("it has no body")
    walk(base, np.eye(4))
    if len(parts) != len(LINKS) + 1 or not all(part.shapes for part in parts):
        raise ValueError(f"it has {len(parts) - 1} joints, or a link that can't be seen")
    return parts


def _is_seen(geom: Element) -> bool:
    return geom.get("type") == "mesh" and geom.get("contype") == "0"


def _geoms(number: int, part: _Part) -> str:
    """The geoms of the base or a link, in the frame of our body of that number."""
    ours = np.diag([-1.0, -1.0, 1.0, 1.0])  # our base's axes in the world
    if number > 0:
        ours = ours @ frames(np.zeros(len(LINKS)))[number - 1]
    joint = np.linalg.inv(ours) @ part.pose
    if number > 0 and np.abs(joint[:2, 3]).max() > APART:
        raise ValueError(f"the axis of joint {number} is {1000.0 * np.abs(joint[:2, 3]).max():.0f} mm from where it is")
    shift = np.array([*joint[:2, 3], 0.0]) if number > 0 else np.zeros(3)  # the axes then are the same
    return "\n      ".join(_geom(geom, np.linalg.inv(ours) @ pose @ _pose(geom), shift) for geom, pose in part.shapes)


def _geom(geom: Element, pose: Array, shift: Array) -> str:
    return (
        f'<geom type="mesh" mesh="skin_{geom.attrib["mesh"]}" material="skin_{geom.attrib["material"]}" mass="0" '
        f'contype="0" conaffinity="0" group="1" pos="{_text(pose[:3, 3] - shift)}" quat="{_text(_quat(pose))}"/>'
    )


def _assets(root: Element, folder: Path) -> str:
    seen = [geom for geom in root.iter("geom") if _is_seen(geom)]
    meshes, materials = ({geom.attrib[kind] for geom in seen} for kind in ("mesh", "material"))
    lines = [
        f'<mesh name="skin_{mesh.attrib["name"]}" file="{(folder / mesh.attrib["file"]).resolve()}"/>'
        for mesh in root.iterfind("asset/mesh")
        if mesh.get("name") in meshes
    ]
    lines += [
        f'<material name="skin_{entry.attrib["name"]}" rgba="{entry.attrib["rgba"]}" specular="0.3" shininess="0.3"/>'
        for entry in root.iterfind("asset/material")
        if entry.get("name") in materials
    ]
    return "\n    ".join(lines)


def _pose(element: Element) -> Array:
    """(4, 4) from ``pos`` and ``quat`` (w, x, y, z)."""
    pose = np.eye(4)
    pose[:3, 3] = _numbers(element.attrib, "pos", (0.0, 0.0, 0.0))
    w, x, y, z = _numbers(element.attrib, "quat", (1.0, 0.0, 0.0, 0.0))
    pose[:3, :3] = scipy.spatial.transform.Rotation.from_quat([x, y, z, w]).as_matrix()
    return pose


def _quat(pose: Array) -> Array:
    """(4,) w, x, y, z."""
    return np.roll(scipy.spatial.transform.Rotation.from_matrix(pose[:3, :3]).as_quat(), 1)


def _numbers(attributes: Mapping[str, str], name: str, otherwise: Sequence[float]) -> Sequence[float]:
    return [float(number) for number in attributes[name].split()] if name in attributes else otherwise


def _text(values: Array) -> str:
    return " ".join(f"{value:.9g}" for value in values)
