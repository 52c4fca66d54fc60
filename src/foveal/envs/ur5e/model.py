"""The simulated scene as MJCF: a UR5e in simple geometry, a parallel gripper, a table and what lies on it.

A body's frame is the Denavit-Hartenberg frame before its joint, turned by the joint, so that the manufacturer's
parameters enter as published. Shapes are capsules, boxes and cylinders of about the arm's own size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy  # whose parts are imported at first use

from foveal.envs.ur5e.kinematics import LINKS, Link
from foveal.envs.ur5e.meshes import Skin
from foveal.envs.ur5e.tasks import Bowl, Task, Thing

TIMESTEP = 0.004  # seconds
CAMERAS = ("front", "side", "wrist")
STANDS = {"front": ((1.15, 0.0, 0.85), (0.46, 0.0, 0.08)), "side": ((0.5, 0.95, 0.7), (0.45, 0.0, 0.10))}
"""Where the cameras beside the table stand, and what they look at, metres."""
FOVY = 45.0  # degrees from the upper to the lower edge of their pictures
TOOL_REACH = 0.145  # metres from the flange to the point between the finger tips
STROKE = 0.07  # metres that each finger travels: 14 cm between the pads, like a Robotiq 2F-140's
GRIP_FORCE = 40.0  # N, on both fingers together
LARGEST_EDGE = 0.07  # metres; things are compiled at this size and shrunk in every episode
DENSITY = 400.0  # kg/m^3 of things: wood
CAN_RADIUS, CAN_HALF = 0.03, 0.055  # metres: of the can, which stands on the table when it has been added
CAN_WAITS = (0.35, 0.0, -0.4)  # metres: below the table, where no camera sees it
FAR = 5.0  # metres: the largest depth, which is that of pixels that show nothing

LAG = 0.05  # seconds by which a joint follows its servo's reference
_GAIN, _WRIST_GAIN = 2000.0, 300.0  # N m/rad of the servos
_PALM, _FINGER = 0.085, 0.075  # metres along the tool's axis
_SIDES = 8  # of a bowl
_WALL = 0.004  # metres, half of a bowl's wall
# Degrees of freedom of contacts: the arm does not touch itself, and touches all else.
_ARM = 'contype="2" conaffinity="1"'
_REST = 'contype="1" conaffinity="3"'
_SEEN, _UNSEEN = 1, 4  # groups of geoms: cameras show those up to 2


def scene_xml(task: Task, skin: Skin | None = None, *, can: bool = False) -> str:
    """The whole scene of a task.

    Args:
        task: what is on the table.
        skin: what the arm looks like; without one, cameras see the shapes that it collides with.
        can: whether there is one that can be added to the table.
    """
    group = _SEEN if skin is None else _UNSEEN
    bowl = "" if task.bowl is None else _bowl(task.bowl)
    return f"""
