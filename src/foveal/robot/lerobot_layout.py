"""The layout of a LeRobotDataset, version 3.0: names of files and columns, and what its JSON files say.

Hugging Face, "LeRobotDataset v3.0", https://huggingface.co/docs/lerobot/lerobot-dataset-v3. A data set is Parquet, MP4
and JSON, so that neither LeRobot nor its ``datasets`` is needed to write or to read it::

    meta/info.json                                   counts, frames a second, what each column holds
    meta/stats.json                                  smallest, largest, mean, spread and quantiles of each
    meta/tasks.parquet                               the tasks in words, and their numbers
    meta/episodes/chunk-000/file-000.parquet         where each episode lies
    meta/foveal.json                                 task and skills by their names here; LeRobot does not read it
    data/chunk-000/file-000.parquet                  a row for each frame
    videos/observation.images.front/chunk-000/...    its pictures
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = "v3.0"
CHUNK = 1000  # files in a folder
ROBOT = "ur5e"
INFO, STATS, TASKS, OURS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/foveal.json"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
STATE, ACTION, PICTURE, DEPTH, SKILL, SUCCESS = (
    "observation.state",
    "action",
    "observation.images.front",
    "depth",  # without "observation.", or LeRobot's policies would take it for a second state
    "skill",
    "next.success",
)
STATES = (
    *(f"joint_{number}" for number in range(1, 7)),
    *(f"tool_{name}" for name in ("x", "y", "z", "qw", "qx", "qy", "qz")),
    "gripper_opening",
)
ACTIONS = ("velocity_x", "velocity_y", "velocity_z", "gripper_close")
COUNTED = ("timestamp", "frame_index", "episode_index", "index", "task_index")
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


@dataclass(frozen=True)
class RecordedEpisode:
    """T steps of an arm that somebody or something moved.

    Attributes:
        state: (T, 14) ``float32``: ``vector`` of the observations of ``foveal.envs.ur5e``.
        action: (T, 4) ``float32`` in [-1, 1]: what was done.
        rgb: (T, H, W, 3) ``uint8``, or None.
        depth: (T, H, W) ``uint16`` millimetres, or None.
        skill: (T,) ``int64``.
        success: whether it did what it was for.
        task: in words.
    """

    state: NDArray[np.float32]
    action: NDArray[np.float32]
    rgb: NDArray[np.uint8] | None
    depth: NDArray[np.uint16] | None
    skill: NDArray[np.int64]
    success: bool
    task: str

    def __len__(self) -> int:
        return len(self.action)


def features_of(episode: RecordedEpisode, film: Mapping[str, Any] | None) -> dict[str, Any]:
    """What ``info.json`` says of each column.

    Args:
        episode: one like those to come.
        film: what LeRobot wants to know of the film; None where pictures are PNG files within the rows.
    """
    features: dict[str, Any] = {
        STATE: {"dtype": "float32", "shape": [len(STATES)], "names": list(STATES)},
        ACTION: {"dtype": "float32", "shape": [len(ACTIONS)], "names": list(ACTIONS)},
    }
    if episode.rgb is not None:
        shape = list(episode.rgb.shape[1:])
        features[PICTURE] = {"dtype": "image", "shape": shape, "names": ["height", "width", "channels"]}
        if film is not None:
            features[PICTURE] |= {"dtype": "video", "info": dict(film)}
    if episode.depth is not None:
        shape = list(episode.depth.shape[1:])
        features[DEPTH] = {"dtype": "uint16", "shape": shape, "names": ["height", "width"]}
    features[SKILL] = {"dtype": "int64", "shape": [1], "names": None}
    features[SUCCESS] = {"dtype": "bool", "shape": [1], "names": None}
    for name in COUNTED:
        features[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
    return features


def info_of(features: Mapping[str, Any], fps: int, lengths: Sequence[int], tasks: int) -> dict[str, Any]:
    """``info.json``."""
    films = any(feature["dtype"] == "video" for feature in features.values())
    return {
        "codebase_version": VERSION,
        "robot_type": ROBOT,
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "total_tasks": tasks,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{len(lengths)}"},
        "data_path": DATA,
        "video_path": VIDEO if films else None,
        "features": dict(features),
    }


def statistics_of(values: NDArray[Any]) -> dict[str, list[Any]]:
    """Of numbers (T, D), each list of D; of pictures (T, H, W, 3), lists of shape (3, 1, 1), of values in [0, 1]."""
    pictures = values.ndim == 4
    rows = values.reshape(-1, values.shape[-1]).astype(np.float64) / (255.0 if pictures else 1.0)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    found |= {name: np.quantile(rows, share, axis=0) for name, share in QUANTILES.items()}
    shaped = {name: value.reshape(3, 1, 1) if pictures else value for name, value in found.items()}
    return {**{name: value.tolist() for name, value in shaped.items()}, "count": [len(values)]}


def joined_statistics(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Those of several episodes together. Quantiles are means of the episodes', as in LeRobot."""
    counts = np.array([part["count"][0] for part in parts], np.float64)

    def mean(values: Sequence[Any]) -> NDArray[np.float64]:
        return np.asarray(np.tensordot(counts / counts.sum(), np.array(values), 1))

    middle = mean([part["mean"] for part in parts])
    spread = mean([np.square(part["std"]) + np.square(np.array(part["mean"]) - middle) for part in parts])
    joined = {
        "min": np.min([part["min"] for part in parts], 0),
        "max": np.max([part["max"] for part in parts], 0),
        "mean": middle,
        "std": np.sqrt(spread),
        **{name: mean([part[name] for part in parts]) for name in QUANTILES},
    }
    return {**{name: value.tolist() for name, value in joined.items()}, "count": [int(counts.sum())]}
