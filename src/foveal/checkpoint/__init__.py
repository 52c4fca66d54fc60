"""Checkpoints: state on disk that survives a kill, notices damage, and never executes code when it is read."""

from foveal.checkpoint.files import DamagedCheckpoint
from foveal.checkpoint.folder import Checkpoint, Segment, load, save
from foveal.checkpoint.manifest import kind_of
from foveal.checkpoint.pretrained import place_of, shipped
from foveal.checkpoint.states import (
    global_random_state,
    join,
    load_generator_state,
    load_global_random_state,
    load_numpy_state,
    load_optimizer_state,
    numpy_state,
    optimizer_state,
    split,
    under,
)
from foveal.checkpoint.store import CheckpointStore

__all__ = [
    "Checkpoint",
    "CheckpointStore",
    "DamagedCheckpoint",
    "Segment",
    "global_random_state",
    "join",
    "kind_of",
    "load",
    "load_generator_state",
    "load_global_random_state",
    "load_numpy_state",
    "load_optimizer_state",
    "numpy_state",
    "optimizer_state",
    "place_of",
    "save",
    "shipped",
    "split",
    "under",
]