<mujoco model="ur5e">
  <compiler angle="radian" autolimits="true" inertiafromgeom="auto"/>
  <option timestep="{TIMESTEP}" integrator="implicitfast" cone="elliptic" impratio="10">
    <flag midphase="disable"/>
  </option>
  <statistic extent="1" center="0.5 0 0.1"/>
  <visual>
    <map znear="0.02" zfar="{FAR}"/>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.25 0.25 0.25" specular="0 0 0"/>
    <quality shadowsize="512" offsamples="4" numslices="20" numstacks="10"/>
  </visual>
  <default>
    <geom solref="0.01 1" solimp="0.95 0.99 0.001"/>
    <default class="arm"><geom {_ARM} mass="0" group="{group}"/></default>
    <default class="hand"><geom {_ARM} mass="0" group="{_SEEN}"/></default>
    <default class="pad"><geom {_ARM} mass="0" condim="4" friction="1.2 0.02 0.001" priority="1"/></default>
    <default class="thing"><geom {_REST} condim="4" friction="0.8 0.01 0.0005" density="{DENSITY}"/></default>
    <default class="bowl"><geom {_REST} condim="3" friction="0.6 0.005 0.0001" density="1200"/></default>
  </default>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.72 0.78 0.84" rgb2="0.45 0.5 0.56" width="64"
      height="384"/>
    <texture name="floor" type="2d" builtin="checker" rgb1="0.32 0.33 0.35" rgb2="0.38 0.39 0.41" width="128"
      height="128"/>
    <material name="floor" texture="floor" texrepeat="6 6" texuniform="true"/>
    <material name="table" rgba="0.74 0.66 0.55 1" specular="0.1" shininess="0.1"/>
    <material name="grey" rgba="0.62 0.64 0.66 1" specular="0.3" shininess="0.3"/>
    <material name="blue" rgba="0.36 0.55 0.72 1" specular="0.2" shininess="0.2"/>
    <material name="dark" rgba="0.16 0.17 0.18 1" specular="0.1" shininess="0.1"/>
    <material name="china" rgba="0.90 0.91 0.93 1" specular="0.4" shininess="0.5"/>
    {"" if skin is None else skin.assets}
  </asset>
  <worldbody>
    <light name="lamp" pos="0.6 0.4 1.8" dir="0 -0.2 -1" diffuse="0.55 0.55 0.55" specular="0.1 0.1 0.1"
      castshadow="true"/>
    <camera name="front" pos="{_text(STANDS["front"][0])}" fovy="{FOVY:g}"/>
    <camera name="side" pos="{_text(STANDS["side"][0])}" fovy="{FOVY:g}"/>
    <geom name="floor" type="plane" size="3 3 0.1" pos="0 0 -0.75" material="floor" contype="0" conaffinity="0"/>
    <geom name="table" type="box" size="0.55 0.6 0.03" pos="0.35 0 -0.03" material="table" {_REST} condim="4"
      friction="0.8 0.01 0.0005"/>
    {_arm(skin)}
    {"".join(_thing(thing) for thing in task.things)}
    {bowl}
    {_can() if can else ""}
  </worldbody>
  <contact><exclude body1="base" body2="link1"/></contact>
  <tendon>
    <fixed name="opening"><joint joint="finger_left" coef="0.5"/><joint joint="finger_right" coef="0.5"/></fixed>
  </tendon>
  <equality>
    <joint joint1="finger_left" joint2="finger_right" solimp="0.95 0.99 0.001" solref="0.005 1"/>
  </equality>
  <actuator>
    {_servos()}
    <position name="gripper" tendon="opening" kp="2000" kv="300" ctrlrange="0 {STROKE}"
      forcerange="-{GRIP_FORCE} {GRIP_FORCE}"/>
  </actuator>
