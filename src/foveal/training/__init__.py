"""Training: the loop, the folder of a run, and where experience comes from."""

from foveal.training.options import VALIDATION_SEED_OFFSET, RunOptions
from foveal.training.replay_work import ReplayWork
from foveal.training.trainer import Callback, Trainer
from foveal.training.work import Episode, Work

__all__ = ["VALIDATION_SEED_OFFSET", "Callback", "Episode", "ReplayWork", "RunOptions", "Trainer", "Work"]
