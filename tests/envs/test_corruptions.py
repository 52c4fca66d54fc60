"""Corruptions as conditions of environments: ``noise:3``."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest

import foveal
from foveal.corruptions import CorruptionOptions
from foveal.corruptions.streams import change_names
from foveal.envs import make
from foveal.envs.perturbations import corruption, perturbation_names
from foveal.errors import FovealError
from small_env import SIZE, Ignorant, SavedCounter, small_agent

OPTIONS: dict[str, Any] = {"image_size": SIZE, "frame_stack": 2}


@pytest.fixture(autouse=True)
def _few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of other places: all 512 take seconds to draw."""
    monkeypatch.setattr(corruption, "CorruptionOptions", partial(CorruptionOptions, picture_count=16))


class Seen(SavedCounter):
    """One that knows which pixels are the task's: its random corner."""

    def agent_mask(self) -> Any:
        mask = np.zeros((SIZE, SIZE), bool)
        mask[:8, :8] = True
        return mask


def frames(condition: str, seed: int, env: Any = Seen, steps: int = 12) -> Any:
    """The newest frames of an episode and of the beginning of the next one."""
    made = make(env, **OPTIONS, perturbation=condition)
    observations = [made.reset(seed=seed)[0]]
    for _ in range(steps):
        observation, _, _, truncated, _ = made.step(np.zeros(2, np.float32))
        observations.append(made.reset()[0] if truncated else observation)
    return np.stack([observation[-3:] for observation in observations])


@pytest.mark.slow
@pytest.mark.parametrize("name", change_names())
def test_every_change_is_a_condition_that_a_seed_repeats(name: str) -> None:
    condition = f"{name}:3"
    assert condition in perturbation_names()
    first, again, plain = frames(condition, 1), frames(condition, 1), frames("contrast:1", 1)
    assert np.array_equal(first, again)
    assert first.shape == plain.shape and not np.array_equal(first, plain)


def test_another_seed_and_the_next_episode_draw_anew() -> None:
    def light(seed: int) -> Any:
        """The mean colour of the picture's noisy corner, frame by frame; the seed decides nothing else of it."""
        return frames("tint:5", seed)[:, :, :8, :8].mean((2, 3))

    first, other = light(1), light(2)
    assert np.abs(first[0] - other[0]).max() > 20
    assert np.abs(first[4] - first[8]).max() < 20  # of one episode
    assert np.abs(first[8] - first[-1]).max() > 20  # after the reset


@pytest.mark.parametrize("name", change_names())
def test_an_episode_that_was_saved_goes_on_as_it_would_have(name: str) -> None:
    here, there = (make(Seen, **OPTIONS, perturbation=f"{name}:4") for _ in range(2))
    here.reset(seed=3)
    here.step(np.zeros(2, np.float32))
    there.reset(seed=9)
    there.set_state(here.get_state())
    for _ in range(3):
        mine, other = (env.step(np.zeros(2, np.float32))[0] for env in (here, there))
        assert np.array_equal(mine, other)


def test_a_vector_beside_the_picture_stays_as_it_is() -> None:
    made = make(lambda: SavedCounter(vector=True), **OPTIONS, perturbation="noise:5")
    plain = make(lambda: SavedCounter(vector=True), **OPTIONS)
    changed, usual = made.reset(seed=0)[0], plain.reset(seed=0)[0]
    assert np.array_equal(changed["vector"], usual["vector"])
    assert not np.array_equal(changed["image"], usual["image"])


def test_backgrounds_leave_the_tasks_pixels() -> None:
    plain = make(Seen, **OPTIONS).reset(seed=5)[0]
    changed = make(Seen, **OPTIONS, perturbation="background:5").reset(seed=5)[0]
    assert np.array_equal(changed[:, :8, :8], plain[:, :8, :8])
    assert not np.array_equal(changed, plain)


def test_backgrounds_need_to_know_the_task() -> None:
    with pytest.raises(FovealError, match=r"background must know .* Ignorant has no agent_mask\(\).* blur"):
        make(Ignorant, **OPTIONS, perturbation="background:5")


@pytest.mark.parametrize("name", ["noise", "noise:6", "noise:", "nois:3"])
def test_an_unknown_one_is_told_with_the_nearest(name: str) -> None:
    with pytest.raises(FovealError, match=r"unknown perturbation .*'noise:\d'"):
        make(SavedCounter, **OPTIONS, perturbation=name)


def test_evaluate_takes_them() -> None:
    results = foveal.evaluate(small_agent(Seen), on=["train", "noise:5", "background:5"], episodes=1, progress=False)
    assert [condition.perturbation for condition in results.conditions] == ["train", "noise:5", "background:5"]


@pytest.mark.slow
def test_environments_without_corruptions_do_without_pytorch() -> None:
    """Every process that steps an environment imports them."""
    program = "import sys, foveal.envs; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", program], check=False, env={"PYTHONPATH": os.pathsep.join(sys.path)}
        ).returncode
        == 0
    )
