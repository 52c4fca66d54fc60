"""Films of episodes: the scene, the depth that skills see, and which of them is running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from foveal.envs.ur5e import make_arm
from foveal.envs.ur5e.experts import skills
from foveal.pictures.video import Picture, write_video
from foveal.skills.arms import Actor, Arms, ArmSettings
from foveal.skills.config import CloneConfig
from foveal.skills.policy import depth_input
from foveal.skills.rollouts import Plan

HEIGHT = 336  # pixels of a film, without its caption
FRAMES_PER_SECOND = 20  # twice the arm's own
_CAPTION = 24  # pixels
_LAST = 20  # frames for which the last picture stays


def film(
    path: str | Path,
    settings: ArmSettings,
    plan: Plan,
    actor: Actor | None,
    seed: int,
    skill_steps: int,
    *,
    wanted: bool | None = None,
) -> Path | None:
    """One episode, from its reset with ``seed`` to its end, as an mp4.

    An episode may end otherwise than it did in an evaluation: the network sees one arm here and several there, and
    sums of floating point numbers round otherwise.

    Args:
        path: the film.
        settings: of the arm.
        plan: which skill is next.
        actor: does the skills; None for the experts.
        seed: of the episode.
        skill_steps: control steps of each decision.
        wanted: write the film only where the task is solved, or only where it is not; None for both.

    Returns:
        The film, or None where none was written.

    Raises:
        FovealError: the film can't be written.
    """
    arms = _FilmedArms(settings, 1 if actor is None else actor.stack)
    names = [skill.name for skill in skills(settings.task)]
    try:
        arms.reset(0, seed)
        decision = 0
        while not arms.ended[0]:
            skill = plan.choose(arms, np.zeros(1, np.int64), decision, [seed])
            # A policy of the whole task has a single skill, which is none of the script's.
            arms.caption = names[skill[0]] if getattr(actor, "skills", len(names)) == len(names) else "the whole task"
            arms.run(actor, skill, skill_steps)
            decision += 1
        success = bool(arms.success[0])
        if wanted is not None and success is not wanted:
            return None
        arms.caption = "solved" if success else "not solved"
        arms.take()
        return write_video(path, _lingering(arms.pictures), fps=FRAMES_PER_SECOND)
    finally:
        arms.close()


class _FilmedArms(Arms):
    """One arm, filmed at every step."""

    def __init__(self, settings: ArmSettings, stack: int) -> None:
        super().__init__(settings, 1, stack)
        self.caption = ""
        self.pictures: list[Picture] = []
        self._scene = make_arm(
            settings.task,
            size=HEIGHT,
            depth=False,
            rgb=True,
            randomization=settings.randomization,
            can=settings.event is not None and settings.event.can,
        )

    def step(self, index: int, action: NDArray[np.float32]) -> float:
        self.take()
        return super().step(index, action)

    def take(self) -> None:
        """A picture of now."""
        self._scene.set_state(self.envs[0].get_state())
        sides = [self._scene.picture()]
        if self.settings.view.size:
            sides.append(_shown(self.frames()[0, -1]))
        happened = self.happenings[0].step is not None and self.settings.event is not None
        said = f"{self.caption} · {self.settings.event.what}" if happened and self.settings.event else self.caption
        self.pictures.append(_captioned(np.concatenate(sides, axis=1), said))

    def close(self) -> None:
        self._scene.close()
        super().close()


def _shown(millimetres: NDArray[Any]) -> Picture:
    """(H, W) depth -> (HEIGHT, HEIGHT, 3): the nearer, the brighter."""
    grey = 0.5 * (1.0 - depth_input(millimetres, CloneConfig().near, CloneConfig().far).numpy())
    image = Image.fromarray(np.rint(255.0 * grey).astype(np.uint8)).resize((HEIGHT, HEIGHT), Image.Resampling.NEAREST)
    return np.array(image.convert("RGB"))


def _captioned(picture: Picture, caption: str) -> Picture:
    canvas = Image.new("RGB", (picture.shape[1], picture.shape[0] + _CAPTION))
    canvas.paste(Image.fromarray(picture), (0, _CAPTION))
    ImageDraw.Draw(canvas).text((8, 4), caption, fill=(255, 255, 255), font_size=14)
    return np.array(canvas)


def _lingering(pictures: list[Picture]) -> Iterator[Picture]:
    yield from pictures
    yield from pictures[-1:] * _LAST
