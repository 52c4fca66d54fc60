"""Atari agents: PPO as Stable-Baselines3 computes it, resumed as if nothing had happened, scored by whole games."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("ale_py", reason="needs the extra 'atari'")
pytest.importorskip("stable_baselines3", reason="needs the extra 'atari'")

from foveal import checkpoint
from foveal.atari.agent import AtariAgent
from foveal.atari.training import AtariCallback, AtariTrainer
from foveal.runs import read_records
from small_env import differing

STEPS = 32  # of one update in the debug preset


def small(**more: Any) -> AtariAgent:
    return AtariAgent("atari/breakout", "nature", "debug", training={"precision": "float32"}, **more)


class StopAfter(AtariCallback):
    """Ends training, as a kill after a checkpoint would."""

    def __init__(self, updates: int) -> None:
        self.left = updates

    def on_update(self, trainer: AtariTrainer) -> bool:
        self.left -= 1
        return self.left > 0


# --- resuming ---------------------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = small(seed=3)
    whole.learn(20 * STEPS, tmp_path / "whole", progress=False)

    cut = small(seed=3)
    trainer = AtariTrainer(cut, run=tmp_path / "cut", callbacks=[StopAfter(9)], progress=False)
    trainer.train(20 * STEPS)
    assert cut.steps == 9 * STEPS
    torch.manual_seed(99)  # another process has other global generators
    np.random.seed(99)  # noqa: NPY002
    resumed = AtariTrainer.resume(tmp_path / "cut", progress=False)
    resumed.train()

    assert resumed.agent.steps == whole.steps == 20 * STEPS
    tensors, state = whole.state()
    others, other = resumed.agent.state()
    assert differing(tensors, others) == [] and state == other
    first, second = (
        checkpoint.load(tmp_path / run / "checkpoints" / f"{20 * STEPS:09d}", kind="foveal.atari")
        for run in ("whole", "cut")
    )
    assert differing(first.tensors, second.tensors) == [] and first.state == second.state
    episodes = read_records(tmp_path / "whole" / "episodes.jsonl")
    assert episodes == read_records(tmp_path / "cut" / "episodes.jsonl") and len(episodes) >= 2
