"""A UR5e with a parallel gripper at a table: ``ur5e/pick``, ``ur5e/bowl``, ``ur5e/tower``, ``ur5e/breakfast``.

``foveal.envs.make("ur5e/bowl")`` gives stacked RGB frames and the arm's own readings, as agents see them.
``make_arm("bowl")``, or ``gymnasium.make("foveal/ur5e-bowl-depth-v0")``, gives depth in metres (and RGB if asked),
frame by frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium

from foveal.envs.family import FAMILIES, EnvOptions, Family
from foveal.envs.ur5e.tasks import TASKS

if TYPE_CHECKING:
    from foveal.envs.ur5e.env import ArmEnv
    from foveal.envs.ur5e.randomization import Randomization

__all__ = ["TASKS", "Arm", "make_arm"]


@FAMILIES.register("ur5e")
class Arm(Family):
    """``ur5e/<task>``, for example ``ur5e/bowl``."""

    def names(self) -> list[str]:
        return list(TASKS)

    def build(self, name: str, options: EnvOptions) -> gymnasium.Env[Any, Any]:
        return make_arm(
            name,
            size=options.image_size,
            depth=False,
            rgb=True,
            camera=options.camera,
            quality=options.quality,
            action_repeat=options.action_repeat or 1,
            meshes=options.meshes,
        )


def make_arm(
    task: str,
    *,
    size: int = 84,
    depth: bool = True,
    rgb: bool = False,
    camera: int = 0,
    quality: str = "exact",
    randomization: str | Randomization = "training",
    action_repeat: int = 1,
    render_mode: str | None = None,
    meshes: bool = False,
    can: bool = False,
) -> ArmEnv:
    """The environment of a task; this imports the simulator. For the options see ``ArmEnv`` and ``Sight``.

    Raises:
        FovealError: an unknown name, an option out of range, no OpenGL, or meshes that are not installed.
    """
    from foveal.envs.ur5e.env import ArmEnv, Sight

    sight = Sight(size, depth, rgb, camera, quality, meshes)
    return ArmEnv(task, sight, randomization, action_repeat, render_mode, can)


def _register_gymnasium_ids() -> None:
    for task in TASKS:
        known = f"foveal/ur5e-{task}-depth-v0"
        if known not in gymnasium.registry:
            gymnasium.register(known, entry_point=f"{__name__}:make_arm", kwargs={"task": task})


_register_gymnasium_ids()
