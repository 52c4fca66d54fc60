"""What is collected is what the policy did; every update has a batch of its own; every generator moves on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import foveal
from foveal.checkpoint import global_random_state
from foveal.evaluation.world import SEED_OFFSET
from foveal.training import VALIDATION_SEED_OFFSET, Trainer, collecting
from foveal.types import Batch
from small_env import LENGTH, SavedCounter, small_agent
from wires import Room

RANDOM = 10  # steps of the random phase of ``small_agent``


class Log(SavedCounter):
    """Every pixel is the number of the picture, and what was done between two pictures is written down.

    Args:
        first: number of the first picture.
    """

    def __init__(self, first: int = 0) -> None:
        super().__init__(rewards=lambda step: 0.5 * step * step)
        self.made = first
        self.done: dict[int, tuple[list[float], float]] = {}

    def step(self, action: Any) -> Any:
        before = self.made - 1
        answer = super().step(action)
        self.done[before] = (np.asarray(action).tolist(), answer[1])
        return answer

    def _noise(self) -> np.ndarray[Any, Any]:
        return np.full((8, 8, 3), self.made, np.uint8)


class Echo(SavedCounter):
    """The reward says which action arrived."""

    def step(self, action: Any) -> Any:
        obs, _, terminated, truncated, info = super().step(action)
        return obs, float(1000.0 * action[0] + action[1]), terminated, truncated, info


def train(agent: foveal.Agent, steps: int = 40, **options: Any) -> foveal.Agent:
    return agent.learn(steps, progress=False, **{"evaluate_every": 0, **options})


def sampled(agent: foveal.Agent, size: int = 600) -> Batch:
    assert agent.replay is not None
    return agent.replay.sample(size)


def numbers(image: torch.Tensor) -> list[list[int]]:
    """Numbers of the stacked pictures, oldest first."""
    return image[:, ::3, 20, 20].int().tolist()  # type: ignore[no-any-return]


# --- transitions ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_transitions_are_what_happened_in_their_environment(count: int) -> None:
    made: list[Log] = []

    def env() -> Log:
        made.append(Log(first=80 * max(0, len(made) - 1)))  # the first is made to see its shapes
        return made[-1]

    batch = sampled(train(small_agent(env, method="none", training={"environments": count})))
    happened = {picture: what for log in made[1:] for picture, what in log.done.items()}
    seen = set()
    for now, after, action, reward in zip(
        numbers(batch.obs.image), numbers(batch.next_obs.image), batch.action, batch.reward, strict=True
    ):
        did, paid = happened[now[-1]]
        seen.add(now[-1])
        assert after[-1] == now[-1] + 1
        assert (2.0 * action).tolist() == pytest.approx(did)  # the environment's actions reach from -2 to 2
        assert float(reward) == paid
        start = now[-1] - (now[-1] - 80 * (now[-1] // 80)) % (LENGTH + 1)  # the first picture of the episode
        assert now == [max(start, now[-1] - back) for back in (2, 1, 0)]
        assert after == [max(start, after[-1] - back) for back in (2, 1, 0)]
    assert len(seen) > 35


@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.slow
def test_actions_are_kept_beside_the_reward_that_they_earned(processes: bool) -> None:
    training = {"environments": 2, "processes": processes}
    batch = sampled(train(small_agent(Echo, method="none", training=training)))
    arrived = 2.0 * (1000.0 * batch.action[:, 0] + batch.action[:, 1])
    torch.testing.assert_close(batch.reward, arrived, rtol=1e-4, atol=1e-2)
    assert len(batch.reward.unique()) > 30


@pytest.mark.slow
def test_the_policys_part_of_replay_was_sampled_from_the_policy(room: Room) -> None:
    still = {"updates_per_step": 0.0}
    agent = small_agent(Log, method="none", training=still, seed=3)
    chosen = room.watch(agent, "predict")
    train(agent)
    twin = torch.Generator().manual_seed(3 + 1)
    by_picture = {}
    for (obs,), named in chosen:
        assert not named.get("deterministic", False)
        with torch.no_grad():
            tensor = agent.method.observe(foveal.types.Observation(torch.from_numpy(np.array(obs))).float())
            expected = agent.learner.act(tensor, False, twin)
            mean = agent.learner.act(tensor, True, twin)
        by_picture[int(obs[0, -1, 20, 20])] = expected[0], mean[0]
    batch = sampled(agent)
    compared = 0
    for (*_, number), action in zip(numbers(batch.obs.image), batch.action, strict=True):
        if number in by_picture:
            compared += 1
            expected, mean = by_picture[number]
            torch.testing.assert_close(action, expected)
            assert not torch.allclose(action, mean, atol=1e-4)
    assert compared > 300
    first = min(by_picture)
    assert first == RANDOM + 1  # one reset among the random steps


def test_the_random_phase_is_uniform_over_all_actions() -> None:
    training = {"initial_random_steps": 10**6, "replay_capacity": 2000}
    action = sampled(train(small_agent(Log, method="none", training=training), 200), 4000).action
    assert -1.0 <= float(action.min()) < -0.97 and 0.97 < float(action.max()) <= 1.0
    assert float(action.mean()) == pytest.approx(0.0, abs=0.12)
    assert float(action.std()) == pytest.approx(1 / np.sqrt(3), abs=0.06)
    one, other = (sampled(train(small_agent(Log, method="none", training=training, seed=s), 20)) for s in (0, 1))
    assert not set(one.action[:, 0].tolist()) & set(other.action[:, 0].tolist())


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_owed_update_has_a_batch_of_its_own(room: Room) -> None:
    agent = small_agent(Log, method="none", training={"catch_up_updates": 6, "updates_per_step": 2.0})
    updates = room.watch(agent.updater, "update")
    train(agent, 14)
    batches = [batch for (batch, _), _ in updates]
    assert len(batches) == 6 + 2 * 5
    assert len({tuple(map(tuple, numbers(batch.obs.image))) for batch in batches}) == len(batches)


@pytest.mark.slow
def test_a_further_batch_is_drawn_anew_and_from_the_same_memory(room: Room) -> None:
    agent = small_agent(Log, method="soda", environment={"frame_stack": 1}, soda={"auxiliary_batch": 9})
    updates = room.watch(agent.updater, "update")
    train(agent, 14)
    batch, sample = updates[-1][0]
    further = [sample(9) for _ in range(2)]
    assert [len(other.reward) for other in further] == [9, 9]
    assert len({tuple(map(tuple, numbers(other.obs.image))) for other in [batch, *further]}) == 3


# --- generators -------------------------------------------------------------------------------------------------------


def states(agent: foveal.Agent) -> dict[str, bytes]:
    return {
        "updates": bytes(agent.generator.get_state().numpy()),
        "acting": bytes(agent.acting_generator.get_state().numpy()),
    }


def test_acting_and_updates_each_move_their_own_generator_on() -> None:
    seen: list[dict[str, bytes]] = []

    class Note(foveal.Callback):
        def on_step(self, trainer: Trainer) -> None:
            seen.append(states(trainer.agent))

    agent = small_agent(Log, method="drq", training={"updates_per_step": 0.5})
    train(agent, 30, callbacks=[Note()])
    after = seen[RANDOM + 2 :]
    assert len({state["acting"] for state in after}) == len(after)  # also in the step that only resets
    assert len(after) / 2 - 2 <= len({state["updates"] for state in after}) <= len(after) / 2 + 2
    assert len({state["acting"] for state in seen[:RANDOM]}) == 1  # the random phase has a generator of its own


@pytest.mark.slow
def test_the_seed_reaches_everything_that_is_random(room: Room) -> None:
    def randomness(seed: int) -> dict[str, Any]:
        made: list[Log] = []
        agent = small_agent(lambda: (made.append(Log()), made[-1])[1], method="svea", seed=seed)
        agent.method.get_ready()
        collector = collecting.Collector(agent)
        collector.begin()
        bank = agent.method.augment.build().bank  # type: ignore[union-attr]
        found = {
            **states(agent),
            "weights": agent.learner.state_dict()["policy.0.weight"].abs().sum().item(),
            "environment": made[-1].resets[-1],
            "actions": collector._random_actions().tolist(),
            "replay": collector.replay.state()["rng"],
            "pictures": bank.pictures.sum().item(),
        }
        collector.close()
        return found

    one, same, other = (randomness(seed) for seed in (4, 4, 5))
    assert one == same
    assert [name for name in one if one[name] == other[name]] == []


def test_a_second_call_of_learn_plays_other_episodes() -> None:
    made: list[Log] = []
    agent = small_agent(lambda: (made.append(Log()), made[-1])[1], method="none")
    train(agent, 5)
    train(agent, 5)
    first, second = (log.resets[0] for log in made[1:])
    assert first is not None and second is not None and first != second


# --- evaluation -------------------------------------------------------------------------------------------------------


def test_evaluation_is_deterministic_on_episodes_of_its_own_and_disturbs_nothing(room: Room) -> None:
    made: list[SavedCounter] = []
    agent = small_agent(lambda: (made.append(SavedCounter()), made[-1])[1], method="none", seed=2)
    train(agent, 14)
    before = states(agent), global_random_state()[1], agent.updates
    chosen = room.watch(agent, "predict")
    foveal.evaluate(agent, episodes=3, progress=False)
    assert len(chosen) == 3 * LENGTH and all(named == {"deterministic": True} for _, named in chosen)
    starts = [obs[-3:, :8, :8].tobytes() for (obs,), _ in chosen[::LENGTH]]
    assert len(set(starts)) == 3  # the environment's own random corner: other episodes
    assert made[-1].resets == [2 + SEED_OFFSET, None, None]
    assert (states(agent), global_random_state()[1], agent.updates) == before


def test_evaluations_during_training_are_deterministic_and_on_other_episodes_than_the_final_one(room: Room) -> None:
    made: list[SavedCounter] = []
    agent = small_agent(lambda: (made.append(SavedCounter()), made[-1])[1], method="none", seed=2)
    chosen = room.watch(agent, "predict")
    train(agent, 12, evaluate_every=12, evaluate_episodes=2)
    assert made[-1].resets == [2 + VALIDATION_SEED_OFFSET, None]
    assert VALIDATION_SEED_OFFSET != SEED_OFFSET
    by_kind = [named.get("deterministic", False) for _, named in chosen]
    assert by_kind.count(True) == 2 * LENGTH and by_kind.count(False) == 2


def test_a_mean_action_does_not_change_from_call_to_call_and_a_sample_does() -> None:
    agent = small_agent(method="none")
    obs = np.zeros((9, 36, 36), np.uint8)
    mean, sample = ([agent.predict(obs, deterministic=d)[0].tolist() for _ in range(3)] for d in (True, False))
    assert mean[0] == mean[1] == mean[2]
    assert sample[0] != sample[1] != sample[2]
