"""How even attention is: in the log of training and in evaluations, measured on the module's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytest.importorskip("ale_py", reason="needs the extra 'atari'")

import foveal
from foveal.evaluation.results import Results
from foveal.saliency.evenness import evenness
from foveal.training.attending import attention_in_rollout

NAMES = {"attention/variation", "attention/entropy", "attention/change"}


def player(encoder: str = "sparse-fls") -> foveal.Agent:
    training = {"precision": "float32", "environments": 2}
    environment = {"frame_limit": 80}
    return foveal.Agent("atari/freeway", preset="debug", encoder=encoder, training=training, environment=environment)


def scalars(run: Path) -> set[str]:
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return set(events.Tags()["scalars"])


@pytest.mark.slow
def test_training_logs_how_even_attention_is(tmp_path: Path) -> None:
    agent = player()
    trainer = foveal.training.Trainer(agent.work(), run=tmp_path / "run", progress=False)
    trainer.train(32)
    rollout = agent.updater.rollout
    assert rollout is not None and scalars(tmp_path / "run") >= NAMES
    found = attention_in_rollout(agent.learner.encoder(), rollout)
    assert found.keys() == NAMES

    maps = np.stack([agent.attention_grid(seen.numpy()) for seen in rollout.seen[-9:]])  # (steps, games, 7, 7)
    assert maps.shape == (9, 2, 7, 7)
    each = [
        evenness(maps[:, game], [False, *~(rollout.terminations | rollout.truncations)[-9:-1, game]]) for game in (0, 1)
    ]
    assert found["attention/variation"] == pytest.approx(np.mean([e.variation for e in each]), rel=1e-5)
    assert found["attention/entropy"] == pytest.approx(np.mean([e.entropy for e in each]), rel=1e-5)
    assert found["attention/change"] == pytest.approx(np.mean([e.change for e in each]), rel=1e-4)


@pytest.mark.slow
def test_looking_leaves_training_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = player().learn(64, progress=False)
    monkeypatch.setattr("foveal.training.rollout_work.attention_in_rollout", lambda encoder, rollout: {})
    alone = player().learn(64, progress=False)
    for one, other in zip(looked.learner.parameters(), alone.learner.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_without_attention_there_is_nothing_to_log(tmp_path: Path) -> None:
    player("nature").learn(32, tmp_path / "run", progress=False)
    assert not scalars(tmp_path / "run") & NAMES


@pytest.mark.slow
def test_value_learners_log_it_of_their_batches(tmp_path: Path) -> None:
    agent = foveal.Agent("dmc/walker-walk", "drq", preset="debug", encoder="fls", training={"precision": "float32"})
    agent.learn(120, tmp_path / "run", progress=False, evaluate_every=100, evaluate_episodes=1, log_every=1)
    assert scalars(tmp_path / "run") & NAMES == {"attention/variation", "attention/entropy"}
    assert "attention/evaluation/train/change" in scalars(tmp_path / "run")


@pytest.mark.slow
def test_evaluations_tell_it(tmp_path: Path) -> None:
    agent = player()
    seen: list[Any] = []
    act = agent.learner.act

    def noted(obs: Any, *rest: Any) -> Any:
        seen.append(obs.image.clone())
        return act(obs, *rest)

    agent.learner.act = noted  # type: ignore[method-assign]
    results = foveal.evaluate(agent, episodes=1, progress=False)
    maps = np.concatenate([agent.attention_grid(image.numpy()) for image in seen])
    found, expected = results["train"].attention, evenness(maps)
    assert found is not None and found.maps == len(seen) == 20
    assert found.variation == pytest.approx(expected.variation) and found.change == pytest.approx(expected.change)
    assert "attention on its grid" in results.table() and str(found) in results.table()
    results.save(tmp_path / "found.json")
    assert Results.load(tmp_path / "found.json")["train"].attention == found

    without = foveal.evaluate(player("nature"), episodes=1, progress=False)
    assert without["train"].attention is None and "attention" not in without.table()
    assert "attention" not in without.as_dict()["perturbations"]["train"]


@pytest.mark.slow
def test_chance_has_no_attention() -> None:
    from foveal.evaluation.rollouts import run, world_of
    from foveal.evaluation.world import WorldOptions

    chance = world_of(player(), WorldOptions()).by_chance()
    assert run(chance, 1, progress=False)["train"].attention is None
