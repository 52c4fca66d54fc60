"""Demonstrations on disk, in the layout of Minari's HDF5 datasets, so that Minari reads these and foveal reads others.

::

    DEMOS/data/metadata.json    counts, spaces (Minari's JSON), and under "foveal" what the frames show
    DEMOS/data/main_data.hdf5   episode_0, episode_1, ...: a group each
        observations/depth      (T + 1, H, W) uint16: millimetres along the camera's axis
        observations/vector     (T + 1, 14) float32: the arm's own readings
        actions                 (T, 4) float32 in [-1, 1]: what was done
        rewards, terminations, truncations   (T,)
        infos/skill             (T,) int64: number of the skill that acted
        infos/advice            (T, 4) float32: what the expert would have done; actions, where this is missing
        infos/things            (T + 1, N, 3) float32: centres of the task's things, metres; optional

Farama Foundation, "Minari", https://minari.farama.org. Its library (0.5.4) is not used: it writes episodes
uncompressed, nine times as large as here (28.4 MB for 10 demonstrations of ``ur5e/bowl``, and 3.1 MB), and opens no
data set whose metadata lack spaces or a registered environment.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from foveal.errors import FovealError, require
from foveal.evaluation.results import write_text

EXTRA = 'skills need the extra "skills": pip install "foveal[skills]"'
MILLIMETRES = 1000.0
"""Units of stored depth per metre, as depth cameras deliver it."""
_DATA, _METADATA, _MAIN = "data", "metadata.json", "main_data.hdf5"
_LARGEST = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Episode:
    """One demonstration of T steps.

    Attributes:
        depth: (T + 1, H, W) ``uint16``, millimetres.
        vector: (T + 1, 14) ``float32``.
        actions: (T, 4) ``float32`` in [-1, 1]: what was done.
        rewards: (T,).
        terminated, truncated: how it ended.
        skill: (T,) numbers of skills.
        advice: (T, 4) ``float32``: what is to be imitated.
        things: (T + 1, N, 3) metres, or None where it is not known.
        seed: that the environment was reset with, or None.
    """

    depth: NDArray[np.uint16]
    vector: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float64]
    terminated: bool
    truncated: bool
    skill: NDArray[np.int64]
    advice: NDArray[np.float32]
    things: NDArray[np.float32] | None
    seed: int | None

    def __len__(self) -> int:
        return len(self.actions)


def require_extra() -> None:
    """Import what the extra brings.

    Raises:
        FovealError: it is not installed.
    """
    require("h5py", EXTRA)


def in_millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Metres -> whole millimetres, as they are stored; what is further than 65 m is stored as that."""
    return np.minimum(np.rint(depth * MILLIMETRES), _LARGEST).astype(np.uint16)


# --------------------------------------------------------------------------------------------------------------- write


class DemoWriter:
    """A new data set, episode by episode; each is on the disk when ``add`` returns.

    Args:
        folder: must not exist, or be empty; see ``going_on``.
        about: what the frames show: task, camera, randomization and so on; JSON values.

    Attributes:
        episodes: that are on the disk.

    Raises:
        FovealError: the folder holds something, or the extra is missing.
    """

    def __init__(self, folder: str | Path, about: Mapping[str, Any]) -> None:
        require_extra()
        self.folder = Path(folder)
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise FovealError(f"{self.folder} exists: choose a new folder for demonstrations, or delete it")
        (self.folder / _DATA).mkdir(parents=True)
        self._begin(about, 0, 0)

    @classmethod
    def going_on(cls, folder: str | Path, about: Mapping[str, Any], together: int = 1) -> DemoWriter:
        """Behind the episodes of a data set that was left unfinished.

        Args:
            folder: of the data set.
            about: the same as when it was begun.
            together: episodes that belong together, as those of a demonstration's cameras do: of the last ones, what
                is not complete is deleted.

        Raises:
            FovealError: there is no such data set, it is damaged, or it was begun with something else.
        """
        import h5py

        known = open_demos(folder)
        if known.about != json.loads(json.dumps(about)):
            raise FovealError(f"{folder} was begun with other settings: choose a new folder, or delete it")
        kept = known.episodes - known.episodes % together
        steps = sum(len(episode) for _, episode in zip(range(kept), known, strict=False))
        names = {f"episode_{number}" for number in range(kept)}
        with h5py.File(known.folder / _DATA / _MAIN, "a") as file:
            for name in set(file) - names:  # of one there is no word in the metadata, where a kill came in between
                del file[name]
        writer = cls.__new__(cls)
        writer.folder = known.folder
        writer._begin(about, kept, steps)
        return writer

    def _begin(self, about: Mapping[str, Any], episodes: int, steps: int) -> None:
        self._about, self.episodes, self._steps = dict(about), episodes, steps

    def add(self, episode: Episode) -> None:
        """Append an episode."""
        import h5py

        with h5py.File(self.folder / _DATA / _MAIN, "a", track_order=True) as file:
            group = file.create_group(f"episode_{self.episodes}")
            group.attrs["id"], group.attrs["total_steps"] = self.episodes, len(episode)
            if episode.seed is not None:
                group.attrs["seed"] = episode.seed
            for name, values in _datasets(episode).items():
                packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if values.ndim > 2 else {}
                group.create_dataset(name, data=values, **packed)
        self.episodes += 1
        self._steps += len(episode)
        self._describe(episode)

    def _describe(self, episode: Episode) -> None:
        metadata = {
            "total_episodes": self.episodes,
            "total_steps": self._steps,
            "data_format": "hdf5",
            "dataset_id": f"foveal/{str(self._about.get('task', 'arm')).replace('/', '-')}-v0",
            "minari_version": "0.5.0",
            "observation_space": json.dumps(_observation_space(episode)),
            "action_space": json.dumps(_box(spaces.Box(-1.0, 1.0, (4,), np.float32))),
            "foveal": self._about,
        }
        text = json.dumps(metadata, indent=1) + "\n"
        write_text(self.folder / _DATA / _METADATA, text)


