"""Films on the sky of a Control Suite model: those of DAVIS 2017 in a user's folder, or generated ones."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.envs.perturbations.generated_videos import generated_video
from foveal.envs.perturbations.repaint import texels, upload
from foveal.errors import FovealError
from foveal.pictures.folder import read_picture

SKY = "skybox"
SIDE = 800
"""Pixels of the sky's texture, which is the same on all six sides of the world."""
WITHIN = ("", "DAVIS/JPEGImages/480p", "JPEGImages/480p")
"""Where in a user's folder the films' folders may be."""
GENERATED_FRAMES, GENERATED_SIDE = 70, 100
"""A film of DAVIS has 70 frames on average. Generated ones are drawn small, and enlarged as DAVIS' are."""

_NAMES = """
    bear bmx-bumps boat boxing-fisheye breakdance-flare bus car-turn cat-girl classic-car color-run crossing
    dance-jump dancing disc-jockey dog-agility dog-gooses dogs-scale drift-turn drone elephant flamingo hike
    hockey horsejump-low kid-football kite-walk koala lady-running lindy-hop longboard lucia mallard-fly
    mallard-water miami-surf motocross-bumps motorbike night-race paragliding planes-water rallye rhino
    rollerblade schoolgirls scooter-board scooter-gray sheep skate-park snowboard soccerball stroller stunt
    surf swing tennis tractor-sand train tuk-tuk upside-down varanus-cage walking
"""
TRAINING_FILMS = tuple(_NAMES.split())
"""DAVIS 2017's training set, 60 films."""


class Films(Protocol):
    """Films, each a sequence of frames."""

    def __len__(self) -> int:
        """How many."""

    def length(self, film: int) -> int:
        """Frames of one."""

    def frame(self, film: int, index: int) -> NDArray[np.uint8]:
        """One frame, (SIDE, SIDE, 3)."""


class DavisFilms:
    """The first films of DAVIS' training set, a folder of JPEG files each.

    Args:
        data: the folder with the films' folders, DAVIS' own, or one that has DAVIS in it.
        count: how many of them; fewer where some are missing.

    Raises:
        FovealError: none is there, or one of them holds no picture.
    """

    def __init__(self, data: Path, count: int) -> None:
        found = next((data / part for part in WITHIN if (data / part / TRAINING_FILMS[0]).is_dir()), None)
        if found is None:
            raise FovealError(
                f"{data} has no film of DAVIS 2017: distracting_cs needs its folder JPEGImages/480p, or one that has "
                "DAVIS in it"
            )
        folders = [found / name for name in TRAINING_FILMS[:count] if (found / name).is_dir()]
        self.films = [sorted(folder.glob("*.jpg")) for folder in folders]
        for folder, frames in zip(folders, self.films, strict=True):
            if not frames:
                raise FovealError(f"{folder} holds no .jpg: copy DAVIS again")

    def __len__(self) -> int:
        return len(self.films)

    def length(self, film: int) -> int:
        """Frames of one."""
        return len(self.films[film])

    def frame(self, film: int, index: int) -> NDArray[np.uint8]:
        """One frame.

        Raises:
            FovealError: it can't be decoded.
        """
        return enlarged(read_picture(self.films[film][index]))


class GeneratedFilms:
    """Films like ``foveal.envs.perturbations.generated_videos``, always the same.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def length(self, film: int) -> int:
        """Frames of one."""
        return GENERATED_FRAMES

    def frame(self, film: int, index: int) -> NDArray[np.uint8]:
        """One frame."""
        video = generated_video((zlib.crc32(b"distracting_cs"), film), GENERATED_SIDE, GENERATED_FRAMES)
        return enlarged(video[index].transpose(1, 2, 0))


def enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) -> (SIDE, SIDE, 3), as Pillow resizes where no filter is named."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((SIDE, SIDE)))


class Sky:
    """Shows a film on the sky, forwards and backwards between its ends.

    Args:
        physics: of a dm_control suite environment.
        films: to choose from.
    """

    def __init__(self, physics: Any, films: Films) -> None:
        self.physics, self.films = physics, films
        self.film, self.index, self.way = -1, 0, 1
        self._textures: dict[int, NDArray[np.uint8]] = {}  # of this film, as they are needed
        self._shown: tuple[int, int] | None = None

    def begin(self, random: np.random.RandomState) -> None:
        """A film of a new episode, where in it to begin, and which way to go."""
        film = int(random.choice(len(self.films)))
        self._choose(film)
        self.index = int(random.choice(self.films.length(film)))
        self.way = int(random.choice([-1, 1]))

    def step(self) -> None:
        """The next frame; at either end of the film it turns round."""
        last = self.films.length(self.film) - 1
        self.index += self.way
        if self.index <= 0:
            self.index, self.way = 0, 1
        if self.index >= last:
            self.index, self.way = last, -1

    def show(self) -> None:
        """Put the frame onto the sky, if it isn't there."""
        if self._shown == (self.film, self.index):
            return
        if self.index not in self._textures:
            self._textures[self.index] = self.films.frame(self.film, self.index)
        self._paint(self._textures[self.index])
        self._shown = (self.film, self.index)

    def _choose(self, film: int) -> None:
        if film != self.film:
            self._textures = {}
        self.film = film

    def _paint(self, picture: NDArray[np.uint8]) -> None:
        model = self.physics.model
        # Of six pictures below each other before: now one serves all sides.
        model.tex_height[model.name2id(SKY, "texture")] = SIDE
        texels(model, SKY)[:] = picture.ravel()
        upload(self.physics, [SKY])

    def get_state(self) -> dict[str, Any]:
        """Numbers."""
        return {"film": self.film, "index": self.index, "way": self.way, "films": len(self.films)}

    def set_state(self, state: dict[str, Any]) -> None:
        """The inverse of ``get_state``.

        Raises:
            FovealError: it is of another number of films.
        """
        if state["films"] != len(self.films):
            raise FovealError(f"this state is of {state['films']} films, and there are {len(self.films)} here")
        self._choose(int(state["film"]))
        self.index, self.way = int(state["index"]), int(state["way"])
        self._shown = None