</mujoco>
"""


def _servos() -> str:
    """Servos: each joint follows the integral of a commanded speed stiffly, ``LAG`` behind."""
    lines = []
    for number, link in enumerate(LINKS, start=1):
        gain = _GAIN if link.torque > 100.0 else _WRIST_GAIN
        lines.append(
            f'<intvelocity name="servo{number}" joint="joint{number}" kp="{gain}" kv="{gain * LAG}" '
            f'ctrlrange="-{np.pi} {np.pi}" actrange="-{link.limit} {link.limit}" '
            f'forcerange="-{link.torque} {link.torque}"/>'
        )
    return "\n    ".join(lines)


def _arm(skin: Skin | None) -> str:
    """Base, six nested links and the gripper. The base is turned so that joint angle 0 reaches along +x."""
    inner = _gripper()
    looks = [""] * (len(LINKS) + 1) if skin is None else list(skin.geoms)
    for number in range(len(LINKS), 0, -1):
        before = LINKS[number - 2] if number > 1 else None
        inner = _link(number, LINKS[number - 1], before, looks[number] + inner)
    return f"""
    <body name="base" quat="0 0 0 1">
      <geom class="arm" name="base" type="cylinder" size="0.075 0.045" pos="0 0 0.045" material="grey"/>
      {looks[0]}
      {inner}
    </body>"""


def _link(number: int, link: Link, before: Link | None, inner: str) -> str:
    pose = "" if before is None else f'pos="{before.a} 0 {before.d}" quat="{_quaternion("X", before.alpha)}"'
    return f"""
    <body name="link{number}" gravcomp="1" {pose}>
      <joint name="joint{number}" axis="0 0 1" range="-{link.limit} {link.limit}" armature="0.1"/>
      {_inertial(link, LENGTHS[number - 1])}
      {SHAPES[number - 1]}
      {inner}
    </body>"""


def _inertial(link: Link, length: float) -> str:
    """The published mass and centre of mass, and the inertia of a solid cylinder along the link.

    The manufacturer publishes no inertia for a UR5e and calls it negligible.
    """
    c, s = np.cos(link.alpha), np.sin(link.alpha)
    x, y, z = link.centre
    centre = (link.a + x, c * y - s * z, link.d + s * y + c * z)  # from the frame after the joint
    across = link.mass * (3.0 * _RADIUS**2 + length**2) / 12.0
    along = link.mass * _RADIUS**2 / 2.0
    moments = (along, across, across) if abs(link.a) > 0.0 else (across, across, along)
    return f'<inertial pos="{_text(centre)}" mass="{link.mass}" diaginertia="{_text(moments)}"/>'


_RADIUS = 0.055  # metres, of the cylinders whose inertias the links have
LENGTHS = (0.16, 0.425, 0.392, 0.13, 0.10, 0.06)  # metres, of these cylinders
# In the frame of each link's body. Like the real one, the upper arm runs 136 mm beside the line between its joints.
SHAPES = (
    """<geom class="arm" type="cylinder" size="0.06 0.075" pos="0 0 0.165" material="grey"/>""",
    """<geom class="arm" type="cylinder" size="0.06 0.075" pos="0 0 0.12" material="blue"/>
      <geom class="arm" type="capsule" size="0.052" fromto="0 0 0.136 -0.425 0 0.136" material="grey"/>
      <geom class="arm" type="cylinder" size="0.052 0.06" pos="-0.425 0 0.12" material="blue"/>""",
    """<geom class="arm" type="capsule" size="0.042" fromto="0 0 0.012 -0.392 0 0.012" material="grey"/>
      <geom class="arm" type="cylinder" size="0.042 0.05" pos="-0.392 0 0.03" material="blue"/>""",
    """<geom class="arm" type="capsule" size="0.039" fromto="0 0 0.07 0 0 0.1333" material="grey"/>
      <geom class="arm" type="cylinder" size="0.04 0.03" pos="0 0 0.1333" quat="1 1 0 0" material="blue"/>""",
    """<geom class="arm" type="capsule" size="0.039" fromto="0 0 0.05 0 0 0.0997" material="grey"/>
      <geom class="arm" type="cylinder" size="0.04 0.03" pos="0 0 0.0997" quat="1 1 0 0" material="blue"/>""",
    """<geom class="arm" type="cylinder" size="0.037 0.025" pos="0 0 0.0746" material="grey"/>""",
)


def _gripper() -> str:
    """A palm on the flange and two fingers that slide along its y axis, open where their joints are at ``STROKE``."""
    flange = LINKS[-1].d
    fingers = "".join(_finger(name, sign) for name, sign in (("left", 1.0), ("right", -1.0)))
    return f"""
    <body name="gripper" pos="0 0 {flange}" gravcomp="1">
      <inertial pos="0 0 0.04" mass="0.8" diaginertia="0.0025 0.0008 0.0028"/>
      <geom class="hand" type="cylinder" size="0.035 0.02" pos="0 0 0.02" material="dark"/>
      <geom class="hand" type="box" size="0.025 0.085 0.0225" pos="0 0 {_PALM - 0.0225}" material="dark"/>
      <site name="tool" pos="0 0 {TOOL_REACH}" size="0.005" group="4"/>
      <camera name="wrist" pos="-0.07 0 0.02" xyaxes="0 1 0 0.92 0 -0.39" fovy="75"/>
      {fingers}
    </body>"""


def _finger(name: str, sign: float) -> str:
    """The pad is the inner face of the finger's end; ``TOOL_REACH`` lies in its middle."""
    thick = 0.006  # metres, half
    tip = _PALM + _FINGER
    return f"""
      <body name="finger_{name}" pos="0 0 0" gravcomp="1">
        <joint name="finger_{name}" type="slide" axis="0 {sign} 0" range="0 {STROKE}" armature="0.1" damping="5"/>
        <inertial pos="0 {sign * 0.01} {_PALM + _FINGER / 2}" mass="0.08" diaginertia="4e-5 4e-5 1e-5"/>
        <geom class="hand" type="box" size="0.011 {thick} {_FINGER / 2}" pos="0 {sign * (0.004 + thick)}
          {_PALM + _FINGER / 2}" material="grey"/>
        <geom class="pad" name="pad_{name}" type="box" size="0.012 0.002 0.016" pos="0 {sign * 0.002} {tip - 0.016}"
          rgba="0.2 0.2 0.2 1"/>
      </body>"""