def _datasets(episode: Episode) -> dict[str, NDArray[Any]]:
    steps = len(episode)
    ends = np.arange(steps) == steps - 1
    arrays: dict[str, NDArray[Any]] = {
        "observations/depth": episode.depth,
        "observations/vector": episode.vector,
        "actions": episode.actions,
        "rewards": episode.rewards,
        "terminations": ends & episode.terminated,
        "truncations": ends & episode.truncated,
        "infos/skill": episode.skill,
        "infos/advice": episode.advice,
    }
    return arrays if episode.things is None else arrays | {"infos/things": episode.things}


def _observation_space(episode: Episode) -> dict[str, Any]:
    depth = spaces.Box(0, _LARGEST, episode.depth.shape[1:], np.uint16)
    vector = spaces.Box(-np.inf, np.inf, episode.vector.shape[1:], np.float32)
    return {"type": "Dict", "subspaces": {"depth": _box(depth), "vector": _box(vector)}}


def _box(space: spaces.Box) -> dict[str, Any]:
    """A box as Minari writes it."""
    ends = {"low": space.low.tolist(), "high": space.high.tolist()}
    return {"type": "Box", "dtype": str(space.dtype), "shape": list(space.shape), **ends}


# ---------------------------------------------------------------------------------------------------------------- read


@dataclass(frozen=True)
class DemoFolder:
    """A data set on disk.

    Attributes:
        folder: as given.
        about: what the frames show; empty where somebody else wrote it.
        episodes: how many.
        steps: in all of them.
    """

    folder: Path
    about: dict[str, Any]
    episodes: int
    steps: int

    def __iter__(self) -> Iterator[Episode]:
        import h5py

        path = self.folder / _DATA / _MAIN
        try:
            with h5py.File(path, "r") as file:
                for number in range(self.episodes):
                    yield _episode(file, f"episode_{number}")
        except (OSError, RuntimeError, KeyError) as error:  # a damaged file is any of these to h5py
            raise FovealError(f"can't read the demonstrations {path}: {error}") from error


def open_demos(folder: str | Path) -> DemoFolder:
    """Demonstrations that ``foveal demos collect``, Minari or anyone else wrote in this layout.

    Raises:
        FovealError: the extra is missing, or the folder holds no such thing.
    """
    require_extra()
    folder = Path(folder)
    path = folder / _DATA / _METADATA
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FovealError(f"{folder} holds no demonstrations: there is no {_DATA}/{_METADATA} in it") from error
    except (OSError, ValueError) as error:
        raise FovealError(f"can't read {path}: {error}") from error
    if not isinstance(metadata, dict) or metadata.get("data_format", "hdf5") != "hdf5":
        raise FovealError(f"{path} describes no HDF5 data set; convert it with Minari, data_format='hdf5'")
    episodes, steps = metadata.get("total_episodes"), metadata.get("total_steps")
    if not isinstance(episodes, int) or not isinstance(steps, int) or episodes < 1:
        raise FovealError(f"{path} lacks the counts total_episodes and total_steps, or there is no episode")
    return DemoFolder(folder, dict(metadata.get("foveal", {})), episodes, steps)


def _episode(file: Any, name: str) -> Episode:
    if name not in file:
        raise FovealError(f"the demonstrations {file.filename} lack {name}, which their metadata counts")
    group = file[name]
    actions = _read(group, "actions", (4,), np.float32)
    steps = len(actions)
    depth = _depth(group)
    seed = group.attrs.get("seed")
    episode = Episode(
        depth=depth,
        vector=_read(group, "observations/vector", (14,), np.float32),
        actions=actions,
        rewards=_read(group, "rewards", (), np.float64),
        terminated=bool(np.any(_read(group, "terminations", (), np.bool_))),
        truncated=bool(np.any(_read(group, "truncations", (), np.bool_))),
        skill=_read(group, "infos/skill", (), np.int64)[:steps],
        advice=_read(group, "infos/advice" if "infos/advice" in group else "actions", (4,), np.float32)[:steps],
        things=np.asarray(group["infos/things"], np.float32) if "infos/things" in group else None,
        seed=None if seed is None else int(seed),
    )
    lengths = {len(depth) - 1, len(episode.vector) - 1, len(episode.skill), len(episode.advice), steps}
    if len(lengths) != 1 or not steps:
        raise FovealError(f"{name} of {file.filename} has arrays of different lengths, or none: {sorted(lengths)}")
    return episode


def _depth(group: Any) -> NDArray[np.uint16]:
    """Stored as metres by somebody else, or as millimetres."""
    with contextlib.suppress(KeyError):
        data = group["observations/depth"][()]
        if data.ndim == 3 and data.dtype == np.uint16:
            return data
        if data.ndim == 3 and data.dtype.kind == "f":
            return in_millimetres(data)
        raise FovealError(
            f"observations/depth of {group.name} is {data.dtype} {data.shape}; it takes (T + 1, H, W), uint16 in "
            "millimetres or floating point in metres"
        )
    raise FovealError(f"{group.name} has no observations/depth")


def _read(group: Any, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    if name not in group:
        raise FovealError(f"{group.name} of the demonstrations lacks {name}")
    values = np.asarray(group[name][()])
    if values.shape[1:] != shape:
        raise FovealError(f"{group.name}/{name} has shape {values.shape}; it takes {('T', *shape)}")
    return values.astype(dtype)