def _thing(thing: Thing) -> str:
    size = {"box": 3, "cylinder": 2, "sphere": 1}[thing.shape]
    half = [value * LARGEST_EDGE for value in thing.half]
    extents = {3: half, 2: [half[0], half[2]], 1: half[:1]}[size]
    rolling = 'condim="6" friction="0.8 0.01 0.01"' if thing.shape == "sphere" else ""
    return f"""
    <body name="{thing.name}">
      <freejoint name="{thing.name}"/>
      <geom class="thing" name="{thing.name}" type="{thing.shape}" size="{_text(extents)}" {rolling}
        rgba="{_text(thing.color)} 1"/>
    </body>"""


def _can() -> str:
    """It floats below the table, without weight, until it is put on it."""
    return f"""
    <body name="can" pos="{_text(CAN_WAITS)}" gravcomp="1">
      <freejoint name="can"/>
      <geom class="thing" name="can" type="cylinder" size="{CAN_RADIUS} {CAN_HALF}" rgba="0.45 0.28 0.62 1"/>
    </body>"""


def _bowl(bowl: Bowl) -> str:
    """An octagonal floor of two overlapping squares, and a leaning wall of eight boxes."""
    half_angle = np.pi / _SIDES
    slope = np.arctan2(bowl.rim - bowl.floor, bowl.height)  # from the vertical
    length = np.hypot(bowl.rim - bowl.floor, bowl.height) / 2.0
    middle = (bowl.rim + bowl.floor) / 2.0 + _WALL * np.cos(slope)
    width = (bowl.rim + 2.0 * _WALL) * np.tan(half_angle)
    walls = []
    for side in range(_SIDES):
        angle = 2.0 * half_angle * side
        place = (middle * np.cos(angle), middle * np.sin(angle), bowl.height / 2.0 + _WALL)
        walls.append(
            f'<geom class="bowl" type="box" size="{_WALL} {width:.5f} {length:.5f}" pos="{_text(place)}" '
            f'quat="{_quaternion("ZY", angle, slope)}" material="china"/>'
        )
    return f"""
    <body name="bowl">
      <freejoint name="bowl"/>
      <geom class="bowl" type="cylinder" size="{bowl.floor + _WALL} {_WALL}" pos="0 0 {_WALL}" material="china"/>
      {"".join(walls)}
    </body>"""


def _text(values: Sequence[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def _quaternion(axes: str, *angles: float) -> str:
    """w, x, y, z of turns about axes, each about those that the ones before have turned."""
    return _text(np.roll(scipy.spatial.transform.Rotation.from_euler(axes, angles).as_quat(), 1))
